"""Diameters of drawn shapes, in both axis orders, and against all pairs of voxels."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from nnanomaly.roi.lesion_size import axial_diameter_mm, equivalent_diameter_mm
from nnanomaly.volume import Grid, Triple

AXIAL_FIRST = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
AXIAL_LAST = ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (1.0, 0.0, 0.0))  # array axes run to left, anterior, inferior: KiTS
AXIAL_TILTED = (
    (math.cos(0.26), -math.sin(0.26), 0.0),
    (math.sin(0.26), math.cos(0.26), 0.0),
    (0.0, 0.0, 1.0),
)  # a gantry tilt of 15 degrees: axis 0 is still nearest to the body axis


def grid(mask: np.ndarray, spacing_mm: Triple, direction: tuple[Triple, Triple, Triple] = AXIAL_FIRST) -> Grid:
    return Grid(mask.shape, spacing_mm, (0.0, 0.0, 0.0), direction)


def test_a_single_voxel_is_as_large_as_its_mean_in_plane_size() -> None:
    mask = np.ones((1, 1, 1), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (5.0, 0.6, 0.8))) == 0.7


def test_an_empty_mask_has_no_diameter() -> None:
    mask = np.zeros((2, 3, 4), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (1.0, 1.0, 1.0))) == 0.0


def test_a_rectangle_is_measured_along_its_diagonal() -> None:
    # 4 x 5 voxels of 1 mm: centres are 3 and 4 mm apart, the diagonal is 5 mm, plus one voxel.
    mask = np.ones((1, 4, 5), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (1.0, 1.0, 1.0))) == 6.0


def test_the_height_along_the_body_does_not_count() -> None:
    mask = np.ones((100, 4, 5), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (1.0, 1.0, 1.0))) == 6.0
    assert axial_diameter_mm(mask, grid(mask, (1.0, 1.0, 1.0), AXIAL_TILTED)) == 6.0


def test_ends_in_different_slices_are_no_diameter() -> None:
    # Two voxels 9 apart in plane, but in neighbouring slices: each slice shows one voxel.
    mask = np.zeros((2, 1, 10), dtype=bool)
    mask[0, 0, 0] = mask[1, 0, 9] = True
    assert axial_diameter_mm(mask, grid(mask, (1.0, 1.0, 1.0))) == 1.0


def test_the_axial_axis_comes_from_the_direction_not_from_the_position() -> None:
    # One object, 40 mm along the body and 4 x 5 mm across, stored with the slices first and (as KiTS) last.
    first = np.ones((20, 4, 5), dtype=bool)
    last = first.transpose(2, 1, 0)
    assert axial_diameter_mm(first, grid(first, (2.0, 1.0, 1.0), AXIAL_FIRST)) == 6.0
    assert axial_diameter_mm(last, grid(last, (1.0, 1.0, 2.0), AXIAL_LAST)) == 6.0


def test_the_stored_spacing_counts() -> None:
    # 1 x 11 voxels of 0.5 mm: 5 mm between the outer centres, plus the mean of 0.9 and 0.5 mm.
    mask = np.ones((1, 1, 11), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (3.0, 0.9, 0.5))) == 5.7


def test_twenty_five_voxels_of_point_eight_mm_are_exactly_twenty_mm() -> None:
    # In floating point 24 * 0.8 + 0.8 is a little more than 20, which would be the next size bin.
    mask = np.ones((1, 1, 25), dtype=bool)
    assert axial_diameter_mm(mask, grid(mask, (1.0, 0.8, 0.8))) == 20.0


@pytest.mark.parametrize("seed", range(20))
def test_the_diameter_is_the_largest_of_all_pairs_in_a_slice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((4, 9, 11)) < rng.uniform(0.02, 0.5)
    mask[2, 3, 3] = True
    spacing = tuple(rng.uniform(0.4, 3.0, size=3))
    in_plane = np.array(spacing[1:])
    longest = max(pdist(np.argwhere(part) * in_plane).max() if np.count_nonzero(part) > 1 else 0.0 for part in mask)
    assert axial_diameter_mm(mask, grid(mask, spacing)) == pytest.approx(longest + in_plane.mean(), abs=1e-6)


def test_the_equivalent_diameter_is_that_of_a_sphere() -> None:
    assert equivalent_diameter_mm(4 / 3 * math.pi * 7**3) == pytest.approx(14.0)
    assert equivalent_diameter_mm(0.0) == 0.0
