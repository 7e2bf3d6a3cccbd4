"""How large a lesion is: its greatest diameter in an axial slice, and the diameter of a sphere of its volume.

The axial diameter is what a radiologist reads on axial CT and what the 4 and 7 cm cut-offs of staging mean: over all
axial slices, the largest distance between the centres of two of its voxels in that slice, plus the mean in-plane
voxel size (so that a single voxel has a size, and a disc of pixels is not measured short by one pixel). Which array
axis is axial follows from the direction of the grid, never from the position of the axis: KiTS files store it last.
"""

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Grid

_DECIMALS = 6
"""Diameters are rounded to a nanometre, so that 25 voxels of 0.8 mm are 20 mm and not 20.000000000000004 mm."""


def axial_diameter_mm(mask: NDArray[np.bool_], grid: Grid) -> float:
    """Greatest axial diameter in mm of the voxels of `mask [Z, Y, X]`, which is the whole of `grid` or a crop of it.

    0 for an empty mask.
    """
    axial = grid.axis_of(0)
    rows_mm, columns_mm = (grid.spacing_mm[axis] for axis in range(3) if axis != axial)
    slices = np.moveaxis(mask, axial, 0)
    slices = slices[slices.any(axis=(1, 2))]
    if not len(slices):
        return 0.0
    largest = _largest_distance(slices, rows_mm, columns_mm)
    return round(largest + (rows_mm + columns_mm) / 2, _DECIMALS)


def equivalent_diameter_mm(volume_mm3: float) -> float:
    """Diameter in mm of the sphere of that volume: (6 V / pi) ** (1/3)."""
    return float(np.cbrt(6 * volume_mm3 / np.pi))


def _largest_distance(slices: NDArray[np.bool_], rows_mm: float, columns_mm: float) -> float:
    """Largest distance between two voxel centres of one slice of `[S, R, C]`; every slice has a voxel.

    The two ends of the longest line are the first or last voxel of their rows. Slices are visited in the order of
    the diagonals of their boxes, and no further than the first diagonal that cannot win.
    """
    occupied = np.asarray(slices.any(axis=2))
    first = slices.argmax(axis=2)
    last = slices.shape[2] - 1 - slices[:, :, ::-1].argmax(axis=2)
    height = _extent(occupied) * rows_mm
    leftmost = np.where(occupied, first, slices.shape[2]).min(axis=1)
    rightmost = np.where(occupied, last, -1).max(axis=1)
    diagonals = np.hypot(height, (rightmost - leftmost) * columns_mm)
    largest = 0.0
    for index in np.argsort(-diagonals):
        if diagonals[index] <= largest:
            break
        rows = np.flatnonzero(occupied[index])
        ends = np.concatenate([first[index, rows], last[index, rows]])
        down, across = np.concatenate([rows, rows]) * rows_mm, ends * columns_mm
        squared = np.subtract.outer(down, down) ** 2 + np.subtract.outer(across, across) ** 2
        largest = max(largest, float(np.sqrt(squared.max())))
    return largest


def _extent(occupied: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Distance between the first and the last occupied row of each `[S, R]`."""
    last = occupied.shape[1] - 1 - occupied[:, ::-1].argmax(axis=1)
    return np.asarray(last - occupied.argmax(axis=1))
