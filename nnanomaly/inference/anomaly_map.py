"""From an organ patch and its healthy reconstruction to an anomaly map, all on the patch grid.

Arrays are `[Z, Y, X]`; residuals are in HU; distances in mm, negative inside the organ. METHOD sections 5, 8.3a, 8.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.volume import Triple

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
GATE_DECAY_MM = 10.0
PRIOR_VOXELS = 50
"""Weight of the statistics of all voxels in every bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """The residual of a patch, and what its healthy spread depends on; all `[Z, Y, X]`."""

    value_hu: FloatArray
    """Absolute residual."""
    distance_mm: FloatArray
    """Signed distance to the surface of the organ."""
    intensity_hu: FloatArray
    """Healthy reconstruction, as smooth as the residual."""
    covered: BoolArray
    """Where the scan says something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualStatistics:
    """Mean and standard deviation of the absolute residual of healthy organs, by place and intensity (METHOD 8.3a)."""

    edges_mm: tuple[float, ...]
    """Borders between the bins of the distance to the organ surface, ascending; the first and last bin are open."""
    edges_hu: tuple[float, ...] = ()
    """Borders between the bins of the reconstruction's intensity, likewise; empty = one bin."""
    mean_hu: tuple[float, ...]
    """Mean per bin; the intensity bins of the first distance bin come first."""
    std_hu: tuple[float, ...]
    """Standard deviation per bin."""


def absolute_residual(image_hu: FloatArray, healthy_hu: FloatArray, *, sigma_voxels: Triple) -> FloatArray:
    """|G * (image - healthy)|: smoothing comes before the absolute value, so that noise cancels; sigma 0 = none."""
    difference = np.asarray(image_hu, dtype=np.float32) - np.asarray(healthy_hu, dtype=np.float32)
    return np.abs(smooth(difference, sigma_voxels))


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
    """Statistics over the covered voxels of healthy organs.

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
    return ResidualStatistics(
        edges_mm=edges_mm, edges_hu=edges_hu, mean_hu=tuple(map(float, mean)), std_hu=tuple(map(float, std))
    )


def residual_zscore(residual: Residual, statistics: ResidualStatistics) -> FloatArray:
    """z = (r - mean) / (std + std0) with the bin's mean and std and std0 the median std over bins (METHOD 8.3a)."""
    bins = _bins(residual, statistics.edges_mm, statistics.edges_hu)
    mean = np.asarray(statistics.mean_hu, dtype=np.float32)
    std = np.asarray(statistics.std_hu, dtype=np.float32)
    return np.asarray((residual.value_hu - mean[bins]) / (std[bins] + np.median(std) + 1e-6), dtype=np.float32)


def _bins(residual: Residual, edges_mm: tuple[float, ...], edges_hu: tuple[float, ...]) -> NDArray[np.intp]:
    """Number of the bin of every voxel."""
    place = np.digitize(residual.distance_mm, edges_mm)
    return np.asarray(place * (len(edges_hu) + 1) + np.digitize(residual.intensity_hu, edges_hu), dtype=np.intp)
