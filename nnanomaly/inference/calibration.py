"""What healthy validation organs look like through a trained model: residual statistics and the threshold on them.

No lesion, drawn or inserted, is needed: every candidate in an organ that is labelled healthy is a false one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.plans import InferencePlan
from nnanomaly.volume import Grid

FloatArray = NDArray[np.float32]
NUM_THRESHOLDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Content of calibration.json."""

    statistics: ResidualStatistics
    """Healthy residuals."""
    threshold: float
    """Threshold on the anomaly map (z-score or HU, as the plan says)."""
    false_candidates_per_organ: float
    """What that threshold leaves on the healthy validation organs."""
    num_organs: int
    """Healthy validation organs measured."""
    guidance: bool
    """Whether the reconstruction is guided."""
    guidance_reason: str
    """Why, or why not."""
    checkpoints: dict[str, str]
    """SHA-256 of the checkpoint of every stage this calibration belongs to."""


def count_candidates(anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> int:
    """Number of candidates of a map."""
    return len(find_candidates(anomaly, threshold, grid, plan)[1])


def choose_threshold(
    maps: Sequence[tuple[FloatArray, Grid]],
    num_organs: int,
    plan: InferencePlan,
    *,
    count: Callable[[FloatArray, float, Grid, InferencePlan], int] = count_candidates,
) -> tuple[float, float]:
    """Lowest threshold from which upwards healthy organs show at most the plan's number of candidates each.

    `maps`: anomaly maps of all patches of `num_organs` healthy organs; `count` may remember what it counted before.
    Returns the threshold and the number of candidates per organ at it.
    """
    highest = max(float(anomaly.max()) for anomaly, _ in maps)
    typical = float(np.median([np.percentile(anomaly, 90) for anomaly, _ in maps]))
    best = (highest, 0.0)
    for threshold in np.linspace(highest, min(typical, highest), NUM_THRESHOLDS):
        found = sum(count(anomaly, float(threshold), grid, plan) for anomaly, grid in maps)
        if found > plan.false_candidates_per_organ * num_organs:
            break
        best = (float(threshold), found / num_organs)
    return best
