"""Which preprocessed patches train and validate a fold, and with which weak label. Never opens a drawn lesion."""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.organ_labels import EXCLUDED, HEALTHY, UNHEALTHY, read_label_snapshot
from nnanomaly.dataset.patch_store import list_patches, load_patch, read_place
from nnanomaly.dataset.splits import fold_split, load_splits
from nnanomaly.paths import SPLITS_JSON
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.matching import some_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchSet:
    """Patches of one side of a fold."""

    folder: Path
    """Where they lie."""
    names: tuple[str, ...]
    """Sorted names."""
    labels: tuple[str, ...]
    """Weak label of the organ of each patch; organs without one are `unlabelled`."""

    def where(self, *labels: str) -> "PatchSet":
        """The patches with one of these labels."""
        kept = [(name, label) for name, label in zip(self.names, self.labels, strict=True) if label in labels]
        return PatchSet(folder=self.folder, names=tuple(n for n, _ in kept), labels=tuple(w for _, w in kept))

    def loader(self) -> Callable[[int], NDArray[np.floating]]:
        """Function from a position to the patch array `[3, Z, Y, X]`; every file is opened once."""
        arrays = [load_patch(self.folder, name, verify=False).array for name in self.names]
        return lambda index: arrays[index]


def load_fold(preprocessed: Path, data_identifier: str, fold: int | str) -> tuple[PatchSet, PatchSet]:
    """Training and validation patches of a fold; excluded organs are in neither.

    Cases of the fold without any patch, such as those that an interrupted preprocessing did not reach, are named in a
    warning (TRAIN-PATCHES). Raises DataError when nothing was preprocessed, or a side of the fold has no patch.
    """
    folder = preprocessed / data_identifier
    names = list_patches(folder)
    if not names:
        raise DataError("TRAIN-DATA", f"no preprocessed patches in {folder}. Run nnanomaly_plan_and_preprocess first.")
    place = {name: read_place(folder, name) for name in names}
    cases = sorted({case for case, _ in place.values()})
    split = fold_split(load_splits(preprocessed / SPLITS_JSON), fold, cases)
    labels = read_label_snapshot(preprocessed)
    _name_lacking({case for side in split.values() for case in side} - set(cases), labels, folder)
    sides = []
    for side in ("train", "val"):
        chosen = [name for name in names if place[name][0] in set(split[side])]
        words = [labels.get(place[name], "unlabelled") for name in chosen]
        patches = PatchSet(folder=folder, names=tuple(chosen), labels=tuple(words))
        sides.append(patches.where(HEALTHY, UNHEALTHY, "uncertain", "unlabelled"))
        if not sides[-1].names:
            raise DataError("TRAIN-FOLD", f"fold {fold} has no patches to {side} in {folder}. Choose another fold.")
    return sides[0], sides[1]


def _name_lacking(cases: Collection[str], labels: Mapping[tuple[str, str], str], folder: Path) -> None:
    """Warn of cases without patches, but for those whose organs are all excluded."""
    excluded = {case for case, _ in labels} - {case for (case, _), label in labels.items() if label != EXCLUDED}
    lacking = sorted(set(cases) - excluded)
    if lacking:
        logger.warning(
            "[NNA-TRAIN-PATCHES] %d cases of the fold have no patch in %s and take no part: %s. If they should, run "
            "nnanomaly_preprocess, which goes on where it stopped.",
            len(lacking),
            folder,
            some_of(lacking),
        )


def classes_of(patches: PatchSet) -> Sequence[int]:
    """0 for healthy, 1 for unhealthy, as the classifier counts; other labels must have been left out."""
    number = {HEALTHY: 0, UNHEALTHY: 1}
    return [number[label] for label in patches.labels]
