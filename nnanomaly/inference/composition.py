"""Putting the maps of overlapping patches back onto the scan's own grid.

Every voxel of the scan is the weighted mean of the patches that cover it; weights fall linearly to the patch border,
so that neighbouring patches of one organ blend without a seam, and do not depend on the order of the patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.preprocessing.resampling import paste_onto_grid
from nnanomaly.volume import Box, Grid, Volume


@dataclass(frozen=True, slots=True)
class Composite:
    """Composed maps on the part of the scan that any patch covers."""

    box: Box
    """That part."""
    maps: FloatArray
    """`[M, z, y, x]` on the box, 0 where nothing covers."""
    coverage: NDArray[np.bool_]
    """Where at least one patch contributes."""


def compose(patches: Sequence[tuple[Grid, FloatArray, NDArray[np.bool_]]], target: Grid) -> Composite | None:
    """Compose (grid, maps `[M, Z, Y, X]`, coverage) of several patches; None if no patch meets the scan.

    Patch voxels outside `coverage` (padding) never contribute.
    """
    pasted = [_paste(grid, maps, coverage, target) for grid, maps, coverage in patches]
    pasted = [(box, values, weight) for box, values, weight in pasted if min(box.shape) > 0]
    if not pasted:
        return None
    start = np.min([box.start for box, _, _ in pasted], axis=0)
    stop = np.max([box.stop for box, _, _ in pasted], axis=0)
    union = Box(tuple(map(int, start)), tuple(map(int, stop)))  # type: ignore[arg-type]
    total = np.zeros((pasted[0][1].shape[0], *union.shape), dtype=np.float32)
    weights = np.zeros(union.shape, dtype=np.float32)
    for box, values, weight in pasted:
        inner = tuple(slice(lo - s, hi - s) for lo, hi, s in zip(box.start, box.stop, union.start, strict=True))
        total[(slice(None), *inner)] += values * weight
        weights[inner] += weight
    covered = weights > 0
    divisor: FloatArray = np.where(covered, weights, 1.0)
    return Composite(union, total / divisor, covered)


def over_scan(composite: Composite | None, image: Volume) -> tuple[FloatArray, FloatArray]:
    """Anomaly map and healthy reconstruction (HU) `[Z, Y, X]` on all of the scan, from the maps 0 and 1 of `composite`.

    Where no patch covers the scan the map is 0 and the reconstruction is the scan itself.
    """
    nothing = np.zeros(image.grid.shape, dtype=np.float32)
    return _laid_over(nothing, composite, 0), _laid_over(image.array[0], composite, 1)


def autoencoded_over_scan(composite: Composite | None, image: Volume) -> FloatArray:
    """The image after encoding and decoding alone (HU) `[Z, Y, X]`, from map 2; the scan itself beyond the patches."""
    return _laid_over(image.array[0], composite, 2)


def _laid_over(background: NDArray[np.floating], composite: Composite | None, number: int) -> FloatArray:
    """`background` `[Z, Y, X]` with one of the maps where it is covered."""
    whole: FloatArray = background.astype(np.float32)
    if composite is not None:
        inner = composite.box.slices
        whole[inner] = np.where(composite.coverage, composite.maps[number], whole[inner])
    return whole


def _paste(
    grid: Grid, maps: FloatArray, coverage: NDArray[np.bool_], target: Grid
) -> tuple[Box, FloatArray, FloatArray]:
    """Resample maps and blending weight of one patch onto the scan."""
    layers = (*(maps * coverage), _taper(grid.shape), coverage.astype(np.float32))
    pasted = [paste_onto_grid(layer, grid, target, order=1) for layer in layers]
    box, _, inside = pasted[0]
    *values, taper, covered = (value for _, value, _ in pasted)
    contributes = inside & (covered > 0.5)
    # Interpolation mixed zeros of the padding in; dividing by the share of covered neighbours takes them out again.
    share: FloatArray = np.where(contributes, covered, 1.0)
    return box, np.stack(values) / share, np.where(contributes, np.maximum(taper, 1e-3), 0.0).astype(np.float32)


def _taper(shape: tuple[int, int, int]) -> FloatArray:
    """Blending weight: product over the axes of the distance to the nearer border, 1 in the middle."""
    ramps = [np.minimum(np.arange(size) + 1, size - np.arange(size)) / ((size + 1) / 2) for size in shape]
    return np.einsum("z,y,x->zyx", *ramps).astype(np.float32)
