"""Organ masks and weak labels from a label map that a person drew: organ and lesions in one image. Pure.

The mask of an organ holds its lesions: a mask with holes would tell where they are. What is drawn knows more than a
segmentation program; figures on such masks are better than on those that users will have.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.organ_labels import EXCLUDED, HEALTHY, UNCERTAIN, UNHEALTHY
from nnanomaly.imageio.voxel_values import padding_as_air
from nnanomaly.roi.components import Component, find_components
from nnanomaly.volume import Grid, Volume

SMALLEST_LESION_MM3 = 65.0
"""A ball of 5 mm. Smaller specks are slips of the pen as often as lesions: with such ones alone, who knows."""
SMALLEST_KIDNEY_ML = 10.0
"""The smallest of 967 drawn kidneys has 18 ml."""
PAIR_APART_MM = 50.0
"""Between the middles of two kidneys; pieces of one kidney lie closer together, side by side."""
HORSESHOE_MM = 50.0
"""A single piece that reaches so far to both sides of the body's middle holds both kidneys."""
BODY_HU = -300.0


def organ_label(mask: Volume, lesions: NDArray[np.bool_]) -> str:
    """Weak label of an organ from its mask `[1, Z, Y, X]` and all drawn lesions `[Z, Y, X]`.

    Without an organ: excluded. With a connected lesion of 65 mm3: unhealthy; with specks alone: uncertain.
    """
    organ = mask.array[0] != 0
    if not organ.any():
        return EXCLUDED
    sizes = [lesion.num_voxels for lesion in find_components(organ & lesions)]
    if not sizes:
        return HEALTHY
    return UNHEALTHY if max(sizes) * mask.grid.voxel_volume_mm3 >= SMALLEST_LESION_MM3 else UNCERTAIN


def split_sides(both: Volume, body_middle_mm: Callable[[], float]) -> tuple[Volume, Volume]:
    """Left and right organ of a mask `[1, Z, Y, X]` that holds both; either may be empty.

    Sides are those of the patient, by world x, whatever the order of the stored axes. With a pair of large pieces the
    border is the middle between them, and every piece goes to one side as a whole. Otherwise it is the middle of the
    body, world x, which is asked for then only; there a horseshoe kidney is cut.
    """
    grid, mask = both.grid, both.array[0] != 0
    pieces = find_components(mask)
    left = np.zeros(mask.shape, np.uint8)
    if pieces:
        middle_mm, is_pair = _border(pieces, grid, body_middle_mm)
        for piece in pieces:
            index = piece.voxel_indices()
            x_mm = _x_mm(index, grid)
            cut = not is_pair and x_mm.max() > middle_mm + HORSESHOE_MM and x_mm.min() < middle_mm - HORSESHOE_MM
            on_left = x_mm > middle_mm if cut else np.full(len(index), x_mm.mean() > middle_mm)
            left[tuple(index[on_left].T)] = 1
    right = mask.astype(np.uint8) - left
    return Volume(left[None], grid), Volume(right[None], grid)


def _border(pieces: list[Component], grid: Grid, body_middle_mm: Callable[[], float]) -> tuple[float, bool]:
    """World x between left and right, and whether it follows from a pair of organs."""
    smallest = SMALLEST_KIDNEY_ML * 1000 / grid.voxel_volume_mm3
    middles = [float(_x_mm(p.voxel_indices(), grid).mean()) for p in pieces if p.num_voxels >= smallest]
    if len(middles) > 1 and max(middles) - min(middles) >= PAIR_APART_MM:
        return (max(middles) + min(middles)) / 2, True
    return body_middle_mm(), False


def find_body_middle_mm(image: Volume) -> float:
    """World x of the middle of the body in a scan: the mean over everything denser than -300 HU, every fourth voxel."""
    body = padding_as_air(np.asarray(image.array[0, ::4, ::4, ::4], np.float32)) > BODY_HU
    index = np.argwhere(body) * 4
    if not len(index):
        return float(image.grid.corners_mm()[:, 2].mean())
    return float(_x_mm(index, image.grid).mean())


def _x_mm(index: NDArray[np.intp], grid: Grid) -> NDArray[np.float64]:
    return grid.to_world(index.astype(float))[:, 2]
