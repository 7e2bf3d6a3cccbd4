"""What healthy validation organs look like through a trained model: residual statistics and the threshold on them.

No lesion, drawn or inserted, is needed: every candidate in an organ that is labelled healthy is a false one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.utilities.json_io import Between, to_document
from nnanomaly.volume import Grid

NUM_THRESHOLDS = 60
MapValue = Annotated[float, Between(0, 1e6)]
"""A value of an anomaly map (z-score, HU or probability) as documents may give it: none is negative."""


class HealthyResiduals(NamedTuple):
    """What of a calibration the reading of a patch needs."""

    statistics: ResidualStatistics
    """Healthy residuals."""
    inpaint_threshold: float | None = None
    """Threshold on the first map for candidates over 30 mm; None = nothing is drawn anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Content of calibration.json."""

    statistics: ResidualStatistics
    """Healthy residuals."""
    threshold: MapValue
    """Threshold on the anomaly map (z-score or HU, as the plan says)."""
    false_candidates_per_organ: Annotated[float, Between(0, 1e6)]
    """What that threshold, and the one on the probability, leave on the healthy validation organs."""
    num_organs: Annotated[int, Between(0, 1e9)]
    """Healthy validation organs measured."""
    guidance: bool
    """Whether the reconstruction is guided."""
    guidance_reason: str
    """Why, or why not."""
    checkpoints: dict[str, str]
    """SHA-256 of the checkpoint of every stage this calibration belongs to."""
    inpaint_threshold: MapValue | None = None
    """Threshold on the first map for candidates over 30 mm, which are drawn anew; None = none are."""
    score_threshold: Annotated[float, Between(0, 1)] | None = None
    """Candidates whose probability is not above this are sorted out; None without a reduction."""
    plans: Plans | None = None
    """The plans it was made with, and that prediction follows; None (older files) = those beside the folds."""

    def without_plans(self) -> dict[str, Any]:
        """The document without the plans, where these are told elsewhere."""
        document: dict[str, Any] = to_document(replace(self, plans=None))
        del document["plans"]
        return document

    @property
    def healthy(self) -> HealthyResiduals:
        """What the reading of a patch needs."""
        return HealthyResiduals(self.statistics, self.inpaint_threshold)


def _thresholds(maps: Sequence[tuple[FloatArray, Grid]], highest: float, lowest: float) -> FloatArray:
    """Thresholds to try, descending: evenly spaced, and at the values of the maps, at ranks that double ever again.

    Probabilities crowd near 1: evenly spaced thresholds alone would jump from no candidate to dozens.
    """
    values = np.sort(np.concatenate([anomaly[anomaly > lowest] for anomaly, _ in maps]))[::-1]
    even = np.linspace(highest, lowest, NUM_THRESHOLDS)
    if not values.size:
        return np.asarray(even, dtype=np.float32)
    ranks = np.unique(np.geomspace(1, values.size, NUM_THRESHOLDS).astype(int)) - 1
    return np.asarray(np.unique(np.concatenate([even, values[ranks]]))[::-1], dtype=np.float32)


def fits_plan(calibration: Calibration, plan: InferencePlan) -> bool:
    """Whether a calibration has statistics of every noise level, and a threshold for inpainting if there is any."""
    levels = 1 + len(calibration.statistics.extra)
    return levels == len(plan.sigmas) and (calibration.inpaint_threshold is not None) == (plan.inpaint_rounds > 0)


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
    for threshold in _thresholds(maps, highest, min(typical, highest)):
        found = sum(count(anomaly, float(threshold), grid, plan) for anomaly, grid in maps)
        if found > plan.false_candidates_per_organ * num_organs:
            break
        best = (float(threshold), found / num_organs)
    return best


def choose_score_threshold(scores: NDArray[np.float64], num_organs: int, plan: InferencePlan) -> tuple[float, float]:
    """Lowest threshold above which healthy organs keep at most the plan's number of candidates each.

    `scores [N]`: probabilities of all candidates of `num_organs` healthy organs. Returns the threshold (0 when all may
    stay) and the number of candidates per organ above it.
    """
    allowed = int(plan.false_candidates_per_organ * num_organs + 1e-9)
    ranked = np.sort(scores)[::-1]
    threshold = float(ranked[allowed]) if len(ranked) > allowed else 0.0
    return threshold, np.count_nonzero(scores > threshold) / num_organs
