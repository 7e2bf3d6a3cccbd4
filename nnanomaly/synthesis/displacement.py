"""Tissue that gives way to a lesion: a radial push of image and masks. Arrays `[Z, Y, X]`, lengths in mm."""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.synthesis.shapes import offsets_from
from nnanomaly.volume import Shape, Triple


def push_aside(
    image_hu: FloatArray,
    masks: Sequence[BoolArray],
    center: Shape,
    *,
    radius_mm: float,
    share: float,
    spacing_mm: Triple,
) -> tuple[FloatArray, list[BoolArray]]:
    """Image and masks after a sphere of `radius_mm` has grown at `center`; `share` 0 moves nothing, 1 everything.

    A voxel at distance r >= radius shows what lay at `r - share * radius * exp(-(r - radius) / radius)`: what
    touched the centre touches the sphere, and nothing moves far away. Within the sphere the image is stretched.
    """
    offsets = offsets_from(center, image_hu.shape, spacing_mm)
    r = np.sqrt(sum(o**2 for o in offsets)) + np.float32(1e-3)
    beyond = np.maximum(r - radius_mm, 0)
    scale = 1 - share * np.minimum(r, radius_mm) * np.exp(-beyond / radius_mm) / r
    coordinates = [c + o * scale / s for c, o, s in zip(center, offsets, spacing_mm, strict=True)]
    moved = ndimage.map_coordinates(image_hu, coordinates, order=1, mode="nearest")
    moved_masks = [
        np.asarray(ndimage.map_coordinates(mask.astype(np.float32), coordinates, order=1, mode="constant") > 0.5)
        for mask in masks
    ]
    return np.asarray(moved, dtype=np.float32), moved_masks
