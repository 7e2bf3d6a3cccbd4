"""A patch of a healthy organ with lesions in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.arrays import BoolArray
from nnanomaly.patch import Patch
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.synthesis.case_generator import make_example


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
