"""Calibrations: which plan they fit, and that those of earlier versions are read."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration, choose_threshold, fits_plan
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
