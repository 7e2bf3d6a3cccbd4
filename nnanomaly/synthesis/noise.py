"""Noise like that of a scan, for what is painted over it. Arrays `[Z, Y, X]` in HU."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.synthesis.shapes import smooth_noise

DETAIL_SIGMA = 2.5
"""Noise is what a Gaussian of so many voxels takes away."""
WINDOW = 5
"""Voxels on an axis over which noise is measured locally."""
QUIET_PERCENT = 10.0
"""Anatomy has edges: noise alone is seen where the details are weakest."""
UNCLIPPED_HU = (-150.0, 250.0)
"""Patches are clipped to a window; beyond this range its noise may be cut off."""


def noise_region(image_hu: FloatArray) -> BoolArray:
    """Voxels in which the noise of a patch can be seen: soft tissue and fat, whole, not clipped."""
    low, high = UNCLIPPED_HU
    smooth = ndimage.uniform_filter(image_hu, WINDOW, mode="nearest")
    return np.asarray((smooth > low) & (smooth < high))


def measure_noise(image_hu: FloatArray, where: BoolArray) -> tuple[float, float]:
    """Standard deviation of the noise in a region, and the correlation of neighbours along the last axis, in 0..0.95.

    Measured in the quietest tenth of the region, since the rest has edges of its own. Without a voxel, (0, 0).
    """
    details = np.asarray(image_hu - ndimage.gaussian_filter(image_hu, DETAIL_SIGMA, mode="nearest"), dtype=np.float32)
    if not where.any():
        return 0.0, 0.0
    power = ndimage.uniform_filter(details**2, WINDOW, mode="nearest")
    limit = np.percentile(power[where], QUIET_PERCENT)
    deviation = float(np.sqrt(max(limit, 0.0)))
    quiet = where & (power <= limit)
    products = (details[..., :-1] * details[..., 1:])[quiet[..., :-1]]
    if deviation == 0 or not products.size:
        return deviation, 0.0
    return deviation, float(np.clip(products.mean() / power[quiet].mean(), 0, 0.95))


def like_noise(
    shape: tuple[int, ...], deviation_hu: float, neighbour_correlation: float, rng: np.random.Generator
) -> FloatArray:
    """Gaussian noise of that standard deviation whose neighbours correlate so."""
    sigmas, correlations = _correlations_of_filters()
    sigma = float(np.interp(neighbour_correlation, correlations, sigmas))
    return np.asarray(deviation_hu * smooth_noise(shape, (sigma,) * len(shape), rng), dtype=np.float32)


@cache
def _correlations_of_filters() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Widths of Gaussian filters, and the correlation of neighbours that each gives to white noise."""
    impulse = np.zeros(41)
    impulse[20] = 1
    sigmas = np.concatenate([[0.0], np.linspace(0.3, 4, 40)])
    kernels = [ndimage.gaussian_filter1d(impulse, sigma) if sigma else impulse for sigma in sigmas]
    return sigmas, np.array([np.sum(k[1:] * k[:-1]) / np.sum(k**2) for k in kernels])
