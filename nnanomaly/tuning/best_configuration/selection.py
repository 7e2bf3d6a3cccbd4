"""Which of many configurations to take: not the luckiest cell of a grid, but the simplest that cannot be told from it.

Counts are per trial; cases are what is drawn in the bootstrap, since trials of one case share their scan. F1 is pooled
over all trials, and those without a lesion count with their false candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import Floats
from nnanomaly.evaluation.bootstrap import Bootstrap, RatioOfSums
from nnanomaly.plans import InferencePlan
from nnanomaly.tuning.best_configuration.configurations import complexity

IntArray = NDArray[np.int64]
TP, FP, FN = 0, 1, 2
NUM_ERRORS = 2.0
"""One would not do: a difference that a single case makes is one of its own standard errors, four cases make two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tried:
    """A configuration and what it found."""

    plan: InferencePlan
    """The configuration."""
    counts: IntArray
    """`[trials, 3]`: lesions found, candidates without a lesion, lesions missed."""
    num_false: int
    """Candidates on the healthy organs as they are."""
    num_healthy: int
    """Healthy organs."""

    @property
    def false_candidates_per_organ(self) -> float:
        """Per healthy organ."""
        return self.num_false / self.num_healthy

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), pooled over all trials; 0 where nothing was found."""
        tp, fp, fn = self.counts.sum(axis=0)
        return float(2 * tp / max(2 * tp + fp + fn, 1))

    @property
    def precision(self) -> float:
        """TP / (TP + FP), likewise."""
        tp, fp, _ = self.counts.sum(axis=0)
        return float(tp / max(tp + fp, 1))

    @property
    def recall(self) -> float:
        """TP / (TP + FN), likewise."""
        tp, _, fn = self.counts.sum(axis=0)
        return float(tp / max(tp + fn, 1))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Choice:
    """What was chosen and why. Configurations by their numbers."""

    chosen: int
    """The simplest of `tied`; of equally simple ones that of largest F1."""
    best: int
    """Largest F1 among the allowed."""
    tied: list[int]
    """Allowed, and at most `NUM_ERRORS` standard errors of the difference behind the best."""
    allowed: list[int]
    """Within the limit of false candidates per healthy organ."""
    standard_errors: Floats
    """Of the F1 of every configuration."""
    behind: Floats
    """F1 of the best less that of every configuration."""
    behind_errors: Floats
    """Standard error of that difference."""
    unseen_f1: float | None
    """Mean F1 of the best of a draw on the cases that were not drawn: what the best of a grid is really worth. None
    where no draw leaves a lesion or candidate out."""


def merged(folds: Sequence[Sequence[Tried]]) -> list[Tried]:
    """The same configurations on several folds, as if these were one."""
    return [
        Tried(
            plan=of_folds[0].plan,
            counts=np.concatenate([tried.counts for tried in of_folds]),
            num_false=sum(tried.num_false for tried in of_folds),
            num_healthy=sum(tried.num_healthy for tried in of_folds),
        )
        for of_folds in zip(*folds, strict=True)
    ]


def choose(
    tried: Sequence[Tried], cases: Sequence[str], *, start: InferencePlan, limit: float, bootstrap: Bootstrap
) -> Choice:
    """Choose among configurations; `cases` names the case of every trial, `start` is what simplicity is measured from.

    Where no configuration keeps the limit, those with the fewest false candidates are allowed.
    """
    rates = np.array([one.false_candidates_per_organ for one in tried])
    allowed = np.flatnonzero(rates <= max(limit, rates.min())).tolist()
    weights = bootstrap.weights(len(set(cases)))
    numbers = [_f1_of(one, cases) for one in tried]
    draws = np.stack([number.draws(weights) for number in numbers])
    f1 = np.array([one.f1 for one in tried])
    best = max(allowed, key=lambda index: (f1[index], -index))
    behind, errors = f1[best] - f1, np.nanstd(draws[best] - draws, axis=1)
    tied = [index for index in allowed if behind[index] <= NUM_ERRORS * errors[index]]
    unseen = np.stack([number.draws((weights == 0).astype(float)) for number in numbers])
    return Choice(
        chosen=min(tied, key=lambda index: (*complexity(tried[index].plan, start), -f1[index], index)),
        best=best,
        tied=tied,
        allowed=allowed,
        standard_errors=np.nanstd(draws, axis=1),
        behind=behind,
        behind_errors=errors,
        unseen_f1=_of_the_best(np.nan_to_num(draws[allowed]), unseen[allowed]),
    )


def _f1_of(tried: Tried, cases: Sequence[str]) -> RatioOfSums:
    """F1 as a ratio of sums over cases."""
    _, number = np.unique(np.asarray(cases), return_inverse=True)
    tp, fp, fn = (np.bincount(number, tried.counts[:, kind]).astype(float) for kind in (TP, FP, FN))
    return RatioOfSums(numerator=2 * tp, denominator=2 * tp + fp + fn)


def _of_the_best(draws: Floats, unseen: Floats) -> float | None:
    """Mean of `unseen` `[configurations, draws]` at the best of every draw, NaN left out."""
    reached = unseen[draws.argmax(axis=0), np.arange(draws.shape[1])]
    defined = reached[np.isfinite(reached)]
    return float(defined.mean()) if len(defined) else None
