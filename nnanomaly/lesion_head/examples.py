"""Training examples of the lesion head as arrays: a healthy patch, edited, and what the networks make of it.

An example is `[6, Z, Y, X]`: the channels of `HEAD_INPUTS`, the lesions that were inserted, and the weight of every
voxel in the loss (0 where the scan says nothing).
"""

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.head_input import head_input
from nnanomaly.inference.look import Look
from nnanomaly.plans import HEAD_INPUTS
from nnanomaly.synthesis.patch_editing import EditedPatch
from nnanomaly.training.augmentation import augment_patch

LESION, WEIGHT = len(HEAD_INPUTS), len(HEAD_INPUTS) + 1


def vary_patch(edited: EditedPatch, rng: np.random.Generator) -> EditedPatch:
    """Rotate, scale and drift a patch together with its lesions, whose noise is then interpolated like that around."""
    image, organ, covered = edited.patch.array
    moved = augment_patch(np.stack([image, organ, edited.lesions, covered]).astype(np.float32), rng)
    varied, lesions = edited.patch.with_array(moved[[0, 1, 3]]), (moved[2] > 0.5) & (moved[3] > 0.5)
    return EditedPatch(patch=varied, lesions=lesions, kinds=edited.kinds)


def training_example(
    seen: Look, statistics: ResidualStatistics, lesions: BoolArray, *, window_hu: tuple[float, float]
) -> NDArray[np.float16]:
    """Assemble an example `[6, Z, Y, X]`."""
    channels = head_input(seen, statistics, window_hu=window_hu, inputs=HEAD_INPUTS)
    return np.concatenate([channels, lesions[None], seen.residual.covered[None]]).astype(np.float16)


def flipped(example: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An example mirrored along a random choice of axes."""
    axes = tuple(axis for axis in (1, 2, 3) if rng.random() < 0.5)
    return np.ascontiguousarray(np.flip(example, axes))
