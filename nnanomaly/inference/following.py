"""Lesions that a patch cuts off: another patch is laid further out, wherever the scan goes on.

Patches cover the organ and a margin; a lesion that grows out of the organ, and that the mask of the organ leaves out,
may reach beyond them. In the further patch what was found of it, and 40 mm around, counts as organ, so that the gate
does not take its outer part for distant tissue. In return such a patch says nothing but what hangs together with that
lesion. Arrays are `[Z, Y, X]` on the patch.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.dataset.patch_store import patch_name
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.patch import COVERAGE, ORGAN
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.preprocessor import OrganPatch, cut_patch
from nnanomaly.preprocessing.resampling import sample_on_grid
from nnanomaly.volume import Box, Grid, Volume

REACH_MM = 40.0
"""Around what was found of a lesion, the part of a further patch where the gate is open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What further patches are cut from."""

    image: Volume
    """HU `[1, Z, Y, X]`."""
    masks: dict[str, Volume]
    """Mask of every organ."""


class Further(NamedTuple):
    """A patch further out, and why it is there."""

    patch: OrganPatch
    """The patch."""
    lesion: BoolArray
    """What the patch before showed of the lesion, on the grid of this one."""


def further_patches(
    patch: OrganPatch, anomaly: FloatArray, *, threshold: float, scan: Scan, known: Sequence[Grid], plans: Plans
) -> list[Further]:
    """One patch for every candidate that the border of `patch` cuts off; none where one of the `known` grids lies."""
    mask, candidates = find_candidates(anomaly, threshold, patch.grid, plans.inference)
    further: list[Further] = []
    for candidate in candidates:
        grid = further_grid(patch.grid, candidate.box, scan.image.grid)
        if grid is None or _is_known(grid, [*known, *(other.patch.grid for other in further)]):
            continue
        lesion = np.zeros(mask.shape, dtype=bool)
        lesion[candidate.box.slices] = mask[candidate.box.slices]
        number = len(known) + len(further)
        further.append(_cut(patch, grid, lesion, number=number, scan=scan, plans=plans))
    return further


def further_grid(grid: Grid, box: Box, scan: Grid) -> Grid | None:
    """The grid half a patch further out on each axis on which the box ends at the border and the scan goes on.

    None if there is no such axis; a box that ends at both borders of an axis has no direction there.
    """
    lows, highs = np.asarray(box.start) <= 0, np.asarray(box.stop) >= np.asarray(grid.shape)
    steps = highs.astype(int) - lows.astype(int)
    for axis, step in enumerate(steps):
        beyond = (np.asarray(box.start) + np.asarray(box.stop) - 1) / 2
        beyond[axis] = grid.shape[axis] if step > 0 else -1
        index = scan.to_index(grid.to_world(beyond))
        if not ((index >= -0.5) & (index <= np.asarray(scan.shape) - 0.5)).all():
            steps[axis] = 0
    if not steps.any():
        return None
    z, y, x = (int(step * (size // 2)) for step, size in zip(steps, grid.shape, strict=True))
    return grid.crop(Box((z, y, x), (z + grid.shape[0], y + grid.shape[1], x + grid.shape[2])))


def _is_known(grid: Grid, known: Sequence[Grid]) -> bool:
    """Whether a patch lies within a quarter of a patch of it."""
    near_mm = min(size * spacing for size, spacing in zip(grid.shape, grid.spacing_mm, strict=True)) / 4
    return any(grid.largest_corner_distance_mm(other) < near_mm for other in known)


def only_lesion(further: Further, maps: FloatArray, threshold: float) -> tuple[OrganPatch, FloatArray]:
    """The patch, covered where its map exceeds the threshold in one piece with the lesion, and its maps, 0 elsewhere.

    `maps`: `[M, Z, Y, X]`, the anomaly map first.
    """
    pieces, _ = ndimage.label(maps[0] > threshold, structure=np.ones((3, 3, 3)))
    touched = np.unique(pieces[further.lesion])
    attached = np.isin(pieces, touched[touched > 0])
    array = further.patch.array.copy()
    array[COVERAGE] *= attached
    return further.patch.with_array(array), maps * attached


def _cut(patch: OrganPatch, grid: Grid, lesion: BoolArray, *, number: int, scan: Scan, plans: Plans) -> Further:
    """The patch on another grid, with the lesion and its surroundings as part of the organ."""
    array = cut_patch(scan.image, scan.masks[patch.organ], grid, plans.preprocessing)
    found, _ = sample_on_grid(
        Volume(lesion[None].astype(np.float32), patch.grid), grid, order=1, antialiasing=False, fill=0.0
    )
    seen = found[0] >= 0.5
    if seen.any():
        around = ndimage.distance_transform_edt(~seen, sampling=grid.spacing_mm) <= REACH_MM
        array[ORGAN] = np.maximum(array[ORGAN], around) * array[COVERAGE]
    covered = float(array[COVERAGE].mean(dtype=np.float64))
    moved = replace(
        patch,
        name=patch_name(patch.case, patch.organ, tile=number, num_tiles=number + 1),
        tile=number,
        num_tiles=number + 1,
        array=array,
        grid=grid,
        covered_fraction=covered,
    )
    return Further(moved, seen)
