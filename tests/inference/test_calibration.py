"""Calibrations: which plan they fit, that those of earlier versions are read, thresholds on probabilities."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration, choose_score_threshold, choose_threshold, fits_plan
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import from_document, to_document
from nnanomaly.volume import Grid

STATISTICS = ResidualStatistics(edges_mm=(0.0,), mean_hu=(1.0, 2.0), std_hu=(1.0, 1.0))
CALIBRATION = Calibration(
    statistics=STATISTICS,
    threshold=3.0,
    false_candidates_per_organ=0.5,
    num_organs=4,
    guidance=False,
    guidance_reason="",
    checkpoints={},
)


def test_a_calibration_from_before_ensembles_and_inpainting_is_read() -> None:
    document = to_document(CALIBRATION)
    del document["inpaint_threshold"], document["statistics"]["extra"]
    assert from_document(Calibration, document, source="old") == CALIBRATION


def test_the_statistics_of_all_noise_levels_survive_the_way_to_a_file() -> None:
    ensemble = replace(CALIBRATION, statistics=replace(STATISTICS, extra=(STATISTICS,)), inpaint_threshold=2.0)
    assert from_document(Calibration, to_document(ensemble), source="new") == ensemble


@pytest.mark.parametrize(
    ("change", "fits"), [({}, True), ({"extra_sigmas": (1.0,)}, False), ({"inpaint_rounds": 3}, False)]
)
def test_a_calibration_fits_the_levels_and_the_inpainting_it_was_made_with(
    change: dict[str, object], fits: bool
) -> None:
    plan = replace(DEFAULT.inference, **change)
    assert fits_plan(CALIBRATION, plan) is fits
    statistics = replace(STATISTICS, extra=(STATISTICS,) * len(plan.extra_sigmas))
    threshold = 2.0 if plan.inpaint_rounds else None
    assert fits_plan(replace(CALIBRATION, statistics=statistics, inpaint_threshold=threshold), plan)


def test_probabilities_that_crowd_near_one_are_told_apart() -> None:
    """Four organs with blobs at 0.9990, 0.9992, 0.9994 and 0.9996, a step of the evenly spaced thresholds is 0.017."""
    grid = Grid((16, 16, 16), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    maps = []
    for number in range(4):
        anomaly = np.zeros(grid.shape, np.float32)
        anomaly[4:10, 4:10, 4:10] = 0.9990 + 0.0002 * number
        maps.append((anomaly, grid))
    plan = replace(DEFAULT.inference, morphology=False, hysteresis=1.0, false_candidates_per_organ=0.5)
    threshold, rate = choose_threshold(maps, 4, plan)
    assert rate == 0.5
    assert 0.99919 < threshold < 0.9994


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
