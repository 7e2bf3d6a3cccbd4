"""Making the examples of a fold once and keeping them on disk: every reconstruction is paid for a single time.

Which example has which lesions follows from (seed, voxels of the patch, variant) alone; what is there already and
belongs to the same networks is kept, so that a run that was stopped goes on where it was.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from nnanomaly.arrays import FloatArray
from nnanomaly.dataset.patch_store import list_patches, load_patch, read_variant, save_patch
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.look import look, noise_key
from nnanomaly.inference.patch_map import healthy_statistics
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.lesion_head.examples import WEIGHT, training_example, vary_patch
from nnanomaly.lesion_head.self_training import guess_lesions
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans
from nnanomaly.synthesis.kinds import KINDS
from nnanomaly.synthesis.patch_editing import EditedPatch, edit_patch
from nnanomaly.utilities.json_io import read_document, read_json, to_document, write_json
from nnanomaly.utilities.progress import all_shown

logger = logging.getLogger(__name__)
STATISTICS_JSON = "residual_statistics.json"
GENERATOR_VERSION = 3
"""Counts up when the generator of lesions changes, so that old examples are not mixed with new ones."""


class StoredStatistics(TypedDict):
    """Content of residual_statistics.json."""

    of: dict[str, Any]
    """What they follow from."""
    statistics: ResidualStatistics
    """The statistics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleMaker:
    """Everything an example depends on besides its patch."""

    reconstruct: Reconstructor
    """Patches to healthy reconstructions."""
    plans: Plans
    """Preprocessing, inference and head."""
    identity: Mapping[str, Any]
    """Checkpoints behind `reconstruct` and whatever else must be the same for an example to be used again."""


def make_training_examples(folder: Path, patches: Mapping[str, Patch], maker: ExampleMaker) -> ResidualStatistics:
    """Fill `folder` with one unedited and `variants_per_patch` edited examples of every patch; returns the statistics
    of the residuals of the unedited ones, which every example's z-score refers to."""
    _forget_others(folder, maker)
    kinds = [kind for kind in KINDS if kind not in maker.plans.head.held_out_kinds]
    count = maker.plans.head.variants_per_patch
    logger.info("painting on and reconstructing %d healthy patches (variants of each: %d)", len(patches), count + 1)
    statistics = _statistics(folder, patches, maker)
    for name, patch in all_shown(patches.items(), "examples"):
        for variant in range(count + 1):
            _ensure(folder, name, patch, variant, kinds if variant else [], statistics, maker)
    return statistics


def make_validation_examples(
    folder: Path, patches: Mapping[str, Patch], statistics: ResidualStatistics, maker: ExampleMaker
) -> None:
    """Fill `folder` with one example of the kinds that are trained on (variant 1) and one of those that are not (2)."""
    _forget_others(folder, maker)
    held_out = maker.plans.head.held_out_kinds
    seen = [kind for kind in KINDS if kind not in held_out]
    for name, patch in all_shown(patches.items(), "validation examples"):
        for variant, kinds in ((1, seen), (2, list(held_out))):
            if kinds:
                _ensure(folder, name, patch, variant, kinds, statistics, maker)


def make_guessed_examples(
    folder: Path,
    patches: Mapping[str, Patch],
    statistics: ResidualStatistics,
    maker: ExampleMaker,
    detect: Detector,
) -> None:
    """Fill `folder` with an example of every unhealthy organ, whose lesions are what `detect` sees in it."""
    _forget_others(folder, maker)
    window = maker.plans.preprocessing.window_hu
    for name, patch in all_shown(patches.items(), "unhealthy organs"):
        if (folder / f"{name}.json").is_file():
            continue
        seen = look(patch, maker.reconstruct, maker.plans)
        guess = guess_lesions(detect(seen, statistics))
        example = training_example(seen, statistics, guess.lesions, window_hu=window)
        example[WEIGHT] *= guess.counts
        save_patch(folder, name, example, metadata={"grid": to_document(patch.grid), "variant": 0, "kinds": []})


def load_example(folder: Path, name: str) -> FloatArray:
    """An example `[6, Z, Y, X]`, mapped from disk."""
    return load_patch(folder, name, verify=False).array  # type: ignore[return-value]


def variant_of(folder: Path, name: str) -> int:
    """Number of the variant of a stored example."""
    return read_variant(folder, name)


def with_organ(patches: Mapping[str, Patch]) -> dict[str, Patch]:
    """Patches that hold a voxel of their organ; tiles beside it have no place for a lesion."""
    return {name: patch for name, patch in patches.items() if np.any(patch.inside)}


def _forget_others(folder: Path, maker: ExampleMaker) -> None:
    """Delete examples that other networks or another generator made."""
    path, wanted = folder.parent / f"{folder.name}.json", {**maker.identity, "generator": GENERATOR_VERSION}
    if path.is_file() and read_json(path) == wanted:
        return
    for stale in (*folder.glob("*.json"), *folder.glob("*.npy")):  # documents first: they vouch for the arrays
        stale.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, wanted)


def _statistics(folder: Path, patches: Mapping[str, Patch], maker: ExampleMaker) -> ResidualStatistics:
    path = folder.parent / STATISTICS_JSON
    wanted = {"identity": dict(maker.identity), "patches": sorted(patches)}
    if path.is_file():
        document = read_document(path, StoredStatistics, remedy="Delete the file: it is measured anew.")
        if document["of"] == wanted:
            return document["statistics"]
    residuals = [
        look(patch, maker.reconstruct, maker.plans).residual
        for patch in all_shown(list(patches.values()), "healthy residuals")
    ]
    statistics = healthy_statistics(residuals, maker.plans.inference)
    write_json(path, {"of": wanted, "statistics": to_document(statistics)})
    return statistics


def _ensure(
    folder: Path,
    name: str,
    patch: Patch,
    variant: int,
    kinds: Sequence[str],
    statistics: ResidualStatistics,
    maker: ExampleMaker,
) -> None:
    """Make and store an example unless it is there."""
    example_name = f"{name}__v{variant}"
    if (folder / f"{example_name}.json").is_file():
        return
    edited = edited_patch(patch, variant, kinds, maker.plans)
    seen, window = look(edited.patch, maker.reconstruct, maker.plans), maker.plans.preprocessing.window_hu
    example = training_example(seen, statistics, edited.lesions, window_hu=window)
    metadata = {"grid": to_document(patch.grid), "variant": variant, "kinds": list(edited.kinds)}
    save_patch(folder, example_name, example, metadata=metadata)


def edited_patch(patch: Patch, variant: int, kinds: Sequence[str], plans: Plans) -> EditedPatch:
    """The patch as it is (without kinds), or varied and with lesions."""
    if not kinds:
        whole = patch.with_array(np.asarray(patch.array, dtype=np.float32))
        return EditedPatch(patch=whole, lesions=np.zeros(patch.grid.shape, dtype=bool), kinds=())
    rng = generator_of_edit(patch, variant, seed=plans.head.training.seed)
    return vary_patch(edit_patch(patch, window_hu=plans.preprocessing.window_hu, kinds=kinds, rng=rng), rng)


def generator_of_edit(patch: Patch, variant: int, *, seed: int) -> np.random.Generator:
    """What draws the lesions of a variant of a patch: it depends on the patch's voxels, on its organ and on these."""
    return np.random.default_rng((seed, variant, int(noise_key(patch), 16)))


def example_names(folder: Path) -> list[str]:
    """Names of all examples of a folder, sorted."""
    return list_patches(folder)
