"""Lesions and candidates as rows of numbers: size, place, score, what the organ patches left out, and common voxels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.roi.components import Component
from nnanomaly.roi.lesion_size import axial_diameter_mm
from nnanomaly.volume import Grid, Triple

Pair = tuple[int, int]
"""Positions of a lesion and a candidate in their lists."""

_POINTS_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A lesion of the reference or a candidate of the prediction."""

    id: int
    """1, 2, ... in the order of the first voxels in the array."""
    num_voxels: int
    """Number of voxels."""
    volume_mm3: float
    """Volume."""
    axial_diameter_mm: float
    """Greatest diameter in an axial slice; of a box, its longer side there."""
    center_mm: Triple
    """World position (z, y, x) of the centroid."""
    score: float | None = None
    """Score of a candidate, if it has one."""
    outside_roi_fraction: float | None = None
    """Share of a lesion's voxels that lie in no organ patch, if the patches are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeFloor:
    """What is too small to count: fewer voxels, or a smaller axial diameter."""

    min_voxels: int = 20
    """Fewest voxels."""
    min_diameter_mm: float = 3.0
    """Smallest axial diameter."""

    def admits(self, region: Region) -> bool:
        """Whether the region is large enough."""
        return region.num_voxels >= self.min_voxels and region.axial_diameter_mm >= self.min_diameter_mm


def measure_candidate(component: Component, grid: Grid, *, number: int, score: float | None) -> Region:
    """Size and place of a candidate on the grid of the whole array."""
    return _measure(component, grid, number, score=score, outside=None)


def measure_lesion(component: Component, grid: Grid, *, number: int, patches: Sequence[Grid] | None) -> Region:
    """Size and place of a lesion on the grid of the whole array, and its share outside all `patches`, if given."""
    outside = None if patches is None else outside_fraction(component, grid, patches)
    return _measure(component, grid, number, score=None, outside=outside)


def outside_fraction(component: Component, grid: Grid, patches: Sequence[Grid]) -> float:
    """Share of the voxels whose centre lies in no patch (a patch reaches half a voxel beyond its outer centres)."""
    indices = component.voxel_indices().astype(float)
    inside = 0
    for start in range(0, len(indices), _POINTS_AT_ONCE):
        world_mm = grid.to_world(indices[start : start + _POINTS_AT_ONCE])
        covered = np.zeros(len(world_mm), dtype=bool)
        for patch in patches:
            index = patch.to_index(world_mm)
            covered |= np.all((index >= -0.5) & (index < np.asarray(patch.shape) - 0.5), axis=-1)
        inside += int(np.count_nonzero(covered))
    return 1.0 - inside / len(indices)


def common_voxels(lesions: Sequence[Component], candidates: Sequence[Component]) -> dict[Pair, int]:
    """Number of voxels that lesion i and candidate j share, for the pairs (i, j) that share any."""
    if not lesions or not candidates:
        return {}
    starts = np.array([candidate.box.start for candidate in candidates])
    stops = np.array([candidate.box.stop for candidate in candidates])
    common: dict[Pair, int] = {}
    for i, lesion in enumerate(lesions):
        near = np.all((starts < lesion.box.stop) & (stops > lesion.box.start), axis=1)
        for j in np.flatnonzero(near).tolist():
            shared = _shared_voxels(lesion, candidates[j])
            if shared:
                common[i, j] = shared
    return common


def _shared_voxels(a: Component, b: Component) -> int:
    start, stop = np.maximum(a.box.start, b.box.start), np.minimum(a.box.stop, b.box.stop)
    crops = [
        component.mask[tuple(slice(lo, hi) for lo, hi in zip(start - offset, stop - offset, strict=True))]
        for component, offset in ((a, np.asarray(a.box.start)), (b, np.asarray(b.box.start)))
    ]
    return int(np.count_nonzero(crops[0] & crops[1]))


def _measure(component: Component, grid: Grid, number: int, *, score: float | None, outside: float | None) -> Region:
    num_voxels = component.num_voxels
    z, y, x = grid.to_world(_centroid(component))
    return Region(
        id=number,
        num_voxels=num_voxels,
        volume_mm3=num_voxels * grid.voxel_volume_mm3,
        axial_diameter_mm=axial_diameter_mm(component.mask, grid),
        center_mm=(float(z), float(y), float(x)),
        score=score,
        outside_roi_fraction=outside,
    )


def _centroid(component: Component) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean index, from the projections on the axes: a list of all voxels would need 24 bytes a voxel."""
    means = []
    for axis in range(3):
        profile = component.mask.sum(axis=tuple(other for other in range(3) if other != axis))
        means.append(component.box.start[axis] + float(np.average(np.arange(len(profile)), weights=profile)))
    return np.array(means)
