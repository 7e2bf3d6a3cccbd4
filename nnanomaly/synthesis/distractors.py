"""Edits of a healthy organ that are no lesion, so that nothing learns to find edits. Arrays `[Z, Y, X]` in HU."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.distance import signed_distance_mm
from nnanomaly.synthesis.noise import like_noise, measure_noise, noise_region
from nnanomaly.synthesis.shapes import smooth_noise
from nnanomaly.volume import Triple

Distractor = Callable[[FloatArray, BoolArray, Triple, np.random.Generator], FloatArray]
DRIFT_MM = 40.0
TUBE_STEPS = 40


def intensity_drift(image_hu: FloatArray, organ: BoolArray, spacing_mm: Triple, rng: np.random.Generator) -> FloatArray:
    """Add a very smooth field of 5 to 20 HU, as beam hardening and uneven enhancement do."""
    field = smooth_noise(image_hu.shape, tuple(DRIFT_MM / s for s in spacing_mm), rng)
    return np.asarray(image_hu + rng.uniform(5, 20) * field, dtype=np.float32)


def noise_change(image_hu: FloatArray, organ: BoolArray, spacing_mm: Triple, rng: np.random.Generator) -> FloatArray:
    """More noise of the same kind, or less by a slight blur."""
    if rng.random() < 0.5:
        return np.asarray(ndimage.gaussian_filter(image_hu, rng.uniform(0.3, 0.7), mode="nearest"), dtype=np.float32)
    deviation, correlation = measure_noise(image_hu, noise_region(image_hu))
    return image_hu + like_noise(image_hu.shape, deviation * rng.uniform(0.3, 1.0), correlation, rng)


def vessel_like_tube(
    image_hu: FloatArray, organ: BoolArray, spacing_mm: Triple, rng: np.random.Generator
) -> FloatArray:
    """A bright or dark tube of 1 to 3 mm radius that winds from the middle of the organ outwards."""
    spacing = np.asarray(spacing_mm)
    start = np.argwhere(organ).mean(axis=0) * spacing + rng.normal(0, 8, 3)
    direction = rng.normal(size=3)
    path = [start]
    for _ in range(TUBE_STEPS):
        direction = direction / np.linalg.norm(direction) + rng.normal(0, 0.25, 3)
        path.append(path[-1] + 1.5 * direction / np.linalg.norm(direction))
    indices = np.round(np.array(path) / spacing).astype(int)
    indices = indices[np.all((indices >= 0) & (indices < image_hu.shape), axis=1)]
    if not len(indices):
        return image_hu
    line = np.zeros(image_hu.shape, dtype=bool)
    line[tuple(indices.T)] = True
    radius_mm = rng.uniform(1, 3)
    share = np.clip(0.5 - (signed_distance_mm(line, spacing_mm) - radius_mm) / float(np.mean(spacing_mm)), 0, 1)
    organ_hu = float(np.median(image_hu[organ]))
    value_hu = organ_hu + (rng.uniform(20, 120) if rng.random() < 0.7 else -rng.uniform(20, 120))
    content = value_hu + like_noise(image_hu.shape, *measure_noise(image_hu, noise_region(image_hu)), rng)
    return np.asarray(image_hu + share * (content - image_hu), dtype=np.float32)


DISTRACTORS: dict[str, Distractor] = {
    "intensity_drift": intensity_drift,
    "noise_change": noise_change,
    "vessel_like_tube": vessel_like_tube,
}
"""Functions (image in HU, organ, spacing in mm, generator) -> image in HU."""
