"""Two grids with the same voxels in another storage order, and what is different about two that have not. Pure.

A scan may be stored in 48 orders: six permutations of its axes, each of which runs in one of two directions. From one
to another no value changes, so that images of any orders belong together. Whatever else sets two grids apart would need
interpolation, which nobody asked for, and is refused with its cause.
"""

from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import SAME_GRID_MM, Box, Grid, Shape, Triple, Volume

ON_ITS_IMAGE = "Make it from this image, or resample it onto its grid."


@dataclass(frozen=True, slots=True, kw_only=True)
class Reordering:
    """How an array is stored in another order."""

    shape: Shape
    """Shape of the stored array."""
    axes: Shape
    """Axis of the stored array that each axis of the result is."""
    flipped: tuple[bool, bool, bool]
    """Whether each axis of the result runs the other way than it is stored."""

    @property
    def changes_nothing(self) -> bool:
        """Whether the order is the same."""
        return self.axes == (0, 1, 2) and not any(self.flipped)

    def array(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """An array `[C, Z, Y, X]` in the other order; the same array where nothing changes."""
        if self.changes_nothing:
            return stored
        moved = stored.transpose(0, *(axis + 1 for axis in self.axes))
        return np.ascontiguousarray(np.flip(moved, tuple(axis + 1 for axis in range(3) if self.flipped[axis])))

    def box(self, stored: Box) -> Box:
        """A box of voxels in the other order."""
        ends = [(stored.start[axis], stored.stop[axis], self.shape[axis]) for axis in self.axes]
        turned = [
            (size - stop, size - start) if flip else (start, stop)
            for (start, stop, size), flip in zip(ends, self.flipped, strict=True)
        ]
        (z0, z1), (y0, y1), (x0, x1) = turned
        return Box((z0, y0, x0), (z1, y1, x1))

    def grid(self, stored: Grid) -> Grid:
        """The grid of the array in the other order."""
        signs = np.where(self.flipped, -1.0, 1.0)
        first = np.zeros(3)
        first[list(self.axes)] = np.where(self.flipped, np.take(stored.shape, self.axes) - 1.0, 0.0)
        direction = np.asarray(stored.direction)[:, self.axes] * signs + 0.0
        z, y, x = (stored.shape[axis] for axis in self.axes)
        rows = [_triple(row) for row in direction]
        spacing = _triple(np.take(stored.spacing_mm, self.axes))
        return Grid((z, y, x), spacing, _triple(stored.to_world(first)), (rows[0], rows[1], rows[2]))


def reordering_onto(stored: Grid, grid: Grid, *, tolerance_mm: float = SAME_GRID_MM) -> Reordering | None:
    """How an array on `stored` is brought onto `grid` without interpolation; None where it cannot."""
    order = _nearest(stored, grid)
    other = order.grid(stored)
    same = other.shape == grid.shape and other.largest_corner_distance_mm(grid) <= tolerance_mm
    return order if same else None


def reordering_onto_axes(stored: Grid) -> Reordering:
    """How an array is brought into the order of the world axes, as nearly as it goes without interpolation."""
    return _nearest(stored, Grid(stored.shape, stored.spacing_mm, stored.origin_mm))


def reoriented(volume: Volume, grid: Grid, *, tolerance_mm: float = SAME_GRID_MM) -> Volume | None:
    """The volume with its voxels in the order of `grid`, on exactly that grid; None where these are other voxels."""
    order = reordering_onto(volume.grid, grid, tolerance_mm=tolerance_mm)
    return None if order is None else Volume(order.array(volume.array), grid)


def require_same_voxels(
    stored: Grid, source: str | Path, *, grid: Grid, image: str | Path, tolerance_mm: float = SAME_GRID_MM
) -> Reordering:
    """How `source` is brought onto the grid of `image`; other voxels raise `DataError` (GEO-PAIR) with the cause."""
    order = reordering_onto(stored, grid, tolerance_mm=tolerance_mm)
    if order is None:
        cause = difference(stored, grid, tolerance_mm=tolerance_mm)
        raise DataError("GEO-PAIR", f"{source} does not lie on the grid of {image}: {cause}. {ON_ITS_IMAGE}")
    return order


def require_on_grid(
    volume: Volume, source: str | Path, *, grid: Grid, image: str | Path, tolerance_mm: float = SAME_GRID_MM
) -> Volume:
    """`reoriented`, with `DataError` (GEO-PAIR) for other voxels; `source` and `image` are what it calls the two."""
    order = require_same_voxels(volume.grid, source, grid=grid, image=image, tolerance_mm=tolerance_mm)
    return Volume(order.array(volume.array), grid)


def difference(stored: Grid, grid: Grid, *, tolerance_mm: float = SAME_GRID_MM) -> str:
    """What sets two grids apart, in the order of the second: shape, size of voxels, direction, or else place."""
    other = _nearest(stored, grid).grid(stored)
    extent = max(size * spacing for size, spacing in zip(grid.shape, grid.spacing_mm, strict=True))
    causes = []
    if other.shape != grid.shape:
        causes.append(f"its shape is {other.shape}, not {grid.shape}")
    if np.max(np.abs(np.subtract(other.spacing_mm, grid.spacing_mm)) * grid.shape) > tolerance_mm:
        causes.append(f"its voxels measure {_size(other.spacing_mm)} mm, not {_size(grid.spacing_mm)} mm")
    angle = _angle(other, grid)
    if angle * extent > tolerance_mm:
        causes.append(f"it is rotated by {np.degrees(angle):.3g} degrees")
    if not causes:
        shift = np.mean(other.corners_mm() - grid.corners_mm(), axis=0)
        causes.append(f"it is shifted by {np.linalg.norm(shift):.4g} mm (z, y, x: {_size(_triple(shift + 0.0), ', ')})")
    return ", ".join(causes)


def _nearest(stored: Grid, grid: Grid) -> Reordering:
    """The order in which the axes of `stored` run most nearly as those of `grid`."""
    turn = np.asarray(grid.direction).T @ np.asarray(stored.direction)
    axes = max(permutations(range(3)), key=lambda order: sum(abs(turn[k, order[k]]) for k in range(3)))
    z, y, x = (bool(turn[k, axes[k]] < 0) for k in range(3))
    return Reordering(shape=stored.shape, axes=(axes[0], axes[1], axes[2]), flipped=(z, y, x))


def _angle(first: Grid, second: Grid) -> float:
    """Angle (rad) between two orientations; accurate for small ones."""
    distance = np.linalg.norm(np.subtract(first.direction, second.direction))
    return 2 * float(np.arcsin(min(1.0, distance / np.sqrt(8))))


def _size(values: Triple, between: str = " x ") -> str:
    return between.join(f"{value:.4g}" for value in values)


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
