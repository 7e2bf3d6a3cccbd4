"""The score from which a candidate counts: chosen on validation predictions and frozen, or as the user says.

Never on the cases it is applied to: a threshold tuned on the test set flatters the method with the richer scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from skimage.filters import threshold_otsu

from nnanomaly.evaluation.case_pairs import CasePairs
from nnanomaly.evaluation.lesion_matching import MatchRule, match_pairs
from nnanomaly.evaluation.metrics import case_metrics
from nnanomaly.utilities.errors import DataError

Source = Literal["none", "fixed", "validation", "same_cases", "otsu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which score candidates count."""

    value: float | None
    """Smallest score that counts; None: all candidates count, scored or not."""
    source: Source
    """none; fixed by the user; best mean F1 over validation cases; the same over the evaluated cases themselves, which
    is optimistic; or Otsu's threshold of the scores of the validation cases."""
    mean_f1: float | None = None
    """Mean F1 of the cases it was chosen on."""
    n_cases: int = 0
    """Number of cases it was chosen on."""


ALL_CANDIDATES = Threshold(value=None, source="none")


def best_threshold(cases: Mapping[str, CasePairs], rule: MatchRule, *, source: Source) -> Threshold:
    """The score with the best mean F1 over the cases that have a lesion; the highest one of equals.

    Raises `DataError` (EVAL-THRESHOLD) if no case has a lesion, or no candidate a score.
    """
    of_score = _cases_by_score(cases)
    f1 = {case: case_metrics(case, match_pairs(pairs, rule, min_score=np.inf)).f1 for case, pairs in cases.items()}
    f1 = {case: value for case, value in f1.items() if value is not None}
    if not f1:
        raise DataError(
            "EVAL-THRESHOLD", "no validation case has a lesion to choose a threshold on. Give one yourself."
        )
    best_f1, best_score = -1.0, 0.0
    for score in sorted(of_score, reverse=True):
        # From one score to the next lower one only the cases that have a candidate of that score change.
        for case in of_score[score] & f1.keys():
            changed = case_metrics(case, match_pairs(cases[case], rule, min_score=score)).f1
            assert changed is not None, case
            f1[case] = changed
        mean = float(np.mean(list(f1.values())))
        if mean > best_f1:
            best_f1, best_score = mean, score
    return Threshold(value=best_score, source=source, mean_f1=best_f1, n_cases=len(f1))


def otsu_of_cases(cases: Mapping[str, CasePairs]) -> Threshold:
    """Otsu's threshold (256 bins) of the scores of all candidates; those above it count, those at it do not."""
    scores = [c.score for pairs in cases.values() for c in pairs.candidates if c.score is not None]
    value = float(np.nextafter(threshold_otsu(np.array(scores), nbins=256), np.inf))
    return Threshold(value=value, source="otsu", n_cases=len(cases))


def _cases_by_score(cases: Mapping[str, CasePairs]) -> dict[float, set[str]]:
    """The cases that have a candidate of a score."""
    of_score: dict[float, set[str]] = {}
    for case, pairs in cases.items():
        for candidate in pairs.candidates:
            if candidate.score is not None:
                of_score.setdefault(candidate.score, set()).add(case)
    if not of_score:
        raise DataError(
            "EVAL-THRESHOLD", "no validation case has a candidate with a score. Give the threshold yourself."
        )
    return of_score
