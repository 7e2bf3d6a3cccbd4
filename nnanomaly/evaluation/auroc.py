"""Area under the ROC curve of scored organs or patients, with an interval over cases.

The area is the share of pairs of a positive and a negative one in which the positive one has the higher score, ties
counting half (Hanley and McNeil, Radiology 143:29-36, 1982). The bootstrap draws cases, not organs: both kidneys of a
case come together, for they are not independent.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.bootstrap import Bootstrap, Interval, percentile_interval

UNDEFINED = Interval(value=None, low=None, high=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Organs or patients with a score and a truth."""

    cases: tuple[str, ...]
    """Case of each, `[N]`."""
    scores: NDArray[np.float64]
    """`[N]`, higher is more suspicious."""
    positive: NDArray[np.bool_]
    """`[N]`: whether it is diseased."""
    left_out: dict[str, int]
    """Why others are not among them -> how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AUROC:
    """An area under the ROC curve, or why there is none."""

    area: Interval
    """0 to 1, with its interval."""
    reason: str | None
    """Why it is undefined; None where it is defined."""
    num_positive: int
    """Diseased ones."""
    num_negative: int
    """Healthy ones."""
    left_out: dict[str, int]
    """Why others were left out -> how many."""


def auroc(scored: Scored, bootstrap: Bootstrap) -> AUROC:
    """The area with its bootstrap interval; undefined, with the reason, if all are of one class."""
    num_positive = int(np.count_nonzero(scored.positive))
    num_negative = len(scored.positive) - num_positive
    area, reason = UNDEFINED, None
    if num_positive and num_negative:
        names, case_of = np.unique(scored.cases, return_inverse=True)
        weights = bootstrap.weights(len(names))[:, case_of]
        area = percentile_interval(_areas(scored, np.ones((1, len(case_of)))), _areas(scored, weights))
    else:
        reason = f"one class only: {num_positive} positive, {num_negative} negative"
    return AUROC(
        area=area, reason=reason, num_positive=num_positive, num_negative=num_negative, left_out=scored.left_out
    )


def undefined(reason: str) -> AUROC:
    """No area, because of what the predictions lack."""
    return AUROC(area=UNDEFINED, reason=reason, num_positive=0, num_negative=0, left_out={})


def _areas(scored: Scored, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area for every row of weights `[draws, N]`; NaN for a draw of one class."""
    positive, negative = scored.positive, ~scored.positive
    # 1 where the positive one has the higher score, 1/2 where they are equal, else 0: [positive, negative]
    wins = (np.sign(scored.scores[positive][:, None] - scored.scores[negative]) + 1) / 2
    above = (weights[:, positive] @ wins * weights[:, negative]).sum(axis=1)
    pairs = weights[:, positive].sum(axis=1) * weights[:, negative].sum(axis=1)
    return np.asarray(np.divide(above, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
