"""A grid of settings, how well each did on trials, and the best of them. Knows neither files nor networks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_case
from nnanomaly.evaluation.metrics import lesion_metrics
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.plans import InferencePlan
from nnanomaly.tuning.trials import Trial
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Volume

METRICS = ("dice", "f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A setting and what it reached: one row of the table."""

    sigma: float
    """Noise level."""
    guidance: str
    """Form of guidance that was really used."""
    guidance_scale: float
    """Its scale; 0 without guidance."""
    threshold: float | None
    """Calibrated threshold; None where Otsu's depends on the patch."""
    false_candidates_per_organ: float
    """Candidates per healthy validation organ at the threshold."""
    dice: float
    """Mean over the trials with a lesion."""
    precision: float
    """Pooled over the trials; 0 without candidates."""
    recall: float
    """Pooled over the trials."""
    f1: float
    """Pooled over the trials."""
    num_lesions: int
    """Lesions that counted."""


def score_trials(
    trials: Sequence[Trial],
    maps: Sequence[FloatArray],
    plan: InferencePlan,
    *,
    threshold: Callable[[FloatArray, Trial], float],
) -> dict[str, float]:
    """Dice, precision, recall, F1 and number of lesions of the maps of trials; `threshold(map, trial)` cuts a map.

    Matching is that of the evaluation (IoU 0.2, one to one). Trials without any lesion raise `DataError`.
    """
    records: dict[str, list[LesionRecord]] = {}
    for trial, anomaly in zip(trials, maps, strict=True):
        mask, _ = find_candidates(anomaly, threshold(anomaly, trial), trial.grid, plan)
        records[trial.name] = match_trial(trial, mask)
    metrics = lesion_metrics(records, min_iou=MatchRule().min_iou).all
    if metrics.n_cases == 0:
        raise DataError("SWEEP-LESIONS", f"none of the {len(trials)} patches has a lesion that counts. Choose a fold.")
    pooled = metrics.pooled
    return {
        "dice": metrics.dsc.mean or 0.0,
        "precision": pooled.precision or 0.0,
        "recall": pooled.recall or 0.0,
        "f1": pooled.f1 or 0.0,
        "num_lesions": metrics.tp + metrics.fn,
    }


def match_trial(trial: Trial, mask: NDArray[np.bool_]) -> list[LesionRecord]:
    """What a mask `[Z, Y, X]` found of the lesions of a trial, by the rule of the evaluation (IoU 0.2, one to one)."""
    found, wanted = (Volume(array[None], trial.grid) for array in (mask, trial.lesions))
    return match_case(found, wanted, MatchRule(), case=trial.name)


def best_outcome(outcomes: Sequence[Outcome], metric: str) -> Outcome:
    """The outcome with the largest metric; of equals the one with less noise, then with less guidance."""
    return max(outcomes, key=lambda o: (getattr(o, metric), -o.sigma, -o.guidance_scale))
