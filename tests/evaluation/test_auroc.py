"""The area under the ROC curve: values counted by hand, those of scikit-learn, and where it is undefined."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from nnanomaly.evaluation.auroc import Scored, auroc
from nnanomaly.evaluation.bootstrap import Bootstrap, Interval

NO_DRAWS = Bootstrap(num_draws=0)


def _scored(scores: list[float], positive: list[bool], cases: list[str] | None = None) -> Scored:
    names = tuple(cases or map(str, range(len(scores))))
    return Scored(cases=names, scores=np.array(scores), positive=np.array(positive, dtype=bool), left_out={"no_roi": 1})


def test_the_area_is_the_share_of_pairs_in_the_right_order_and_ties_count_half() -> None:
    # Positive 3, 1, 0 against negative 2, 0: right are 3 > 2, 3 > 0, 1 > 0; equal is 0, 0; wrong are 1 < 2 and 0 < 2.
    result = auroc(_scored([3, 1, 0, 2, 0], [True, True, True, False, False]), NO_DRAWS)
    assert result.area == Interval(value=3.5 / 6, low=None, high=None)
    assert (result.num_positive, result.num_negative, result.left_out) == (3, 2, {"no_roi": 1})
    assert result.reason is None


@pytest.mark.parametrize(("scores", "area"), [([2, 1], 1.0), ([1, 2], 0.0), ([0, 0], 0.5)])
def test_perfect_inverted_and_equal_scores(scores: list[float], area: float) -> None:
    assert auroc(_scored(scores, [True, False]), NO_DRAWS).area.value == area


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
@settings(max_examples=50, deadline=None)
def test_it_is_the_area_of_scikit_learn(rows: list[tuple[int, bool]]) -> None:
    scores, positive = [float(score) for score, _ in rows], [truth for _, truth in rows]
    area = auroc(_scored(scores, positive), NO_DRAWS).area.value
    if all(positive) or not any(positive):
        assert area is None
    else:
        assert area == pytest.approx(float(roc_auc_score(positive, scores)))


@pytest.mark.parametrize(("truth", "counts"), [(True, "2 positive, 0 negative"), (False, "0 positive, 2 negative")])
def test_one_class_has_no_area_and_says_so(truth: bool, counts: str) -> None:
    result = auroc(_scored([1, 2], [truth, truth]), Bootstrap(num_draws=10))
    assert result.area == Interval(value=None, low=None, high=None)
    assert result.reason == f"one class only: {counts}"


def test_nothing_at_all_has_no_area() -> None:
    assert auroc(_scored([], []), Bootstrap(num_draws=10)).reason == "one class only: 0 positive, 0 negative"


def test_the_bootstrap_draws_cases_with_all_their_organs() -> None:
    # A positive and a negative organ of 2 in "a", of 1 in "b": ties within a case; the positive one of "a" wins over
    # the negative one of "b", that of "b" loses. As w_a + w_b = 2, the area (w_a^2 / 2 + w_a w_b + w_b^2 / 2) / 4 is
    # always 1/2. Organs drawn one by one would also give 0 and 1.
    scores, positive, cases = [2.0, 2.0, 1.0, 1.0], [True, False, True, False], ["a", "a", "b", "b"]
    result = auroc(_scored(scores, positive, cases), Bootstrap(num_draws=400))
    assert result.area == Interval(value=0.5, low=0.5, high=0.5)


def test_the_interval_spans_the_areas_of_the_draws() -> None:
    # Pairs: 4 > 1 (a, a), 4 > 3 (a, b), 0 < 1 (b, a), 0 < 3 (b, b): the area is (w_a^2 + w_a w_b) / 4 = w_a / 2, which
    # is 0 or 1 in a quarter of the draws each.
    scores, positive, cases = [4.0, 1.0, 0.0, 3.0], [True, False, True, False], ["a", "a", "b", "b"]
    result = auroc(_scored(scores, positive, cases), Bootstrap(num_draws=400))
    assert result.area == Interval(value=0.5, low=0.0, high=1.0)


def test_draws_of_one_class_do_not_count() -> None:
    # One positive and one negative case: every draw that has both orders them rightly, the others have no area.
    result = auroc(_scored([1.0, 0.0], [True, False]), Bootstrap(num_draws=200))
    assert result.area == Interval(value=1.0, low=1.0, high=1.0)
