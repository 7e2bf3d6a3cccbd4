"""Shapes of lesions: superellipsoids whose surface smooth noise pushes in and out. Arrays `[Z, Y, X]`, sizes in mm."""

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnanomaly.arrays import FloatArray
from nnanomaly.volume import Shape, Triple

AXIS_RATIO = (0.75, 1.3)
"""Half axes of the ellipsoid in units of the radius; they are scaled so that its volume is that of the sphere."""
EXPONENT = (1.8, 3.0)
"""2 is an ellipsoid, more is boxier."""


def distance_from(center: Shape, shape: tuple[int, ...], spacing_mm: Triple) -> FloatArray:
    """Distance in mm of every voxel centre to that of one voxel."""
    z, y, x = offsets_from(center, shape, spacing_mm)
    return np.sqrt(z**2 + y**2 + x**2).astype(np.float32)


def offsets_from(center: Shape, shape: tuple[int, ...], spacing_mm: Triple) -> list[FloatArray]:
    """Offsets in mm of all voxel centres from one, one sparse array per axis."""
    axes = [((np.arange(n) - c) * s).astype(np.float32) for n, c, s in zip(shape, center, spacing_mm, strict=True)]
    return list(np.meshgrid(*axes, indexing="ij", sparse=True))


def blob_field(
    center: Shape,
    shape: tuple[int, ...],
    spacing_mm: Triple,
    *,
    radius_mm: float,
    roughness: float,
    rng: np.random.Generator,
) -> FloatArray:
    """Distance in mm beyond the surface of a random blob, negative inside; exact only near the surface.

    The blob is a randomly turned superellipsoid of the volume of a sphere of `radius_mm` (exactly so at exponent 2),
    whose radius smooth noise changes by the share `roughness` (one standard deviation).
    """
    ratios = rng.uniform(*AXIS_RATIO, size=3)
    half_axes = radius_mm * ratios / np.prod(ratios) ** (1 / 3)
    exponent = rng.uniform(*EXPONENT)
    turn = Rotation.random(random_state=rng).as_matrix().astype(np.float32)
    offsets = offsets_from(center, shape, spacing_mm)
    turned = [sum(turn[row, axis] * offsets[axis] for axis in range(3)) for row in range(3)]
    total = sum(np.abs(t / h) ** exponent for t, h in zip(turned, half_axes, strict=True))
    relative = np.asarray(total, dtype=np.float32) ** np.float32(1 / exponent)
    bumps = smooth_noise(shape, tuple(0.5 * radius_mm / s for s in spacing_mm), rng)
    return np.asarray((relative - 1 - roughness * bumps) * radius_mm, dtype=np.float32)


def smooth_noise(shape: tuple[int, ...], sigma_voxels: tuple[float, ...], rng: np.random.Generator) -> FloatArray:
    """Gaussian noise of unit variance and zero mean that a Gaussian of `sigma_voxels` has smoothed.

    Strongly smoothed noise is drawn on a coarser grid and interpolated: it looks nearly the same and costs far less.
    """
    steps = [max(1, int(sigma / 2)) for sigma in sigma_voxels]
    coarse_shape = [-(-n // step) + 1 for n, step in zip(shape, steps, strict=True)]
    coarse = rng.standard_normal(coarse_shape).astype(np.float32)
    coarse = ndimage.gaussian_filter(
        coarse, [s / step for s, step in zip(sigma_voxels, steps, strict=True)], mode="wrap"
    )
    fine = ndimage.zoom(coarse, steps, order=1, grid_mode=False) if max(steps) > 1 else coarse
    fine = np.asarray(fine[tuple(slice(n) for n in shape)], dtype=np.float32)
    if fine.shape != tuple(shape):
        fine = np.pad(fine, [(0, n - m) for n, m in zip(shape, fine.shape, strict=True)], mode="edge")
    return (fine - fine.mean()) / (fine.std() + np.float32(1e-6))
