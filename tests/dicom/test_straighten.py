"""Shifting slices by hand."""

import numpy as np

from nnanomaly.dicom.straighten import AIR_HU, straighten
from nnanomaly.volume import Grid

GRID = Grid((3, 1, 4), (2.0, 1.0, 1.0), (10.0, 20.0, 30.0))
ROWS = np.array([[[1, 2, 3, 4]], [[5, 6, 7, 8]], [[10, 20, 30, 40]]], np.int16)
A = AIR_HU


def test_each_slice_moves_by_its_number_times_the_drift() -> None:
    straight, grid = straighten(ROWS, GRID, (0.0, 1.0))
    assert straight[:, 0].tolist() == [[1, 2, 3, 4, A, A], [A, 5, 6, 7, 8, A], [A, A, 10, 20, 30, 40]]
    assert grid == Grid((3, 1, 6), (2.0, 1.0, 1.0), (10.0, 20.0, 30.0))


def test_a_drift_to_the_other_side_moves_the_origin() -> None:
    straight, grid = straighten(ROWS, GRID, (0.0, -1.0))
    assert straight[:, 0].tolist() == [[A, A, 1, 2, 3, 4], [A, 5, 6, 7, 8, A], [10, 20, 30, 40, A, A]]
    assert grid.origin_mm == (10.0, 20.0, 28.0)


def test_half_a_voxel_is_interpolated() -> None:
    straight, grid = straighten(ROWS, GRID, (0.0, 0.5))
    assert straight[0, 0].tolist() == [1, 2, 3, 4, A]
    assert straight[1, 0, 1:4].tolist() == [5.5, 6.5, 7.5]
    assert straight[2, 0].tolist() == [A, 10, 20, 30, 40]
    assert grid.shape == (3, 1, 5)
