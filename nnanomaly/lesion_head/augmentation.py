"""Variation of the head's training crops, as nnU-Net varies its patches: rotation, scale, contrast, brightness.

Crops are `[6, Z, Y, X]`, see `examples`; what the head sees keeps its meaning: image and reconstruction change
together, and the z-score of their difference with their contrast.
"""

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.inference.head_input import ZSCORE_RANGE
from nnanomaly.lesion_head.examples import LESION
from nnanomaly.plans import HEAD_INPUTS
from nnanomaly.training.augmentation import turn_and_scale

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
    seen, known = turn_and_scale(
        crop[:LESION],
        crop[LESION:],
        rng,
        max_angles=(MAX_ANGLE,) * 3,
        scales=SCALES,
        share=SHARE,
        border="nearest",
    )
    turned = np.concatenate([seen, known])
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
