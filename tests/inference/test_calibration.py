"""Thresholds on the probability of candidates."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.inference.calibration import choose_score_threshold
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.utilities.errors import ConfigurationError


@pytest.fixture
def plan(tiny_plans: Callable[..., Plans]) -> InferencePlan:
    return replace(tiny_plans("default", dataset="Dataset501_Tiny").inference, false_candidates_per_organ=0.5)


def test_the_planned_number_of_candidates_stays_above_the_threshold(plan: InferencePlan) -> None:
    threshold, rate = choose_score_threshold(np.array([0.1, 0.9, 0.4, 0.7]), 4, plan)
    assert (threshold, rate) == (0.4, 0.5)


def test_candidates_of_one_probability_stay_or_go_together(plan: InferencePlan) -> None:
    assert choose_score_threshold(np.array([0.9, 0.7, 0.7, 0.1]), 4, plan) == (0.7, 0.25)


def test_all_may_stay_where_there_are_no_more_than_planned(plan: InferencePlan) -> None:
    assert choose_score_threshold(np.array([0.2, 0.1]), 4, plan) == (0.0, 0.5)
    assert choose_score_threshold(np.zeros(0), 4, plan) == (0.0, 0.0)


def test_a_reduction_takes_candidates_from_a_larger_pool(plan: InferencePlan) -> None:
    assert plan.before_reduction is plan
    reduced = replace(plan, reduction="mil", reduction_pool=3.0)
    assert reduced.before_reduction == replace(plan, false_candidates_per_organ=1.5)


def test_a_reduction_needs_a_calibrated_threshold(plan: InferencePlan) -> None:
    with pytest.raises(ConfigurationError, match="calibrated"):
        replace(plan, reduction="mil", threshold="otsu")
