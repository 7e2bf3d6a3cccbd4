"""The map of a patch from a reconstruction that is known: which reference, which bins, gate and coverage."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.look import PatchReconstruction, compared
from nnanomaly.inference.patch_map import anomaly_map, healthy_statistics
from nnanomaly.patch import COVERAGE, ORGAN, Patch
from nnanomaly.volume import Grid

SHAPE = (1, 1, 4)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
PLAN = replace(DEFAULT.inference, smoothing_mm=0.0, organ_gate_mm=-1.0)


def patch() -> Patch:
    array = np.zeros((3, *SHAPE), dtype=np.float16)
    array[ORGAN, 0, 0, :2] = 1  # organ, organ, outside, outside
    array[COVERAGE, 0, 0, :3] = 1  # the last voxel lies outside the scan
    return Patch(name="a", case="a", organ="a", array=array, grid=GRID)


def reconstruction(image: list[float], healthy: list[float], autoencoded: list[float]) -> PatchReconstruction:
    image_hu, healthy_hu, autoencoded_hu = (np.array([[row]], np.float32) for row in (image, healthy, autoencoded))
    return PatchReconstruction(image_hu=image_hu, healthy_hu=healthy_hu, autoencoded_hu=autoencoded_hu)


SEEN = reconstruction([100, 20, -90, 7], [100, 90, -100, 0], [70, 20, -100, 7])


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("input", [0, 70, 10, 7]), ("autoencoded", [30, 70, 0, 7])],  # the codec's own error counts, or cancels
)
def test_the_residual_is_taken_from_the_reference_of_the_plan(reference: str, expected: list[float]) -> None:
    residual = compared(patch(), SEEN, replace(PLAN, residual_of=reference)).residual
    assert residual.value_hu.ravel().tolist() == expected
    assert residual.distance_mm.ravel().tolist() == [-4, -2, 2, 4]
    assert residual.intensity_hu.ravel().tolist() == [100, 90, -100, 0]
    assert residual.covered.ravel().tolist() == [True, True, True, False]


def test_the_counterfactual_difference_is_taken_from_the_unguided_reconstruction() -> None:
    plan = replace(PLAN, residual_of="unguided", guidance="relative")
    seen = replace(SEEN, unguided_hu=np.array([[[90, 90, -95, 0]]], np.float32))
    assert compared(patch(), seen, plan).residual.value_hu.ravel().tolist() == [10, 0, 5, 0]


def test_every_noise_level_has_a_residual_and_an_absolute_map_is_their_mean() -> None:
    plan = replace(PLAN, anomaly_map="absolute")
    other = reconstruction([100, 20, -90, 7], [40, 20, -90, 7], [0, 0, 0, 0])
    residual = compared(patch(), replace(SEEN, extra=(other,)), plan).residual
    assert residual.extra[0].value_hu.ravel().tolist() == [60, 0, 0, 0]
    nothing = ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,))
    assert anomaly_map(residual, nothing, plan).ravel().tolist() == [30, 35, 5, 0]


def test_a_structural_map_is_the_zscore_of_the_dissimilarity() -> None:
    plan = replace(PLAN, anomaly_map="ssim")
    grid = Grid((8, 8, 8), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    image, flat = np.random.default_rng(0).normal(0, 50, (8, 8, 8)).astype(np.float32), np.zeros((8, 8, 8), np.float32)
    whole = Patch(name="a", case="a", organ="a", array=np.ones((3, 8, 8, 8)), grid=grid)
    seen = PatchReconstruction(image_hu=image, healthy_hu=flat, autoencoded_hu=flat)
    residual = compared(whole, seen, plan).residual
    assert 0.8 < residual.value_hu.mean() < 1.2
    statistics = ResidualStatistics(edges_mm=(), mean_hu=(0.5,), std_hu=(0.05,))
    expected = (residual.value_hu - 0.5) / 0.1
    assert anomaly_map(residual, statistics, plan) == pytest.approx(expected, rel=1e-3)


def test_an_absolute_map_is_the_residual_where_the_scan_says_something() -> None:
    plan = replace(PLAN, anomaly_map="absolute")
    residual = compared(patch(), SEEN, plan).residual
    nothing = ResidualStatistics(edges_mm=(), mean_hu=(50.0,), std_hu=(9.0,))
    assert anomaly_map(residual, nothing, plan).ravel().tolist() == [0, 70, 10, 0]


def test_the_gate_fades_the_map_outside_the_organ() -> None:
    plan = replace(PLAN, anomaly_map="absolute", organ_gate_mm=0.0)
    residual = compared(patch(), SEEN, plan).residual
    faded = anomaly_map(residual, ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,)), plan)
    assert faded.ravel() == pytest.approx([0, 70, 10 * np.exp(-0.2), 0], rel=1e-6)


@pytest.mark.parametrize(("kind", "divided"), [("zscore", False), ("zscore_intensity", True)])
def test_only_the_map_by_intensity_divides_the_statistics_by_intensity(kind: str, divided: bool) -> None:
    plan = replace(PLAN, anomaly_map=kind)
    residual = compared(patch(), SEEN, plan).residual
    assert bool(healthy_statistics([residual], plan).edges_hu) is divided
