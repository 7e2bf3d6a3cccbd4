"""The plan of preprocessing."""

import math
from dataclasses import dataclass

from nnanomaly.plans.checks import require, require_limits, require_names
from nnanomaly.plans.limits import MAX_PATCH_VOXELS


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingPlan:
    """From a scan and its organ masks to organ patches."""

    spacing_mm: tuple[float, float, float]
    """Voxel size of a patch."""
    patch_size: tuple[int, int, int]
    """Voxels of a patch."""
    margin_mm: float
    """Tissue kept around the bounding box of the organ on every side."""
    tiling: bool
    """Whether an organ larger than the patch gets several overlapping patches (else one, centred)."""
    tile_overlap: float = 0.5
    """Smallest share of a patch that neighbouring patches of one organ have in common."""
    window_hu: tuple[float, float] = (-200.0, 300.0)
    """HU range that is mapped to [-1, 1]; values outside are clipped."""
    interpolation_order: int = 3
    """Spline order from the scan to the patch (3: cubic)."""
    mirrored_organs: tuple[str, ...] = ()
    """Organs whose patches run from left to right, so that paired organs look alike (canonical frame)."""
    antialiasing: bool = True
    """Whether a scan finer than the patch is smoothed before it is sampled."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
        voxels = math.prod(self.patch_size)
        require(voxels <= MAX_PATCH_VOXELS, "patch_size", self.patch_size, f"may have {MAX_PATCH_VOXELS} voxels")
        require_names("mirrored_organs", self.mirrored_organs)
        require(self.window_hu[0] < self.window_hu[1], "window_hu", self.window_hu, "must be (low, high)")

    @property
    def patch_mm(self) -> tuple[float, float, float]:
        """Extent of a patch."""
        z, y, x = (size * spacing for size, spacing in zip(self.patch_size, self.spacing_mm, strict=True))
        return z, y, x
