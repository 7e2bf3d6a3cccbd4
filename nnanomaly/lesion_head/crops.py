"""What the head sees of an example in training: a crop, often around a lesion, mirrored, small lesions weighted up.

Examples are `[6, Z, Y, X]`, see `examples`. Without this, a lesion of 10 cm would count a thousand times one of 1 cm.
"""

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.lesion_head.augmentation import vary_crop
from nnanomaly.lesion_head.examples import LESION, WEIGHT, flipped
from nnanomaly.roi.components import Component, find_components
from nnanomaly.roi.lesion_size import equivalent_diameter_mm
from nnanomaly.volume import Shape, Triple

LESION_SHARE = 0.33
"""Crops of an example with lesions that lie around one of them, as in nnU-Net; large and small ones are chosen equally
often. With twice as many the head saw lesions in the medulla of every healthy kidney."""
REFERENCE_DIAMETER_MM = 40.0
"""Lesions from this size on have the weight of the background."""
LARGEST_WEIGHT = 4.0


def training_crop(
    example: FloatArray,
    rng: np.random.Generator,
    *,
    spacing_mm: Triple,
    crop_size: Shape | None,
    augmentation: bool = False,
) -> FloatArray:
    """Weigh, crop (None: not at all), vary if asked, and mirror an example; the same generator gives the same crop."""
    weighed = example.copy()
    components = find_components(example[LESION] > 0.5)
    weighed[WEIGHT] *= lesion_weights(components, example.shape[1:], spacing_mm)
    if crop_size is not None:
        weighed = weighed[(slice(None), *_draw_crop(components, example.shape[1:], crop_size, rng))]
    if augmentation:
        weighed = vary_crop(weighed, rng)
    return flipped(weighed, rng)


def lesion_weights(components: list[Component], shape: tuple[int, ...], spacing_mm: Triple) -> NDArray[np.float32]:
    """Weight of every voxel: 1, and (40 mm / equivalent diameter)^2 in lesions, at least 1 and at most 4."""
    weights = np.ones(shape, dtype=np.float32)
    for component in components:
        volume_mm3 = component.num_voxels * float(np.prod(spacing_mm))
        weight = np.clip((REFERENCE_DIAMETER_MM / equivalent_diameter_mm(volume_mm3)) ** 2, 1, LARGEST_WEIGHT)
        weights[component.box.slices][component.mask] = weight
    return weights


def _draw_crop(
    components: list[Component], shape: tuple[int, ...], crop_size: Shape, rng: np.random.Generator
) -> tuple[slice, ...]:
    """A crop around a random lesion voxel, or anywhere; never beyond the patch, and no larger than it."""
    size = [min(n, wanted) for n, wanted in zip(shape, crop_size, strict=True)]
    around = bool(components) and rng.random() < LESION_SHARE
    starts = [int(rng.integers(n - s + 1)) for n, s in zip(shape, size, strict=True)]
    if around:
        chosen = components[int(rng.integers(len(components)))]
        voxel = chosen.voxel_indices()[int(rng.integers(chosen.num_voxels))]
        jitter = [int(rng.integers(-s // 4, s // 4 + 1)) for s in size]
        wanted = [int(v) + j - s // 2 for v, j, s in zip(voxel, jitter, size, strict=True)]
        starts = [min(max(w, 0), n - s) for w, n, s in zip(wanted, shape, size, strict=True)]
    return tuple(slice(start, start + s) for start, s in zip(starts, size, strict=True))
