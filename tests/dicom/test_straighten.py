"""Shifting slices by hand."""

import numpy as np

from nnanomaly.dicom.padding import PADDING_HU
from nnanomaly.dicom.straighten import straighten
from nnanomaly.volume import Grid

GRID = Grid((3, 1, 4), (2.0, 1.0, 1.0), (10.0, 20.0, 30.0))
ROWS = np.array([[[1, 2, 3, 4]], [[5, 6, 7, 8]], [[10, 20, 30, 40]]], np.int16)
A = PADDING_HU


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


def test_a_value_is_scan_or_padding_and_never_a_mixture() -> None:
    padded = ROWS.copy()
    padded[:, :, 0] = A
    straight, _ = straighten(padded, GRID, (0.0, 0.5))
    assert straight[:, 0].tolist() == [[A, 2, 3, 4, A], [A, A, 6.5, 7.5, A], [A, A, 20, 30, 40]]
