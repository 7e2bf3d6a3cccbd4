"""What settings are tried on: patches whose lesions are known, inserted by us or drawn by a person.

Inserted lesions need no annotation: they lie in organs labelled healthy. Drawn ones are what the paper tuned on; they
are read here and in the evaluation alone, and only when the user asks for it. Masks are `[Z, Y, X]` on the patch grid.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.patch_store import StoredPatch
from nnanomaly.inference.patch_map import noise_key
from nnanomaly.lesion_head.example_store import generator_of_edit, with_organ
from nnanomaly.lesion_head.examples import edit_patch
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.preprocessing.preprocessor import IMAGE, ORGAN
from nnanomaly.preprocessing.resampling import sample_labels_on_grid
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.synthesis.lesions import draw_insertions, insert
from nnanomaly.volume import Grid, Volume

DIAMETERS_MM = (10.0, 20.0, 30.0, 40.0)
CONTRASTS_HU = (-120.0, -60.0, 50.0)
"""Fluid, solid and hyperdense against enhanced parenchyma (METHOD 8, last paragraph)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """A patch and its lesions."""

    name: str
    """What tables call it."""
    case: str
    """Whose patch it is: trials of one case are no independent evidence."""
    organ: str
    """Which organ it shows."""
    array: NDArray[np.floating]
    """`[3, Z, Y, X]`: image in [-1, 1], organ, coverage."""
    grid: Grid
    """Where its voxels lie."""
    lesions: NDArray[np.bool_]
    """`[Z, Y, X]`; may be empty."""


def inserted_trials(
    patches: Mapping[str, StoredPatch], *, window_hu: tuple[float, float], seed: int, diameters_mm: Sequence[float]
) -> list[Trial]:
    """One trial per patch of a healthy organ, each with one inserted lesion; sizes and contrasts take turns.

    Patches without a voxel of the organ (tiles beside it) are left out. Their turn follows from their voxels, not
    from their names.
    """
    rng = np.random.default_rng(seed)
    places = dict(sorted(with_organ(patches).items(), key=lambda item: _key(item[1])))
    drawn = draw_insertions(len(places), diameters_mm=diameters_mm, contrasts_hu=CONTRASTS_HU, rng=rng)
    trials = []
    for (name, patch), insertion in zip(places.items(), drawn, strict=True):
        image_hu = denormalise(np.asarray(patch.array[IMAGE], dtype=np.float32), window_hu)
        organ = np.asarray(patch.array[ORGAN]) > 0.5
        inserted = insert(image_hu, organ, insertion, spacing_mm=patch.grid.spacing_mm, rng=rng)
        array = np.array(patch.array, dtype=np.float32)
        array[IMAGE] = normalise(inserted.image_hu, window_hu)
        trials.append(
            Trial(
                name=name,
                case=str(patch.metadata["case"]),
                organ=str(patch.metadata["organ"]),
                array=array,
                grid=patch.grid,
                lesions=inserted.mask,
            )
        )
    return trials


def _key(patch: StoredPatch) -> str:
    return noise_key(patch.array, str(patch.metadata["organ"]))


def generated_trials(
    patches: Mapping[str, StoredPatch], *, window_hu: tuple[float, float], seed: int, variants: int
) -> list[Trial]:
    """`variants` trials per patch of a healthy organ, from the generator that the lesion head is trained with.

    None to three lesions of every kind, size and place; what got none, perhaps a distractor, is a negative trial.
    Patches without a voxel of the organ are left out. What a trial holds follows from seed, variant and the
    voxels of the patch alone.
    """
    trials = []
    for name, patch in with_organ(patches).items():
        array = np.asarray(patch.array, dtype=np.float32)
        for variant in range(1, variants + 1):
            rng = generator_of_edit(patch, variant, seed=seed)
            edited = edit_patch(
                array, spacing_mm=patch.grid.spacing_mm, window_hu=window_hu, kinds=tuple(KINDS), rng=rng
            )
            trials.append(
                Trial(
                    name=f"{name}__v{variant}",
                    case=str(patch.metadata["case"]),
                    organ=str(patch.metadata["organ"]),
                    array=edited.array.astype(np.float16),  # as patches are stored
                    grid=patch.grid,
                    lesions=edited.lesions,
                )
            )
    return trials


def drawn_trials(patches: Mapping[str, StoredPatch], reference: Callable[[str], Volume | None]) -> list[Trial]:
    """One trial per patch of a case with a reference; `reference(case)` is the mask of its lesions, or None."""
    by_case: dict[str, Volume | None] = {}
    trials = []
    for name, patch in patches.items():
        case = str(patch.metadata["case"])
        if case not in by_case:
            by_case[case] = reference(case)
        mask = by_case[case]
        if mask is not None:
            lesions = sample_labels_on_grid(mask, patch.grid)[0] > 0
            organ, known = str(patch.metadata["organ"]), np.asarray(lesions)
            trials.append(Trial(name=name, case=case, organ=organ, array=patch.array, grid=patch.grid, lesions=known))
    return trials
