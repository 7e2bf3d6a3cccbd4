"""Grids against positions computed by hand."""

import numpy as np
import pytest

from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Box, Grid, Volume, canonical_grid

# axis 0 of the array runs towards posterior (world 1), axis 1 towards inferior (world 0), axis 2 towards left (world 2)
PERMUTED = Grid(
    shape=(4, 5, 6),
    spacing_mm=(2.0, 3.0, 0.5),
    origin_mm=(100.0, -10.0, 7.0),
    direction=((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)),
)
STRAIGHT = Grid(shape=(4, 5, 6), spacing_mm=(2.0, 3.0, 0.5), origin_mm=(100.0, -10.0, 7.0))


def test_an_index_becomes_a_position_by_direction_spacing_and_origin() -> None:
    index = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]])
    np.testing.assert_allclose(STRAIGHT.to_world(index), [[100, -10, 7], [102, -4, 9]])
    np.testing.assert_allclose(PERMUTED.to_world(index), [[100, -10, 7], [94, -8, 9]])


def test_the_affine_says_the_same_as_the_positions() -> None:
    homogeneous = PERMUTED.affine @ np.array([1.0, 2.0, 4.0, 1.0])
    np.testing.assert_allclose(homogeneous, [94, -8, 9, 1])


def test_a_position_leads_back_to_its_index() -> None:
    np.testing.assert_allclose(PERMUTED.to_index(np.array([94.0, -8.0, 9.0])), [1, 2, 4], atol=1e-12)


def test_an_array_axis_is_known_by_the_world_axis_it_runs_along() -> None:
    assert [PERMUTED.axis_of(world) for world in range(3)] == [1, 0, 2]
    assert [STRAIGHT.axis_of(world) for world in range(3)] == [0, 1, 2]


def test_a_voxel_keeps_its_place_when_its_grid_is_cropped() -> None:
    for grid in (PERMUTED, STRAIGHT):
        cropped = grid.crop(Box((1, -2, 3), (4, 5, 5)))
        assert cropped.shape == (3, 7, 2)
        inside = np.array([1.0, 4.0, 1.0])
        np.testing.assert_allclose(cropped.to_world(inside), grid.to_world(inside + [1, -2, 3]))


def test_corners_lie_half_a_voxel_outside_the_outermost_centres() -> None:
    corners = STRAIGHT.corners_mm()
    np.testing.assert_allclose(corners.min(axis=0), [99, -11.5, 6.75])
    np.testing.assert_allclose(corners.max(axis=0), [107, 3.5, 9.75])


def test_corners_of_a_moved_grid_are_as_far_apart_as_it_was_moved() -> None:
    moved = Grid(STRAIGHT.shape, STRAIGHT.spacing_mm, (103.0, -6.0, 7.0))
    assert STRAIGHT.largest_corner_distance_mm(moved) == pytest.approx(5)
    coarser = Grid(STRAIGHT.shape, (2.0, 3.0, 1.0), STRAIGHT.origin_mm)
    # the last of six voxels lies 5 x 0.5 mm further out, its outer face another 0.25 mm
    assert STRAIGHT.largest_corner_distance_mm(coarser) == pytest.approx(2.75)


def test_a_canonical_grid_has_its_middle_where_it_was_asked_for() -> None:
    grid = canonical_grid((10.0, 20.0, 30.0), (4, 5, 6), (1.0, 2.0, 3.0))
    np.testing.assert_allclose(grid.corners_mm().mean(axis=0), [10, 20, 30])
    np.testing.assert_allclose(np.ptp(grid.corners_mm(), axis=0), [4, 10, 18])


def test_the_volume_of_a_voxel_is_the_product_of_its_edges() -> None:
    assert PERMUTED.voxel_volume_mm3 == pytest.approx(3)


def test_an_array_that_does_not_fit_its_grid_is_refused() -> None:
    with pytest.raises(DataError, match="GEO-SHAPE"):
        Volume(np.zeros((1, 4, 5, 7)), STRAIGHT)
    with pytest.raises(DataError, match="GEO-SHAPE"):
        Volume(np.zeros((4, 5, 6)), STRAIGHT)
