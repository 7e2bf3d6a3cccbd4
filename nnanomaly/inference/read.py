"""From a patch to its map, in the one order there is: look, draw large candidates anew, map (METHOD 6.3).

Prediction, calibration, tuning, diagnosis and the reduction all read patches here, so that a threshold is chosen on
what is later thresholded.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnanomaly.inference.calibration import Calibration, HealthyResiduals
from nnanomaly.inference.finite import finite
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.inpainting import Inpainter, feathered, large_candidates, stitched
from nnanomaly.inference.look import Look, compared, look, noise_key
from nnanomaly.patch import IMAGE, Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import denormalise


class Reading(NamedTuple):
    """What a fold makes of a patch."""

    look: Look
    """After large candidates were drawn anew, if any were."""
    anomaly: NDArray[np.float32]
    """Its map `[Z, Y, X]`."""


def read(patch: Patch, fold: Fold, calibration: Calibration, plans: Plans) -> Reading:
    """Look at a patch and map it.

    Raises `DataError` (NET-NONFINITE) where a network answers with what is no number.
    """
    return read_look(look(patch, fold.reconstruct, plans), fold, calibration.healthy, plans)


def read_look(first: Look, fold: Fold, healthy: HealthyResiduals, plans: Plans) -> Reading:
    """`read` of a patch that was looked at before."""
    seen = first
    if fold.inpaint is not None and healthy.inpaint_threshold is not None:
        seen = _redrawn(first, fold, fold.inpaint, healthy, healthy.inpaint_threshold, plans)
    anomaly = fold.detect(seen, healthy.statistics)
    finite(torch.from_numpy(anomaly), "the anomaly map")
    return Reading(seen, anomaly)


def _redrawn(
    first: Look, fold: Fold, inpaint: Inpainter, healthy: HealthyResiduals, threshold: float, plans: Plans
) -> Look:
    """The look whose large candidates are drawn anew; `first` itself where the first map has none.

    Every round masks the large candidates of the map of the round before, so that the mask shrinks where the drawing
    agrees with the scan and grows where it does not; it ends early when the mask is empty or stays as it is.
    """
    patch, plan = first.patch, plans.inference
    seen, before = first, np.zeros(patch.grid.shape, dtype=bool)
    for number in range(plan.inpaint_rounds):
        mask = large_candidates(fold.detect(seen, healthy.statistics), threshold, patch.grid, plan)
        if not mask.any() or np.array_equal(mask, before):
            break
        drawn = inpaint(patch.array[IMAGE], mask, f"{noise_key(patch)} round {number}")
        drawn_hu = denormalise(drawn, plans.preprocessing.window_hu)
        whole = stitched(first.reconstruction, drawn_hu, feathered(mask, patch.grid.spacing_mm))
        seen, before = compared(patch, whole, plan), mask
    return seen
