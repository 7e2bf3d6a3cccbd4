"""Confidence intervals: cases drawn with replacement, the same draws for all methods."""

import numpy as np
import pytest

from nnanomaly.evaluation.bootstrap import Bootstrap, Interval, RatioOfSums, difference, interval, statistics
from nnanomaly.evaluation.metrics import CaseMetrics


def _case(tp: int, fp: int, fn: int, dsc: float | None = 0.5) -> CaseMetrics:
    has_lesion = tp + fn > 0
    precision = (tp / (tp + fp) if tp + fp else 0.0) if has_lesion else None
    recall, f1 = (tp / (tp + fn), 2 * tp / (2 * tp + fp + fn)) if has_lesion else (None, None)
    return CaseMetrics(case="", tp=tp, fp=fp, fn=fn, precision=precision, recall=recall, f1=f1, dsc=dsc)


def _values(cases: list[CaseMetrics]) -> dict[str, float | None]:
    once = np.ones((1, len(cases)))
    return {name: interval(number, once).value for name, number in statistics(cases).items()}


def test_every_number_is_the_one_of_the_tables() -> None:
    cases = [_case(1, 1, 0), _case(2, 0, 2, dsc=1.0), _case(0, 3, 0, dsc=0.0)]  # the last has no lesion
    assert _values(cases) == {
        "dsc": 0.75,
        "precision": 0.75,
        "recall": 0.75,
        "f1": pytest.approx((2 / 3 + 2 / 3) / 2),
        "pooled_precision": 0.75,
        "pooled_recall": 0.6,
        "pooled_f1": pytest.approx(6 / 9),
        "fp_per_scan": pytest.approx(4 / 3),
        "fp_per_lesion_free_scan": 3.0,
    }


def test_without_lesions_or_scores_numbers_are_undefined() -> None:
    assert _values([_case(0, 1, 0, dsc=None)]) == {
        **dict.fromkeys(("dsc", "precision", "recall", "f1", "pooled_precision", "pooled_recall", "pooled_f1")),
        "fp_per_scan": 1.0,
        "fp_per_lesion_free_scan": 1.0,
    }


def test_draws_are_seeded_and_every_draw_has_as_many_cases() -> None:
    weights = Bootstrap(num_draws=50, seed=1).weights(7)
    assert weights.shape == (50, 7)
    assert set(weights.sum(axis=1)) == {7.0}
    np.testing.assert_array_equal(weights, Bootstrap(num_draws=50, seed=1).weights(7))
    assert (weights != Bootstrap(num_draws=50, seed=2).weights(7)).any()


def test_an_interval_of_a_mean_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    number = RatioOfSums(numerator=values, denominator=np.ones(400))
    found = interval(number, Bootstrap(num_draws=4000, seed=0).weights(400))
    half = 1.96 * values.std() / 20
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.0015)


def test_differences_are_paired() -> None:
    hard = np.linspace(0, 1, 30)  # what makes a case hard for both cancels out
    first, second = (RatioOfSums(numerator=hard + shift, denominator=np.ones(30)) for shift in (0.25, 0.0))
    weights = Bootstrap(num_draws=100, seed=3).weights(30)
    found = difference(first, second, weights)
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))
    alone = interval(first, weights)
    assert alone.low is not None
    assert alone.high is not None
    assert alone.high - alone.low > 0.1


def test_draws_in_which_a_number_is_undefined_do_not_count() -> None:
    number = RatioOfSums(numerator=np.array([1.0, 0.0]), denominator=np.array([1.0, 0.0]))
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    assert interval(number, weights) == Interval(value=1.0, low=1.0, high=1.0)
    assert interval(number, np.array([[0.0, 2.0]])) == Interval(value=1.0, low=None, high=None)


def test_without_draws_there_is_no_interval() -> None:
    number = RatioOfSums(numerator=np.array([1.0]), denominator=np.array([2.0]))
    assert interval(number, Bootstrap(num_draws=0).weights(1)) == Interval(value=0.5, low=None, high=None)
