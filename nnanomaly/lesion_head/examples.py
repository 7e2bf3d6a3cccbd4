"""Training examples of the lesion head as arrays: a healthy patch, edited, and what the networks make of it.

An example is `[6, Z, Y, X]`: the channels of `HEAD_INPUTS`, the lesions that were inserted, and the weight of every
voxel in the loss (0 where the scan says nothing).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.head_input import head_input
from nnanomaly.inference.look import Look
from nnanomaly.patch import Patch
from nnanomaly.plans import HEAD_INPUTS
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.synthesis.case_generator import make_example
from nnanomaly.training.augmentation import augment_patch

LESION, WEIGHT = len(HEAD_INPUTS), len(HEAD_INPUTS) + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EditedPatch:
    """A patch of a healthy organ with lesions in it."""

    patch: Patch
    """With the organ as a segmenter would draw it; float32."""
    lesions: BoolArray
    """`[Z, Y, X]`."""
    kinds: tuple[str, ...]
    """Kind of every lesion."""


def edit_patch(
    patch: Patch, *, window_hu: tuple[float, float], kinds: Sequence[str], rng: np.random.Generator
) -> EditedPatch:
    """Insert lesions into a patch of a healthy organ; what lies beyond the scan stays unseen."""
    image_hu = denormalise(patch.image, window_hu)
    example = make_example(image_hu, patch.inside, spacing_mm=patch.grid.spacing_mm, kinds=kinds, rng=rng)
    image = np.where(patch.covered, normalise(example.image_hu, window_hu), patch.image)
    edited = np.stack([image, example.organ & patch.covered, patch.covered]).astype(np.float32)
    return EditedPatch(patch=patch.with_array(edited), lesions=example.lesions & patch.covered, kinds=example.kinds)


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
