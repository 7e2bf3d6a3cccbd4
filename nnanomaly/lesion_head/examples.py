"""Training examples of the lesion head as arrays: a healthy patch, edited, and what the networks make of it.

An example is `[6, Z, Y, X]`: the channels of `HEAD_INPUTS`, the lesions that were inserted, and the weight of every
voxel in the loss (0 where the scan says nothing).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.inference.anomaly_map import Residual, ResidualStatistics
from nnanomaly.inference.head_input import head_input
from nnanomaly.inference.patch_map import PatchReconstruction
from nnanomaly.plans import HEAD_INPUTS
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.preprocessing.preprocessor import COVERAGE, IMAGE, ORGAN
from nnanomaly.synthesis.case_generator import make_example
from nnanomaly.training.augmentation import augment_patch
from nnanomaly.volume import Triple

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
LESION, WEIGHT = len(HEAD_INPUTS), len(HEAD_INPUTS) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditedPatch:
    """A patch of a healthy organ with lesions in it."""

    array: FloatArray
    """`[3, Z, Y, X]`: image in [-1, 1], organ as a segmenter would draw it, coverage."""
    lesions: BoolArray
    """`[Z, Y, X]`."""
    kinds: tuple[str, ...]
    """Kind of every lesion."""


def edit_patch(
    array: FloatArray,
    *,
    spacing_mm: Triple,
    window_hu: tuple[float, float],
    kinds: Sequence[str],
    rng: np.random.Generator,
) -> EditedPatch:
    """Insert lesions into a patch `[3, Z, Y, X]` of a healthy organ; what lies beyond the scan stays unseen."""
    image_hu, covered = denormalise(array[IMAGE], window_hu), array[COVERAGE] > 0.5
    example = make_example(image_hu, array[ORGAN] > 0.5, spacing_mm=spacing_mm, kinds=kinds, rng=rng)
    image = np.where(covered, normalise(example.image_hu, window_hu), array[IMAGE])
    edited = np.stack([image, example.organ & covered, covered]).astype(np.float32)
    return EditedPatch(array=edited, lesions=example.lesions & covered, kinds=example.kinds)


def vary_patch(edited: EditedPatch, rng: np.random.Generator) -> EditedPatch:
    """Rotate, scale and drift a patch together with its lesions, whose noise is then interpolated like that around."""
    image, organ, covered = edited.array
    moved = augment_patch(np.stack([image, organ, edited.lesions, covered]).astype(np.float32), rng)
    return EditedPatch(array=moved[[0, 1, 3]], lesions=(moved[2] > 0.5) & (moved[3] > 0.5), kinds=edited.kinds)


def training_example(
    reconstruction: PatchReconstruction,
    residual: Residual,
    statistics: ResidualStatistics,
    lesions: BoolArray,
    *,
    window_hu: tuple[float, float],
) -> NDArray[np.float16]:
    """Assemble an example `[6, Z, Y, X]`."""
    channels = head_input(reconstruction, residual, statistics, window_hu=window_hu, inputs=HEAD_INPUTS)
    return np.concatenate([channels, lesions[None], residual.covered[None]]).astype(np.float16)


def flipped(example: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An example mirrored along a random choice of axes."""
    axes = tuple(axis for axis in (1, 2, 3) if rng.random() < 0.5)
    return np.ascontiguousarray(np.flip(example, axes))
