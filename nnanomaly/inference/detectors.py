"""Detectors: what makes the map of a patch out of its reconstruction. A plan choice (`inference.detector`).

A detector is a function (look at a patch, statistics of healthy residuals) -> map `[Z, Y, X]`, larger where a lesion is
likelier, 0 where the scan says nothing.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nnanomaly.arrays import FloatArray
from nnanomaly.device import autocast
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.head_input import head_input
from nnanomaly.inference.look import Look
from nnanomaly.inference.patch_map import anomaly_map
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.roi.components import find_components

SPATIAL_AXES = (2, 3, 4)
Detector = Callable[[Look, ResidualStatistics], FloatArray]
HALFWAY_Z = 3.0
"""z-score that counts as much as a probability of one half: about what healthy organs seldom exceed."""


def attached(probability: NDArray[np.floating], distance_mm: FloatArray, reach_mm: float) -> FloatArray:
    """A probability map `[Z, Y, X]` without the lesions that do not come within `reach_mm` of the organ.

    A lesion is a connected component above 0.5. A large one may grow far beyond the organ, but it begins there: bowel
    and bone do not. With `reach_mm` < 0 nothing is taken away.
    """
    result = np.array(probability, dtype=np.float32)
    if reach_mm < 0:
        return result
    for component in find_components(result > 0.5):
        place = component.box.slices
        if not np.any(component.mask & (distance_mm[place] <= reach_mm)):
            result[place][component.mask] = 0.0
    return result


def residual_detector(plan: InferencePlan) -> Detector:
    """The residual itself, as the plan normalises and gates it."""

    def detect(seen: Look, statistics: ResidualStatistics) -> FloatArray:
        return anomaly_map(seen.residual, statistics, plan)

    return detect


WITHOUT_WEIGHTS: dict[str, Callable[[InferencePlan], Detector]] = {"residual": residual_detector}
"""The detectors of a plan that need no network of their own."""


def ensemble_detector(head: Detector, plan: InferencePlan) -> Detector:
    """Mean of the head's probability and of z / (z + `HALFWAY_Z`), z the gated z-score of the residual, in [0, 1].

    The z-score is taken whatever map the plan names for the residual alone, since HU have no natural scale here.
    """
    zscores = residual_detector(replace(plan, anomaly_map="zscore") if plan.anomaly_map == "absolute" else plan)

    def detect(seen: Look, statistics: ResidualStatistics) -> FloatArray:
        z = np.maximum(zscores(seen, statistics), 0)
        return np.asarray((head(seen, statistics) + z / (z + HALFWAY_Z)) / 2, dtype=np.float32)

    return detect


def head_detector(head: nn.Module, plans: Plans, device: torch.device) -> Detector:
    """Probability of the lesion head, in [0, 1]; with `mirroring` the mean over all mirrored patches."""
    window, inputs = plans.preprocessing.window_hu, plans.head.inputs
    mirrors = list(
        chain.from_iterable(combinations(SPATIAL_AXES, n) for n in range(4 if plans.inference.mirroring else 1))
    )

    @torch.no_grad()
    def detect(seen: Look, statistics: ResidualStatistics) -> FloatArray:
        residual, channels = seen.residual, head_input(seen, statistics, window_hu=window, inputs=inputs)
        x = torch.from_numpy(channels)[None].to(device)
        with autocast(device, plans.inference.precision):
            answers = [torch.sigmoid(head(x.flip(axes)).float()).flip(axes) for axes in mirrors]
        probability = torch.stack(answers).mean(dim=0)[0, 0].cpu().numpy()
        return attached(
            np.where(residual.covered, probability, 0.0), residual.distance_mm, plans.inference.organ_gate_mm
        )

    return detect
