"""Connected components of a sparse mask, found without a pass of the labelling over empty space.

A scan has a hundred million voxels, its lesions fill a thousandth of them. The mask is first reduced to blocks, the
occupied blocks are grouped into islands (two voxels that touch lie in the same block or in neighbouring ones, so no
component reaches from one island into another), and only the islands are labelled. Time and memory follow the
occupied part: a fraction of a byte a voxel of the scan, and never more than one labelling of the whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Box

Mask = NDArray[np.generic]
Connectivity = Literal[6, 18, 26]

_BLOCK, _FINE_BLOCK = 16, 4
_WITHOUT_MARGIN = (slice(-1),) * 3
_LARGE_ISLAND = 1_000_000
"""Voxels of the box above which an island is split again by finer blocks: thousands of specks join in coarse ones."""


@dataclass(frozen=True, slots=True)
class Component:
    """One connected set of voxels."""

    box: Box
    """The tightest box around it, in voxels of the whole array."""
    mask: NDArray[np.bool_]
    """Its voxels within the box."""

    @property
    def num_voxels(self) -> int:
        """Number of voxels."""
        return int(np.count_nonzero(self.mask))

    def voxel_indices(self) -> NDArray[np.intp]:
        """Indices `[N, 3]` of its voxels in the whole array."""
        return np.asarray(np.argwhere(self.mask) + np.asarray(self.box.start))


def find_components(mask: Mask, *, connectivity: Connectivity = 26) -> list[Component]:
    """Components of the non-zero voxels of `mask [Z, Y, X]`, in the order of their first voxels (last axis fastest).

    `connectivity`: 6 (faces), 18 (and edges) or 26 (and corners). Different non-zero values do not separate.
    """
    found = [
        Component(_shifted(_box(slices), island.start), labels[slices] == index)
        for island, foreground in _islands(mask)
        for labels in [cc3d.connected_components(foreground, connectivity=connectivity)]
        for index, slices in enumerate(_slices_by_label(labels), start=1)
    ]
    return sorted(found, key=_first_voxel)


def _islands(mask: Mask, block: int = _BLOCK) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Boxes that hold every component whole, and the voxels of a box's own island with an empty margin behind them.

    Without that margin (of one voxel at the end of every axis) cc3d 4.1 reserves too few labels for lone voxels at
    26 neighbours, and fails: on an array of the three voxels 1, 0, 1, for example.
    """
    labels = cc3d.connected_components(np.pad(_occupied_blocks(mask, block), ((0, 1),) * 3), connectivity=26)
    for index, slices in enumerate(_slices_by_label(labels), start=1):
        box = _box(slices, scale=block, limit=mask.shape)
        foreground = _own_voxels(mask[box.slices], labels[slices] == index, block)
        if block == _BLOCK and foreground.size > _LARGE_ISLAND:
            for inner, inner_foreground in _islands(foreground[_WITHOUT_MARGIN], _FINE_BLOCK):
                yield _shifted(inner, box.start), inner_foreground
        else:
            yield box, foreground


def _own_voxels(mask: Mask, own_blocks: NDArray[np.bool_], block: int) -> NDArray[np.bool_]:
    """Non-zero voxels of a crop that starts at a block, without those of other islands that reach into the crop.

    One voxel longer than `mask` along every axis.
    """
    with_margin = np.zeros_like(mask, dtype=bool, shape=tuple(size + 1 for size in mask.shape))
    foreground = with_margin[_WITHOUT_MARGIN]
    np.not_equal(mask, 0, out=foreground)
    if not own_blocks.all():
        for axis in range(3):
            own_blocks = np.repeat(own_blocks, block, axis=axis)
        foreground &= own_blocks[tuple(slice(size) for size in mask.shape)]
    return with_margin


def _occupied_blocks(mask: Mask, block: int) -> NDArray[np.bool_]:
    """Which blocks of the array have a non-zero voxel; walks along memory, whatever the order of the axes."""
    slowest = max(range(3), key=lambda axis: abs(mask.strides[axis]))
    ordered = np.moveaxis(mask, slowest, 0)
    first, second, third = (np.arange(0, size, block) for size in ordered.shape)
    slabs = np.stack([ordered[start : start + block].max(axis=0) for start in first])
    blocks = np.maximum.reduceat(np.maximum.reduceat(slabs, second, axis=1), third, axis=2)
    return np.asarray(np.moveaxis(blocks, 0, slowest) != 0)


def _slices_by_label(labels: NDArray[np.unsignedinteger]) -> list[tuple[slice, slice, slice]]:
    """Bounding slices of the labels 1..N; entry 0 of cc3d's list is the background."""
    boxes: list[tuple[slice, slice, slice]] = list(cc3d.statistics(labels)["bounding_boxes"])[1:]
    return boxes


def _box(slices: tuple[slice, slice, slice], *, scale: int = 1, limit: tuple[int, ...] | None = None) -> Box:
    """The box of some slices in units of `scale` voxels, cut off at `limit`."""
    start, stop = np.array([s.start for s in slices]) * scale, np.array([s.stop for s in slices]) * scale
    return Box(_triple(start), _triple(stop if limit is None else np.minimum(stop, limit)))


def _shifted(box: Box, offset: tuple[int, int, int]) -> Box:
    return Box(_triple(np.add(box.start, offset)), _triple(np.add(box.stop, offset)))


def _triple(values: NDArray[np.number]) -> tuple[int, int, int]:
    return int(values[0]), int(values[1]), int(values[2])


def _first_voxel(component: Component) -> tuple[int, int, int]:
    z, y, x = np.unravel_index(int(np.argmax(component.mask)), component.mask.shape)
    start = component.box.start
    return start[0] + int(z), start[1] + int(y), start[2] + int(x)
