"""How far the samples of the noise agree on a candidate: every sample's own map, where there is a candidate.

A reconstruction is the mean of several samples, and the map is made of that mean. Here each sample is taken alone, by
the same detector; only patches that a candidate meets are asked again, since most organs have none.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.calibration import HealthyResiduals
from nnanomaly.inference.composition import compose
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.look import PatchReconstruction, compared
from nnanomaly.inference.postprocessing import Found, score_of
from nnanomaly.inference.read import read_look
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.volume import Box, Grid


class SeenByFold(NamedTuple):
    """A patch as one fold sees it, and the fold."""

    reconstruction: PatchReconstruction
    """With its samples."""
    fold: Fold
    """Makes its maps."""


class SeenPatch(NamedTuple):
    """A patch and what all folds see of it."""

    patch: Patch
    """Covered where its map counts."""
    folds: Sequence[SeenByFold]
    """At least one."""


def with_spread(regions: Sequence[Found], patches: Sequence[SeenPatch], target: Grid, plans: Plans) -> list[Found]:
    """The regions, found on `target`, with the spread of their scores; as they are where there is one sample."""
    count = min((len(fold.reconstruction.samples) for patch in patches for fold in patch.folds), default=0)
    if count < 2 or not regions:
        return list(regions)
    met = [
        patch for patch in patches if any(_meets(patch.patch.grid, region.component.box, target) for region in regions)
    ]
    scores = np.zeros((count, len(regions)))
    for number in range(count):
        maps = [(s.patch.grid, _map_of_sample(s, number, plans)[None], s.patch.covered) for s in met]
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


def _map_of_sample(seen: SeenPatch, number: int, plans: Plans) -> FloatArray:
    """The map `[Z, Y, X]` of one sample, averaged over the folds; what was drawn anew is in the samples already."""
    maps = []
    for reconstruction, fold in seen.folds:
        sample = compared(seen.patch, reconstruction.samples[number], plans.inference)
        maps.append(read_look(sample, fold, HealthyResiduals(fold.calibration.statistics), plans).anomaly)
    return np.mean(maps, axis=0, dtype=np.float32)


def _meets(patch: Grid, box: Box, target: Grid) -> bool:
    """Whether a box of voxels of `target` may reach into a patch (by the box around its corners in the patch)."""
    index = patch.to_index(target.crop(box).corners_mm())
    low, high = index.min(axis=0), index.max(axis=0)
    return bool(np.all(high >= -1) and np.all(low <= np.asarray(patch.shape)))
