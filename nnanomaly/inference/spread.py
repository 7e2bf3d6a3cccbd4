"""How far the samples of the noise agree on a candidate: every sample's own map, where there is a candidate.

A reconstruction is the mean of several samples, and the map is made of that mean. Here each sample is taken alone, by
the same detector; only patches that a candidate meets are asked again, since most organs have none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.composition import compose
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.finite import finite
from nnanomaly.inference.patch_map import PatchArray, PatchReconstruction, residual_of_patch
from nnanomaly.inference.postprocessing import Region, score_of
from nnanomaly.plans import InferencePlan
from nnanomaly.volume import Box, Grid

FloatArray = NDArray[np.float32]


class SeenByFold(NamedTuple):
    """A patch as one fold sees it, and what makes its maps."""

    reconstruction: PatchReconstruction
    """With its samples."""
    detect: Detector
    """Makes a map."""
    statistics: ResidualStatistics
    """Healthy residuals of the fold."""


class SeenPatch(NamedTuple):
    """A patch and what all folds see of it."""

    array: PatchArray
    """`[3, Z, Y, X]`."""
    grid: Grid
    """Where its voxels lie."""
    covered: NDArray[np.bool_]
    """`[Z, Y, X]`, where its map counts."""
    folds: Sequence[SeenByFold]
    """At least one."""


def with_spread(
    regions: Sequence[Region], patches: Sequence[SeenPatch], target: Grid, plan: InferencePlan
) -> list[Region]:
    """The regions, found on `target`, with the spread of their scores; as they are where there is one sample."""
    count = min((len(fold.reconstruction.samples) for patch in patches for fold in patch.folds), default=0)
    if count < 2 or not regions:
        return list(regions)
    met = [patch for patch in patches if any(_meets(patch.grid, region.component.box, target) for region in regions)]
    scores = np.zeros((count, len(regions)))
    for number in range(count):
        maps = [(patch.grid, _map_of_sample(patch, number, plan)[None], patch.covered) for patch in met]
        composite = compose(maps, target)
        assert composite is not None  # the regions lie in these patches
        whole = np.zeros(target.shape, dtype=np.float32)
        whole[composite.box.slices] = composite.maps[0]
        for index, region in enumerate(regions):
            scores[number, index] = score_of(whole[region.component.box.slices][region.component.mask])
    spreads = scores.std(axis=0, ddof=1).tolist()
    return [
        replace(region, candidate=replace(region.candidate, score_spread=spread))
        for region, spread in zip(regions, spreads, strict=True)
    ]


def _map_of_sample(patch: SeenPatch, number: int, plan: InferencePlan) -> FloatArray:
    """The map `[Z, Y, X]` of one sample, averaged over the folds."""
    maps = []
    for seen in patch.folds:
        sample = seen.reconstruction.samples[number]
        residual = residual_of_patch(patch.array, patch.grid, sample, plan)
        maps.append(seen.detect(sample, residual, seen.statistics))
    finite(torch.from_numpy(np.stack(maps)), "the map of a sample")
    return np.mean(maps, axis=0, dtype=np.float32)


def _meets(patch: Grid, box: Box, target: Grid) -> bool:
    """Whether a box of voxels of `target` may reach into a patch (by the box around its corners in the patch)."""
    index = patch.to_index(target.crop(box).corners_mm())
    low, high = index.min(axis=0), index.max(axis=0)
    return bool(np.all(high >= -1) and np.all(low <= np.asarray(patch.shape)))
