"""Variation of the head's training crops, as nnU-Net varies its patches: rotation, scale, contrast, brightness.

A thin use of batchgenerators. Crops are `[6, Z, Y, X]`, see `examples`; what the head sees keeps its meaning: image and
reconstruction change together, and the z-score of their difference with their contrast.
"""

import random

import numpy as np
from batchgenerators.augmentations.spatial_transformations import augment_spatial_2

from nnanomaly.inference.head_input import ZSCORE_RANGE
from nnanomaly.lesion_head.examples import LESION, FloatArray
from nnanomaly.plans import HEAD_INPUTS

SHARE = 0.5
"""Crops that are rotated; that are scaled; whose intensities change."""
MAX_ANGLE = np.deg2rad(20.0)
SCALES = (0.8, 1.25)
CONTRAST = (0.75, 1.25)
MAX_BRIGHTNESS = 0.1
"""Of a window of 2: 25 HU in a window of 500 HU."""
SHOWN = [HEAD_INPUTS.index(name) for name in ("image", "reconstruction")]
ZSCORE = HEAD_INPUTS.index("zscore")


def vary_crop(crop: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate, scale, and change the intensities of a crop; what enters from beyond it has no weight in the loss."""
    turned = _turn_and_scale(crop, rng)
    if rng.random() >= SHARE:
        return turned
    return change_intensity(turned, contrast=rng.uniform(*CONTRAST), brightness=rng.uniform(-1, 1) * MAX_BRIGHTNESS)


def change_intensity(crop: FloatArray, *, contrast: float, brightness: float) -> FloatArray:
    """Image and reconstruction x -> (x - m) * contrast + m + brightness with the image's mean m; z-scores scale."""
    changed = crop.copy()
    mean = float(crop[SHOWN[0]].mean())
    changed[SHOWN] = np.clip((crop[SHOWN] - mean) * contrast + mean + brightness, -1, 1)
    changed[ZSCORE] = np.clip(crop[ZSCORE] * contrast, *ZSCORE_RANGE)
    return changed


def _turn_and_scale(crop: FloatArray, rng: np.random.Generator) -> FloatArray:
    # batchgenerators draws from the global generators, which are therefore seeded first.
    np.random.seed(int(rng.integers(2**32)))
    random.seed(int(rng.integers(2**32)))
    seen, known = augment_spatial_2(
        crop[None, :LESION],
        crop[None, LESION:],
        patch_size=crop.shape[1:],
        do_elastic_deform=False,
        do_rotation=True,
        angle_x=(-MAX_ANGLE, MAX_ANGLE),
        angle_y=(-MAX_ANGLE, MAX_ANGLE),
        angle_z=(-MAX_ANGLE, MAX_ANGLE),
        do_scale=True,
        scale=SCALES,
        border_mode_data="nearest",
        order_data=1,
        border_mode_seg="constant",
        border_cval_seg=0,
        order_seg=0,
        random_crop=False,
        p_rot_per_sample=SHARE,
        p_scale_per_sample=SHARE,
    )
    return np.concatenate([seen[0], known[0]]).astype(np.float32)
