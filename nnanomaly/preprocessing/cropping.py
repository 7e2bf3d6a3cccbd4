"""Where the patches of an organ lie: one patch around it, or overlapping tiles if it is larger than a patch.

The axes are independent. With P the extent of a patch and L that of the organ's box with the margin on both sides,
an axis with L <= P has one patch in the middle of the box. Otherwise n tiles are spread evenly from one end of L to the
other, so that neighbours lie (L - P) / (n - 1) apart; n is the smallest number that leaves them at least the planned
share of P in common: n = 1 + ceil((L - P) / (P (1 - overlap))). The margin therefore counts when it is decided whether
an organ needs tiles; a plan without tiling ignores it, since its one patch keeps the middle of the box in any case.
"""

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnanomaly.plans import PreprocessingPlan
from nnanomaly.roi.organ_instances import OrganInstance
from nnanomaly.volume import Grid, canonical_grid

ROUNDING_MM = 1e-6
"""Extents come from sums of floats: an organ of exactly a patch is not larger. The one tolerance of planning, of the
decision for tiles and of their number, in one unit; two of them left organs between them, without any patch."""


def organ_patches(instance: OrganInstance, plan: PreprocessingPlan) -> list[Grid]:
    """Canonical grids `plan.patch_size` x `plan.spacing_mm` of all patches of an organ, from inferior to superior,
    then anterior to posterior, then right to left."""
    axes = zip(instance.centre_mm, instance.extent_mm, plan.patch_mm, strict=True)
    all_z, all_y, all_x = (_tile_centres(centre, extent, patch, plan=plan) for centre, extent, patch in axes)
    centres = itertools.product(all_z, all_y, all_x)
    return [canonical_grid(centre, plan.patch_size, plan.spacing_mm) for centre in centres]


def mirrored(grid: Grid) -> Grid:
    """The same voxels in a canonical grid whose last axis runs from left to right instead of right to left."""
    z, y, x = grid.to_world(np.array([0.0, 0.0, grid.shape[2] - 1.0])).tolist()
    return Grid(grid.shape, grid.spacing_mm, (z, y, x), ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0)))


def excess_mm(extent_mm: ArrayLike, margin_mm: float, patch_mm: ArrayLike) -> NDArray[np.float64]:
    """How far organs with the margin on both sides exceed a patch, by axis; 0 where they fit.

    `extent_mm` and `patch_mm`: mm, of shapes that broadcast, such as `[organs, 3]` and `[3]`.
    """
    excess = np.asarray(extent_mm, dtype=float) + 2 * margin_mm - np.asarray(patch_mm, dtype=float)
    return np.where(excess > ROUNDING_MM, excess, 0.0)


def _tile_centres(centre: float, extent: float, patch: float, *, plan: PreprocessingPlan) -> list[float]:
    excess = float(excess_mm(extent, plan.margin_mm, patch))
    if not plan.tiling or excess == 0:
        return [centre]
    intervals = math.ceil(
        (excess - ROUNDING_MM) / (patch * (1 - plan.tile_overlap))
    )  # at least 1: excess > ROUNDING_MM
    return [centre + excess * (number / intervals - 0.5) for number in range(intervals + 1)]
