"""Boxes as nnDetection has them, and the boxes of components; overlap, size and place of a box.

A box is `[low, high]` per array axis with both ends exclusive: voxels 2..4 make `[1, 5]`, so an end may be -1 and the
shortest side of an object is 2. Its sides count one voxel too many in the IoU, which inflates that of small lesions on
thick slices; nnDetection trains, tunes and reports with it, so box results are compared in this convention. What is
measured in mm uses the voxels inside: side `(high - low - 1) * spacing`. Arrays are `[N, 6]` as (low z, low y, low x,
high z, high y, high x) in the order of the array axes; nnDetection's own column order is known to `baselines` alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.regions import Pair, Region
from nnanomaly.reordering import Reordering
from nnanomaly.roi.components import Component
from nnanomaly.volume import Box, Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredBoxes:
    """Boxes of one case."""

    boxes: NDArray[np.float64]
    """`[N, 6]` in voxels: three low ends, three high ends, both exclusive."""
    scores: NDArray[np.float64] | None
    """`[N]` in [0, 1]; None if the method gives none."""


def box_of(box: Box) -> NDArray[np.float64]:
    """Box `[6]` with exclusive ends around a half-open box of voxels: one below the first voxel, `stop` above the last.

    Voxels 2..4 are `start` 2, `stop` 5, and give `[1, 5]`.
    """
    return np.array([*(start - 1 for start in box.start), *box.stop], dtype=float)


def boxes_of(components: Sequence[Component]) -> NDArray[np.float64]:
    """Boxes `[N, 6]` of components."""
    return np.array([box_of(component.box) for component in components], dtype=float).reshape(-1, 6)


def box_iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU `[N, M]` of boxes `[N, 6]` and `[M, 6]`, with `high - low` as the sides."""
    low = np.maximum(first[:, None, :3], second[None, :, :3])
    high = np.minimum(first[:, None, 3:], second[None, :, 3:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    volumes = [np.prod(boxes[:, 3:] - boxes[:, :3], axis=1) for boxes in (first, second)]
    union = volumes[0][:, None] + volumes[1][None, :] - common
    return np.asarray(np.divide(common, union, out=np.zeros_like(common), where=union > 0))


def overlapping(first: NDArray[np.float64], second: NDArray[np.float64]) -> dict[Pair, float]:
    """IoU of the pairs (i, j) of boxes that overlap."""
    iou = box_iou(first, second)
    return {(int(i), int(j)): float(iou[i, j]) for i, j in np.argwhere(iou > 0)}


def reordered_boxes(boxes: NDArray[np.float64], order: Reordering) -> NDArray[np.float64]:
    """Boxes `[N, 6]` of an array that is stored in another order."""
    low, high = boxes[:, :3][:, order.axes], boxes[:, 3:][:, order.axes]
    last = np.take(order.shape, order.axes) - 1.0
    return np.hstack([np.where(order.flipped, last - high, low), np.where(order.flipped, last - low, high)])


def measure_boxes(scored: ScoredBoxes, grid: Grid) -> list[Region]:
    """Size and place of boxes: the diameter is the longer side of the voxels inside, in the axial plane."""
    sides = np.clip(scored.boxes[:, 3:] - scored.boxes[:, :3] - 1, 0, None)
    axial = grid.axis_of(0)
    in_plane = [axis for axis in range(3) if axis != axial]
    diameters = (sides[:, in_plane] * np.take(grid.spacing_mm, in_plane)).max(axis=1)
    centres = grid.to_world((scored.boxes[:, :3] + scored.boxes[:, 3:]) / 2)
    num_voxels = np.rint(np.prod(sides, axis=1)).astype(int)
    scores = [None] * len(sides) if scored.scores is None else scored.scores.tolist()
    return [
        Region(
            id=number,
            num_voxels=int(num_voxels[number - 1]),
            volume_mm3=float(np.prod(sides[number - 1]) * grid.voxel_volume_mm3),
            axial_diameter_mm=round(float(diameters[number - 1]), 6),  # as of masks, so that 20 mm are 20 mm
            center_mm=(float(z), float(y), float(x)),
            score=score,
        )
        for number, ((z, y, x), score) in enumerate(zip(centres, scores, strict=True), start=1)
    ]
