"""The part of a scan that shows one organ, and the same part with fewer voxels."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Box, Grid

MARGIN_MM = 5.0
"""Shown around the patches of an organ, which already hold its surroundings."""
Summary = Literal["mean", "max"]


def organ_box(patches: Sequence[Grid], grid: Grid, *, margin_mm: float = MARGIN_MM) -> Box | None:
    """Voxels of a scan within the outer faces of an organ's patches and a margin; None where they lie beside it."""
    corners = grid.to_index(np.concatenate([patch.corners_mm() for patch in patches]))
    margin = margin_mm / np.asarray(grid.spacing_mm)
    start = np.maximum(np.floor(corners.min(axis=0) - margin), 0).astype(int)
    stop = np.minimum(np.ceil(corners.max(axis=0) + margin) + 1, grid.shape).astype(int)
    if np.any(stop <= start):
        return None
    return Box((int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2])))


def coarsening_steps(grid: Grid, *, fewest_voxels: int = 16) -> list[tuple[int, int, int]]:
    """Ever coarser blocks of voxels, from (1, 1, 1) on: each step doubles the block along the finest axis.

    Ends before an axis would keep fewer than `fewest_voxels`.
    """
    steps = [(1, 1, 1)]
    while True:
        block = np.asarray(steps[-1])
        block[int(np.argmin(block * np.asarray(grid.spacing_mm)))] *= 2
        if np.any(np.asarray(grid.shape) // block < fewest_voxels):
            return steps
        steps.append((int(block[0]), int(block[1]), int(block[2])))


def coarsen(array: NDArray[np.generic], block: tuple[int, int, int], summary: Summary) -> NDArray[np.generic]:
    """Array `[Z, Y, X]` with one value per block of voxels; incomplete blocks at the ends are left out.

    `max` keeps small spots of maps and masks in their type, `mean` gives float32.
    """
    if block == (1, 1, 1):
        return array
    shape = [size // step for size, step in zip(array.shape, block, strict=True)]
    whole = array[tuple(slice(0, size * step) for size, step in zip(shape, block, strict=True))]
    blocks = whole.reshape([value for pair in zip(shape, block, strict=True) for value in pair])
    if summary == "max":
        return np.asarray(blocks.max(axis=(1, 3, 5)))
    return np.asarray(blocks.mean(axis=(1, 3, 5), dtype=np.float32))


def coarse_grid(grid: Grid, block: tuple[int, int, int]) -> Grid:
    """Grid of the blocks: the centre of a block is the mean of its voxel centres."""
    origin = grid.to_world((np.asarray(block) - 1) / 2)
    shape, spacing_mm = np.asarray(grid.shape) // block, np.asarray(grid.spacing_mm) * block
    return Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        (float(spacing_mm[0]), float(spacing_mm[1]), float(spacing_mm[2])),
        (float(origin[0]), float(origin[1]), float(origin[2])),
        grid.direction,
    )
