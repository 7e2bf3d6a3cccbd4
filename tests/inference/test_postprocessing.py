"""Thresholds, morphology and candidates."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.experiment_planning.presets import PAPER
from nnanomaly.inference.calibration import choose_threshold
from nnanomaly.inference.postprocessing import clean_mask, find_candidates, otsu_threshold
from nnanomaly.volume import Grid

GRID = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
PLAN = PAPER.inference
RAW = replace(PLAN, morphology=False, min_voxels=1, min_diameter_mm=0.0)


def cube(size: int, value: float = 1.0, start: int = 5) -> np.ndarray:
    array = np.zeros((20, 20, 20), dtype=np.float32)
    array[start : start + size, start : start + size, start : start + size] = value
    return array


def test_otsu_looks_at_covered_voxels_only() -> None:
    anomaly = np.concatenate([np.full(50, 4.0), np.full(50, 8.0)]).astype(np.float32)[None, None]
    background = np.zeros_like(anomaly)
    both = np.concatenate([background, background, anomaly])
    covered = np.zeros(both.shape, dtype=bool)
    covered[2] = True
    assert 4.0 <= otsu_threshold(both, covered) < 8.0
    assert otsu_threshold(both, np.ones(both.shape, dtype=bool)) < 4.0


def test_a_constant_map_has_no_anomaly() -> None:
    assert otsu_threshold(np.ones((2, 2, 2), np.float32), np.ones((2, 2, 2), bool)) == float("inf")


def test_opening_removes_a_single_voxel_and_keeps_a_ball() -> None:
    mask = cube(5) > 0
    mask[0, 0, 0] = True
    cleaned = clean_mask(mask, (1.0, 1.0, 1.0))
    assert not cleaned[0, 0, 0]
    assert cleaned[7, 7, 7]


def test_in_thick_slices_a_lesion_of_one_slice_survives_the_opening() -> None:
    mask = np.zeros((5, 20, 20), dtype=bool)
    mask[2, 5:11, 5:11] = True
    assert clean_mask(mask, (5.0, 0.8, 0.8))[2, 8, 8]
    assert not clean_mask(mask, (1.0, 1.0, 1.0)).any()


def test_holes_are_filled() -> None:
    mask = cube(9) > 0
    mask[9, 9, 9] = False
    assert clean_mask(mask, (1.0, 1.0, 1.0))[9, 9, 9]


def test_candidates_touching_at_a_corner_are_one() -> None:
    anomaly = np.zeros((20, 20, 20), dtype=np.float32)
    anomaly[2:4, 2:4, 2:4] = 1
    anomaly[4:6, 4:6, 4:6] = 1
    assert len(find_candidates(anomaly, 0.5, GRID, RAW)[1]) == 1


@pytest.mark.parametrize(("voxels", "kept"), [(19, 0), (20, 1)])
def test_fewer_than_twenty_voxels_are_dropped(voxels: int, kept: int) -> None:
    anomaly = np.zeros((20, 20, 20), dtype=np.float32)
    anomaly[4, 4:6, : voxels // 2] = 1
    anomaly[4, 4, 10 : 10 + voxels % 2] = 1
    mask, candidates = find_candidates(anomaly, 0.5, GRID, replace(RAW, min_voxels=20))
    assert len(candidates) == kept
    assert mask.sum() == voxels * kept


def test_less_than_three_millimetres_are_dropped_whatever_the_number_of_voxels() -> None:
    fine = Grid((20, 20, 20), (0.2, 0.2, 0.2), (0.0, 0.0, 0.0))
    assert find_candidates(cube(8), 0.5, fine, replace(RAW, min_diameter_mm=3.0))[1] == []
    assert len(find_candidates(cube(13), 0.5, fine, replace(RAW, min_diameter_mm=3.0))[1]) == 1


def test_the_threshold_is_strict_and_scores_are_in_descending_order() -> None:
    anomaly = cube(3, 2.0, start=1) + cube(3, 5.0, start=10)
    _, candidates = find_candidates(anomaly, 1.0, GRID, RAW)
    assert [candidate.score for candidate in candidates] == [5.0, 2.0]
    assert len(find_candidates(anomaly, 2.0, GRID, RAW)[1]) == 1


def test_a_candidate_knows_its_box_centre_and_volume_in_the_world() -> None:
    grid = Grid((20, 20, 20), (2.0, 1.0, 1.0), (100.0, 0.0, -50.0))
    (candidate,) = find_candidates(cube(3), 0.5, grid, RAW)[1]
    assert (candidate.box.start, candidate.box.stop) == ((5, 5, 5), (8, 8, 8))
    assert candidate.center_mm == (112.0, 6.0, -44.0)
    assert candidate.volume_mm3 == 54.0
    assert candidate.equivalent_diameter_mm == pytest.approx((6 * 54 / np.pi) ** (1 / 3))


def test_the_calibrated_threshold_leaves_at_most_the_wanted_number_of_candidates() -> None:
    peaks = [cube(4, height, start) for height, start in ((9.0, 1), (6.0, 7), (3.0, 13))]
    maps = [(sum(peaks), GRID), (peaks[1] + 0.01, GRID)]
    plan = replace(RAW, false_candidates_per_organ=0.5)
    threshold, rate = choose_threshold(maps, 2, plan)
    assert 6.0 <= threshold < 9.0
    assert rate == 0.5
    none, _ = choose_threshold(maps, 2, replace(plan, false_candidates_per_organ=0.0))
    assert none == pytest.approx(9.0)


@pytest.mark.parametrize("axial", [0, 2])
def test_a_rod_along_the_body_is_thin_in_axial_slices_and_as_long_as_its_volume_says(axial: int) -> None:
    # 1 x 2 x 12 voxels of 1 mm: two voxels in a row of a slice are 1 mm apart, plus a voxel.
    turned = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)) if axial == 0 else ((0, 0, 1), (0, 1, 0), (1, 0, 0))
    grid = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), turned)
    anomaly = np.zeros((20, 20, 20), dtype=np.float32)
    np.moveaxis(anomaly, axial, 0)[4:16, 6:8, 9] = 2.0
    _, (found,) = find_candidates(anomaly, 1.0, grid, RAW)
    assert found.axial_diameter_mm == 2.0
    assert found.equivalent_diameter_mm == pytest.approx((6 * 24 / np.pi) ** (1 / 3))
    assert found.organ is None
