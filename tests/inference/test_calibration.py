"""Calibrations: which plan they fit, and that those of earlier versions are read."""

from dataclasses import replace

import pytest

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration, fits_plan
from nnanomaly.utilities.json_io import from_document, to_document

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
