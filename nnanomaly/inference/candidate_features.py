"""What is told of a candidate besides its map: size, intensity, texture, place and shape, in physical units.

Pure functions of arrays `[Z, Y, X]` on one grid. Nothing counts voxels, so that grids of different spacing agree as far
as they resolve the candidate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.volume import Triple

SHELL_MM = 5.0
FEATURES = (
    "log_volume",
    "map_max",
    "map_p95",
    "map_mean",
    "mean_hu",
    "std_hu",
    "contrast_hu",
    "absolute_contrast_hu",
    "difference_hu",
    "absolute_difference_hu",
    "difference_std_hu",
    "organ_share",
    "min_distance_mm",
    "max_distance_mm",
    "compactness",
    "elongation",
    "flatness",
    "touches_border",
)
"""Names of the features, in their order; `candidate_features` says what they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapped:
    """What lies around candidates; arrays `[Z, Y, X]`."""

    anomaly: FloatArray
    """The map that the candidates are from."""
    image_hu: FloatArray
    """The scan."""
    healthy_hu: FloatArray
    """Its healthy reconstruction."""
    distance_mm: FloatArray
    """Signed distance to the surface of the organ, negative inside."""
    covered: BoolArray
    """Where the scan says something."""
    spacing_mm: Triple
    """Spacing of the grid."""


def candidate_features(mask: BoolArray, scene: Mapped) -> NDArray[np.float64]:
    """The `FEATURES` of one candidate; `mask` holds its voxels, at least one.

    Natural logarithm of the volume in mm3; maximum, 95th percentile and mean of the map; mean and standard deviation of
    the scan; mean inside less that of a shell of 5 mm within the organ, and its absolute value; mean of scan less
    reconstruction, its absolute value and standard deviation; share within the organ; smallest and largest signed
    distance; compactness (1 for a ball), elongation and flatness (ratios of axes, 1 for a ball); 1 if the candidate
    reaches where the scan or the grid ends, else 0.
    """
    at_end = _reaches_end(mask, scene.covered)
    mask, scene = _around(mask, scene)
    values = {"anomaly": scene.anomaly[mask], "hu": scene.image_hu[mask], "distance": scene.distance_mm[mask]}
    difference = (scene.image_hu - scene.healthy_hu)[mask]
    contrast = _contrast_hu(mask, scene)
    volume_mm3 = float(np.count_nonzero(mask) * np.prod(scene.spacing_mm))
    features = (
        np.log(volume_mm3),
        values["anomaly"].max(),
        np.percentile(values["anomaly"], 95),
        values["anomaly"].mean(),
        values["hu"].mean(),
        values["hu"].std(),
        contrast,
        abs(contrast),
        difference.mean(),
        abs(difference.mean()),
        difference.std(),
        np.mean(values["distance"] < 0),
        values["distance"].min(),
        values["distance"].max(),
        *_shape(mask, volume_mm3, scene.spacing_mm),
        float(at_end),
    )
    return np.array(features, dtype=np.float64)


def _around(mask: BoolArray, scene: Mapped) -> tuple[BoolArray, Mapped]:
    """The candidate with its shell: all that the features look at."""
    indices = np.argwhere(mask)
    margin = np.ceil(SHELL_MM / np.asarray(scene.spacing_mm)).astype(int) + 1
    start, stop = np.maximum(indices.min(axis=0) - margin, 0), indices.max(axis=0) + margin + 1
    slices = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    return mask[slices], Mapped(
        anomaly=scene.anomaly[slices],
        image_hu=scene.image_hu[slices],
        healthy_hu=scene.healthy_hu[slices],
        distance_mm=scene.distance_mm[slices],
        covered=scene.covered[slices],
        spacing_mm=scene.spacing_mm,
    )


def _contrast_hu(mask: BoolArray, scene: Mapped) -> float:
    """Mean of the scan inside less that of the shell; the shell leaves the organ only where none of it lies in it."""
    near = ndimage.distance_transform_edt(~mask, sampling=scene.spacing_mm) <= SHELL_MM
    shell = near & ~mask & scene.covered
    within = shell & (scene.distance_mm < 0)
    shell = within if within.any() else shell
    return float(scene.image_hu[mask].mean() - scene.image_hu[shell].mean()) if shell.any() else 0.0


def _shape(mask: BoolArray, volume_mm3: float, spacing_mm: Triple) -> tuple[float, float, float]:
    """Compactness, elongation and flatness, from the second moments.

    A ball of radius R has the moment R^2 / 5 along every axis; a voxel adds its own, spacing^2 / 12. Compactness is
    3/5 R^2 of the ball of that volume over the sum of the moments, elongation sqrt(m2 / m1), flatness sqrt(m3 / m1).
    """
    positions = np.argwhere(mask) * np.asarray(spacing_mm)
    covariance = np.cov(positions, rowvar=False, bias=True) + np.diag(np.asarray(spacing_mm) ** 2 / 12)
    least, middle, largest = np.linalg.eigvalsh(covariance)
    radius_mm = (3 * volume_mm3 / (4 * np.pi)) ** (1 / 3)
    compactness = 0.6 * radius_mm**2 / (least + middle + largest)
    return float(compactness), float(np.sqrt(middle / largest)), float(np.sqrt(least / largest))


def _reaches_end(mask: BoolArray, covered: BoolArray) -> bool:
    """Whether a voxel of the candidate lies at the end of the grid or beside one that the scan does not cover."""
    indices = np.argwhere(mask)
    if (indices.min(axis=0) == 0).any() or (indices.max(axis=0) == np.asarray(mask.shape) - 1).any():
        return True
    return bool((ndimage.binary_dilation(mask) & ~covered).any())
