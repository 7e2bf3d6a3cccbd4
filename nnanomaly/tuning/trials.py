"""What settings are tried on: patches whose lesions are known, inserted by us or drawn by a person.

Inserted lesions need no annotation: they lie in organs labelled healthy. Drawn ones are what the paper tuned on; they
are read here and in the evaluation alone, and only when the user asks for it. Masks are `[Z, Y, X]` on the patch grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.inference.look import noise_key
from nnanomaly.lesion_head.example_store import generator_of_edit, with_organ
from nnanomaly.patch import IMAGE, Patch
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.preprocessing.resampling import sample_labels_on_grid
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.synthesis.lesions import draw_insertions, insert
from nnanomaly.synthesis.patch_editing import edit_patch
from nnanomaly.volume import Volume

DIAMETERS_MM = (10.0, 20.0, 30.0, 40.0)
CONTRASTS_HU = (-120.0, -60.0, 50.0)
"""Fluid, solid and hyperdense against enhanced parenchyma (METHOD 7)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial(Patch):
    """A patch whose lesions are known; trials of one case are no independent evidence."""

    lesions: NDArray[np.bool_]
    """`[Z, Y, X]`; may be empty."""


def trial_of(patch: Patch, lesions: NDArray[np.bool_], *, name: str | None = None) -> Trial:
    """A patch as a trial, under another name if one is given."""
    return Trial(
        name=name or patch.name, case=patch.case, organ=patch.organ, array=patch.array, grid=patch.grid, lesions=lesions
    )


def inserted_trials(
    patches: Mapping[str, Patch], *, window_hu: tuple[float, float], seed: int, diameters_mm: Sequence[float]
) -> list[Trial]:
    """One trial per patch of a healthy organ, each with one inserted lesion; sizes and contrasts take turns.

    Patches without a voxel of the organ (tiles beside it) are left out. Their turn follows from their voxels, not
    from their names.
    """
    rng = np.random.default_rng(seed)
    places = sorted(with_organ(patches).values(), key=noise_key)
    drawn = draw_insertions(len(places), diameters_mm=diameters_mm, contrasts_hu=CONTRASTS_HU, rng=rng)
    trials = []
    for patch, insertion in zip(places, drawn, strict=True):
        image_hu = denormalise(patch.image, window_hu)
        inserted = insert(image_hu, patch.inside, insertion, spacing_mm=patch.grid.spacing_mm, rng=rng)
        array = np.array(patch.array, dtype=np.float32)
        array[IMAGE] = normalise(inserted.image_hu, window_hu)
        trials.append(trial_of(patch.with_array(array), inserted.mask))
    return trials


def generated_trials(
    patches: Mapping[str, Patch], *, window_hu: tuple[float, float], seed: int, variants: int
) -> list[Trial]:
    """`variants` trials per patch of a healthy organ, from the generator that the lesion head is trained with.

    None to three lesions of every kind, size and place; what got none, perhaps a distractor, is a negative trial.
    Patches without a voxel of the organ are left out. What a trial holds follows from seed, variant and the
    voxels of the patch alone.
    """
    trials = []
    for patch in with_organ(patches).values():
        for variant in range(1, variants + 1):
            rng = generator_of_edit(patch, variant, seed=seed)
            edited = edit_patch(patch, window_hu=window_hu, kinds=tuple(KINDS), rng=rng)
            stored = edited.patch.with_array(edited.patch.array.astype(np.float16))  # as patches are
            trials.append(trial_of(stored, edited.lesions, name=f"{patch.name}__v{variant}"))
    return trials


def drawn_trials(patches: Mapping[str, Patch], reference: Callable[[str], Volume | None]) -> list[Trial]:
    """One trial per patch of a case with a reference; `reference(case)` is the mask of its lesions, or None."""
    by_case: dict[str, Volume | None] = {}
    trials = []
    for patch in patches.values():
        if patch.case not in by_case:
            by_case[patch.case] = reference(patch.case)
        mask = by_case[patch.case]
        if mask is not None:
            trials.append(trial_of(patch, np.asarray(sample_labels_on_grid(mask, patch.grid)[0] > 0)))
    return trials
