"""Turn a volume so that its axes run from inferior to superior, anterior to posterior and right to left.

Only axes are swapped and reversed, no voxel is interpolated; an oblique scan stays as oblique as it was.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Grid, Triple, Volume


def to_nearest_canonical(volume: Volume) -> Volume:
    """The same voxels `[C, Z, Y, X]` with axes along the world axes (z, y, x) as nearly as swapping and reversing can.

    The array is a view of the given one.
    """
    order = _axis_order(volume.grid)
    reverse = _reversed(volume.grid, order)
    array = volume.array.transpose(0, *(axis + 1 for axis in order))
    flipped = array[(slice(None), *(slice(None, None, -1 if back else 1) for back in reverse))]
    return Volume(flipped, _turned(volume.grid, order, reverse))


def _axis_order(grid: Grid) -> tuple[int, ...]:
    """The array axis for each world axis; of all six orders the one along which the axes run most nearly."""
    along = np.abs(np.asarray(grid.direction))
    return max(itertools.permutations(range(3)), key=lambda order: float(along[range(3), order].sum()))


def _reversed(grid: Grid, order: tuple[int, ...]) -> list[bool]:
    """Which of the axes run against their world axis."""
    return [grid.direction[world][axis] < 0 for world, axis in enumerate(order)]


def _turned(grid: Grid, order: tuple[int, ...], reverse: list[bool]) -> Grid:
    signs = np.where(reverse, -1.0, 1.0)
    direction = np.asarray(grid.direction)[:, order] * signs
    first = np.zeros(3)
    for axis, back in zip(order, reverse, strict=True):
        first[axis] = grid.shape[axis] - 1 if back else 0
    shape, spacing_mm = np.asarray(grid.shape)[list(order)], np.asarray(grid.spacing_mm)[list(order)]
    rows = [_triple(row + 0.0) for row in direction]  # + 0.0: no negative zeros
    return Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        _triple(spacing_mm),
        _triple(grid.to_world(first)),
        (rows[0], rows[1], rows[2]),
    )


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
