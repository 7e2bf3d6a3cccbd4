"""Confidence intervals by drawing cases with replacement, and of differences between methods on the same draws.

Every number of the tables is a ratio of sums over cases (a mean is the sum of the values over the number of cases that
have one), so one matrix of weights, how often each case was drawn, serves all numbers and all methods: differences are
paired. Intervals are the 2.5 and 97.5 percentiles; a draw in which a number is undefined does not count for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.metrics import CaseMetrics
from nnanomaly.utilities.errors import ConfigurationError

PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """How cases were drawn."""

    num_draws: int = 2000
    """Number of draws; 0: no intervals."""
    seed: int = 12345
    """Seed of the draws."""

    def __post_init__(self) -> None:
        """Refuse negative numbers."""
        for name, value in (("num_draws", self.num_draws), ("seed", self.seed)):
            if value < 0:
                raise ConfigurationError("CFG-EVAL", f"{name} of the bootstrap is {value}, but must be 0 or more")

    def weights(self, num_cases: int) -> NDArray[np.float64]:
        """How often each case is drawn `[draws, cases]`; the same for the same seed and number of cases."""
        rng = np.random.default_rng(self.seed)
        return rng.multinomial(num_cases, np.full(num_cases, 1 / num_cases), size=self.num_draws).astype(float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A number and its confidence interval."""

    value: float | None
    """The number over the cases as they are."""
    low: float | None
    """Lower end; None without draws, or where the number is undefined."""
    high: float | None
    """Upper end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioOfSums:
    """A number as the sum of one quantity over cases by the sum of another."""

    numerator: NDArray[np.float64]
    """`[cases]`."""
    denominator: NDArray[np.float64]
    """`[cases]`."""

    def draws(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The number for every row of weights `[draws, cases]`; NaN where it is undefined."""
        below = weights @ self.denominator
        return np.asarray(np.divide(weights @ self.numerator, below, out=np.full(len(below), np.nan), where=below > 0))


def statistics(cases: Sequence[CaseMetrics]) -> dict[str, RatioOfSums]:
    """The numbers of the tables over some cases: means over the cases with lesions, pooled ratios, FP per scan."""
    with_lesion = np.array([case.has_lesion for case in cases], dtype=float)
    tp, fp, fn = (np.array([getattr(case, name) for case in cases], dtype=float) for name in ("tp", "fp", "fn"))
    means = {name: _mean([getattr(c, name) if c.has_lesion else None for c in cases]) for name in _PER_CASE}
    counted = {name: count * with_lesion for name, count in (("tp", tp), ("fp", fp), ("fn", fn))}
    found, false, missed = counted["tp"], counted["fp"], counted["fn"]
    return {
        **means,
        "pooled_precision": RatioOfSums(numerator=found, denominator=found + false),
        "pooled_recall": RatioOfSums(numerator=found, denominator=found + missed),
        "pooled_f1": RatioOfSums(numerator=2 * found, denominator=2 * found + false + missed),
        "fp_per_scan": RatioOfSums(numerator=fp, denominator=np.ones_like(fp)),
        "fp_per_lesion_free_scan": RatioOfSums(numerator=fp * (1 - with_lesion), denominator=1 - with_lesion),
    }


def interval(number: RatioOfSums, weights: NDArray[np.float64]) -> Interval:
    """A number with its interval over the draws."""
    once = np.ones((1, len(number.numerator)))
    return percentile_interval(number.draws(once), number.draws(weights))


def difference(first: RatioOfSums, second: RatioOfSums, weights: NDArray[np.float64]) -> Interval:
    """`first - second` of one number of two methods on the same cases and the same draws."""
    once = np.ones((1, len(first.numerator)))
    return percentile_interval(first.draws(once) - second.draws(once), first.draws(weights) - second.draws(weights))


def percentile_interval(value: NDArray[np.float64], draws: NDArray[np.float64]) -> Interval:
    """A number `[1]` with the percentiles of its draws `[draws]`; NaN is undefined."""
    defined = draws[np.isfinite(draws)]
    if not np.isfinite(value[0]):
        return Interval(value=None, low=None, high=None)
    if not len(defined):
        return Interval(value=float(value[0]), low=None, high=None)
    low, high = np.percentile(defined, PERCENTILES)
    return Interval(value=float(value[0]), low=float(low), high=float(high))


_PER_CASE = ("dsc", "precision", "recall", "f1")


def _mean(values: Sequence[float | None]) -> RatioOfSums:
    known = np.array([value is not None for value in values], dtype=float)
    return RatioOfSums(numerator=np.array([value or 0.0 for value in values]), denominator=known)
