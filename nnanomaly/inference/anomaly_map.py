"""From an organ patch and its healthy reconstruction to an anomaly map, all on the patch grid.

Arrays are `[Z, Y, X]`; residuals are in HU; distances in mm, negative inside the organ. METHOD 5.1, 6.1, 6.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.metrics import structural_similarity

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.utilities.json_io import Between
from nnanomaly.volume import Triple

GATE_DECAY_MM = 10.0
SSIM_WINDOWS = (5, 7, 11, 15)
SSIM_RANGE_HU = 500.0
"""Range of soft tissue: contrasts below a few per cent of it (5 and 15 HU, the usual constants) count little."""
PRIOR_VOXELS = 50
"""Weight of the statistics of all voxels in every bin."""
Depth = Annotated[float, Between(-1e4, 1e4)]
Intensity = Annotated[float, Between(-32768, 32767)]
Spread = Annotated[float, Between(0, 65536)]
"""Distances in mm, HU and absolute residuals as documents may give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """The residual of a patch, and what its healthy spread depends on; all `[Z, Y, X]`."""

    value_hu: FloatArray
    """Absolute residual; in a map `ssim`, the dissimilarity, which has no unit."""
    distance_mm: FloatArray
    """Signed distance to the surface of the organ."""
    intensity_hu: FloatArray
    """Healthy reconstruction, as smooth as the residual."""
    covered: BoolArray
    """Where the scan says something."""
    extra: "tuple[Residual, ...]" = ()
    """The same at the extra noise levels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStatistics:
    """Mean and standard deviation of the absolute residual of healthy organs, by place and intensity."""

    edges_mm: tuple[Depth, ...]
    """Borders between the bins of the distance to the organ surface, ascending; the first and last bin are open."""
    edges_hu: tuple[Intensity, ...] = ()
    """Borders between the bins of the reconstruction's intensity, likewise; empty = one bin."""
    mean_hu: tuple[Spread, ...]
    """Mean per bin; the intensity bins of the first distance bin come first."""
    std_hu: tuple[Spread, ...]
    """Standard deviation per bin."""
    extra: "tuple[ResidualStatistics, ...]" = ()  # a string as a whole: Python 3.10 resolves no name within brackets
    """The same at the extra noise levels."""

    def __post_init__(self) -> None:
        """Refuse borders and bins that do not fit each other by a `ValueError`."""
        bins = (len(self.edges_mm) + 1) * (len(self.edges_hu) + 1)
        if not len(self.mean_hu) == len(self.std_hu) == bins:
            raise ValueError(f"{len(self.mean_hu)} means and {len(self.std_hu)} deviations do not fill {bins} bins")
        if any(list(edges) != sorted(edges) for edges in (self.edges_mm, self.edges_hu)):
            raise ValueError("edges_mm and edges_hu must ascend")
        if min(self.std_hu) < 0:
            raise ValueError("std_hu must not be negative")


def absolute_residual(image_hu: FloatArray, healthy_hu: FloatArray, *, sigma_voxels: Triple) -> FloatArray:
    """|G * (image - healthy)|: smoothing comes before the absolute value, so that noise cancels; sigma 0 = none."""
    difference = np.asarray(image_hu, dtype=np.float32) - np.asarray(healthy_hu, dtype=np.float32)
    return np.abs(smooth(difference, sigma_voxels))


def dissimilarity(image_hu: FloatArray, healthy_hu: FloatArray, *, sigma_voxels: Triple) -> FloatArray:
    """Mean over cubic windows of 1 - SSIM of the smoothed images, in [0, 2]; sigma 0 = not smoothed (METHOD 6.5).

    Windows that do not fit into the patch are left out; `ValueError` if none fits.
    """
    windows = [size for size in SSIM_WINDOWS if size <= min(image_hu.shape)]
    if not windows:
        raise ValueError(f"a patch of {image_hu.shape} voxels is smaller than the smallest window, {SSIM_WINDOWS[0]}")
    image, healthy = (smooth(np.asarray(x, dtype=np.float32), sigma_voxels) for x in (image_hu, healthy_hu))
    similar = [
        structural_similarity(image, healthy, win_size=size, data_range=SSIM_RANGE_HU, full=True)[1] for size in windows
    ]
    return np.asarray(1 - np.mean(similar, axis=0), dtype=np.float32)


def smooth(values: FloatArray, sigma_voxels: Triple) -> FloatArray:
    """Gaussian filter whose border continues; sigma 0 leaves an axis as it is."""
    return np.asarray(ndimage.gaussian_filter(values, sigma_voxels, mode="nearest"), dtype=np.float32)


def organ_gate(distance_mm: FloatArray, start_mm: float) -> FloatArray:
    """exp(-max(0, d - start) / 10 mm): 1 in and near the organ, fading outside; `start_mm` < 0 gates nothing."""
    if start_mm < 0:
        return np.ones_like(distance_mm)
    return np.exp(-np.maximum(0.0, distance_mm - start_mm) / GATE_DECAY_MM).astype(np.float32)


def measure_residuals(
    residuals: Sequence[Residual], *, edges_mm: tuple[float, ...], edges_hu: tuple[float, ...] = ()
) -> ResidualStatistics:
    """Statistics over the covered voxels of healthy organs, for each noise level.

    A bin is drawn towards the whole by `PRIOR_VOXELS` voxels with its mean and variance, so that an empty bin takes
    them and a nearly empty one does not call the ordinary rare.
    """
    values = np.concatenate([r.value_hu[r.covered] for r in residuals]).astype(np.float64)
    bins = np.concatenate([_bins(r, edges_mm, edges_hu)[r.covered] for r in residuals])
    num_bins = (len(edges_mm) + 1) * (len(edges_hu) + 1)
    count = np.bincount(bins, minlength=num_bins) + PRIOR_VOXELS
    mean = (np.bincount(bins, values, num_bins) + PRIOR_VOXELS * values.mean()) / count
    square = (np.bincount(bins, values**2, num_bins) + PRIOR_VOXELS * np.mean(values**2)) / count
    std = np.sqrt(np.maximum(square - mean**2, 0))
    levels = zip(*(r.extra for r in residuals), strict=True)
    return ResidualStatistics(
        edges_mm=edges_mm,
        edges_hu=edges_hu,
        mean_hu=tuple(map(float, mean)),
        std_hu=tuple(map(float, std)),
        extra=tuple(measure_residuals(level, edges_mm=edges_mm, edges_hu=edges_hu) for level in levels),
    )


def residual_zscore(residual: Residual, statistics: ResidualStatistics) -> FloatArray:
    """z = (r - mean) / (std + std0) with the bin's mean and std and std0 the median std over bins (METHOD 6.1).

    The mean over all noise levels, each with its own residual and statistics (METHOD 6.4).
    """
    levels = [_zscore_of_level(residual, statistics)]
    levels += [_zscore_of_level(*level) for level in zip(residual.extra, statistics.extra, strict=True)]
    return np.mean(levels, axis=0, dtype=np.float32)


def mean_residual(residual: Residual) -> FloatArray:
    """The residual, averaged over all noise levels."""
    return np.mean([level.value_hu for level in (residual, *residual.extra)], axis=0, dtype=np.float32)


def _zscore_of_level(residual: Residual, statistics: ResidualStatistics) -> FloatArray:
    bins = _bins(residual, statistics.edges_mm, statistics.edges_hu)
    mean = np.asarray(statistics.mean_hu, dtype=np.float32)
    std = np.asarray(statistics.std_hu, dtype=np.float32)
    return np.asarray((residual.value_hu - mean[bins]) / (std[bins] + np.median(std) + 1e-6), dtype=np.float32)


def _bins(residual: Residual, edges_mm: tuple[float, ...], edges_hu: tuple[float, ...]) -> NDArray[np.intp]:
    """Number of the bin of every voxel."""
    place = np.digitize(residual.distance_mm, edges_mm)
    return np.asarray(place * (len(edges_hu) + 1) + np.digitize(residual.intensity_hu, edges_hu), dtype=np.intp)
