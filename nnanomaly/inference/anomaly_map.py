"""From an organ patch and its healthy reconstruction to an anomaly map, all on the patch grid.

Arrays are `[Z, Y, X]`; residuals are in HU; distances in mm, negative inside the organ. METHOD sections 5, 8.3a, 8.5.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.volume import Triple

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
GATE_DECAY_MM = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStatistics:
    """Mean and standard deviation of the absolute residual of healthy organs, by distance to the organ surface."""

    edges_mm: tuple[float, ...]
    """Borders between the distance bins, ascending; the first and last bin are open."""
    mean_hu: tuple[float, ...]
    """Mean per bin (one more than edges)."""
    std_hu: tuple[float, ...]
    """Standard deviation per bin."""


def absolute_residual(image_hu: FloatArray, healthy_hu: FloatArray, *, sigma_voxels: Triple) -> FloatArray:
    """|G * (image - healthy)|: smoothing comes before the absolute value, so that noise cancels; sigma 0 = none."""
    difference = np.asarray(image_hu, dtype=np.float32) - np.asarray(healthy_hu, dtype=np.float32)
    return np.abs(ndimage.gaussian_filter(difference, sigma_voxels, mode="nearest"))


def organ_gate(distance_mm: FloatArray, start_mm: float) -> FloatArray:
    """exp(-max(0, d - start) / 10 mm): 1 in and near the organ, fading outside; `start_mm` < 0 gates nothing."""
    if start_mm < 0:
        return np.ones_like(distance_mm)
    return np.exp(-np.maximum(0.0, distance_mm - start_mm) / GATE_DECAY_MM).astype(np.float32)


def measure_residuals(
    residuals: list[FloatArray],
    distances_mm: list[FloatArray],
    coverages: list[BoolArray],
    *,
    edges_mm: tuple[float, ...],
) -> ResidualStatistics:
    """Statistics over the covered voxels of healthy organs; an empty bin takes those of the whole."""
    values = np.concatenate([r[c] for r, c in zip(residuals, coverages, strict=True)]).astype(np.float64)
    bins = np.concatenate([np.digitize(d[c], edges_mm) for d, c in zip(distances_mm, coverages, strict=True)])
    count = np.bincount(bins, minlength=len(edges_mm) + 1)
    filled = np.maximum(count, 1)
    mean = np.bincount(bins, values, len(edges_mm) + 1) / filled
    std = np.sqrt(np.maximum(np.bincount(bins, values**2, len(edges_mm) + 1) / filled - mean**2, 0))
    mean = np.where(count > 0, mean, values.mean())
    std = np.where(count > 0, std, values.std())
    return ResidualStatistics(edges_mm=edges_mm, mean_hu=tuple(map(float, mean)), std_hu=tuple(map(float, std)))


def residual_zscore(residual_hu: FloatArray, distance_mm: FloatArray, statistics: ResidualStatistics) -> FloatArray:
    """z = (r - mean) / (std + std0) with the bin's mean and std and std0 the median std over bins (METHOD 8.3a)."""
    bins = np.digitize(distance_mm, statistics.edges_mm)
    mean = np.asarray(statistics.mean_hu, dtype=np.float32)
    std = np.asarray(statistics.std_hu, dtype=np.float32)
    return np.asarray((residual_hu - mean[bins]) / (std[bins] + np.median(std) + 1e-6), dtype=np.float32)
