"""Masks and candidate counts of finished maps under many configurations, each step done once.

A mask before the size limits depends on threshold, hysteresis and morphology alone; what the limits leave of it is then
found in the small mask. The results are those of `find_candidates`.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.inference.postprocessing import Candidate, find_candidates
from nnanomaly.plans import InferencePlan
from nnanomaly.volume import Box, Grid

MARGIN = 2
Key = tuple[int, float, float, bool]


@dataclass(frozen=True, slots=True)
class MaskMemory:
    """Remembers what it found in maps, as long as it lives; the maps must live as long."""

    masks: dict[Key, BoolArray] = field(default_factory=dict)
    """Masks without size limits."""
    candidates: dict[Key, list[Candidate]] = field(default_factory=dict)
    """Their candidates."""

    def mask(self, anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> BoolArray:
        """The mask of `find_candidates`."""
        key = _key(anomaly, threshold, plan)
        if key not in self.masks:
            self.masks[key], self.candidates[key] = _find(anomaly, threshold, grid, _without_limits(plan))
        if all(_is_large(candidate, plan) for candidate in self.candidates[key]):
            return self.masks[key]
        as_map = self.masks[key].astype(np.float32)
        return _find(as_map, 0.5, grid, replace(plan, hysteresis=1.0, morphology=False))[0]

    def count(self, anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> int:
        """The number of candidates of `find_candidates`; keeps no mask."""
        key = _key(anomaly, threshold, plan)
        if key not in self.candidates:
            self.candidates[key] = _find(anomaly, threshold, grid, _without_limits(plan))[1]
        return sum(_is_large(candidate, plan) for candidate in self.candidates[key])


def _find(anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> tuple[BoolArray, list[Candidate]]:
    """The mask of `find_candidates` and candidates whose sizes are theirs; looks only where something can be.

    Two voxels around it are enough: opening and closing reach one voxel, and what encloses a hole lies inside.
    """
    mask = np.zeros(anomaly.shape, dtype=bool)
    axes = [np.flatnonzero(line) for line in _shadows(anomaly > min(plan.hysteresis * threshold, threshold))]
    if not len(axes[0]):
        return mask, []
    start = tuple(max(int(axis[0]) - MARGIN, 0) for axis in axes)
    stop = tuple(min(int(axis[-1]) + 1 + MARGIN, size) for axis, size in zip(axes, anomaly.shape, strict=True))
    box = Box(start, stop)  # type: ignore[arg-type]
    mask[box.slices], candidates = find_candidates(anomaly[box.slices], threshold, grid.crop(box), plan)
    return mask, candidates


def _shadows(mask: BoolArray) -> list[BoolArray]:
    """Whether anything lies in each plane, for every axis."""
    return [np.asarray(mask.any(axis=others), dtype=bool) for others in ((1, 2), (0, 2), (0, 1))]


def _key(anomaly: FloatArray, threshold: float, plan: InferencePlan) -> Key:
    return id(anomaly), threshold, plan.hysteresis, plan.morphology


def _without_limits(plan: InferencePlan) -> InferencePlan:
    return replace(plan, min_voxels=1, min_diameter_mm=0.0)


def _is_large(candidate: Candidate, plan: InferencePlan) -> bool:
    return candidate.num_voxels >= plan.min_voxels and candidate.equivalent_diameter_mm >= plan.min_diameter_mm
