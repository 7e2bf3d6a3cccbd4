"""The cases that predictions are judged on, with their reference label maps: the test set, or validation cases."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.organ_labels import patient_groups
from nnanomaly.dataset.raw_dataset import find_cases
from nnanomaly.dataset.splits import Split, find_splits, validation_cases
from nnanomaly.evaluation.evaluate_folder import files_by_case
from nnanomaly.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, LABELS_TR, LABELS_TS, ORGAN_LABELS_CSV, Paths
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import read_json
from nnanomaly.utilities.matching import partners, some_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceSet:
    """Cases with their references."""

    references: dict[str, Path]
    """Label map of each case, sorted by case."""
    folder: Path
    """Where the label maps lie."""
    file_ending: str
    """Their ending."""
    folds: dict[str, list[str]]
    """Validation cases of each fold asked for; empty for the test set."""
    others: frozenset[str] = frozenset()
    """Cases of the dataset that are not judged here, though a folder of predictions may hold them."""
    splits: tuple[Split, ...] = ()
    """All folds of the dataset; empty for the test set."""
    splits_source: Path | None = None
    """The file they come from; None: the default folds."""


def test_set(paths: Paths, dataset: str) -> ReferenceSet:
    """The cases of `labelsTs`. Raises `DataError` (EVAL-FOLDER) if there are none.

    Images without a label map, and label maps without images, are named.
    """
    raw = paths.raw(dataset)
    ending = _file_ending(raw)
    references = dict(files_by_case(raw / LABELS_TS, ending))
    if not references:
        raise DataError("EVAL-FOLDER", f"{raw / LABELS_TS} has no files that end in {ending}. Name folds with -f.")
    beside = partners(references, find_cases(raw / IMAGES_TS, ending))
    if beside.surplus:
        logger.warning("%s has no label maps of %s: not judged", raw / LABELS_TS, some_of(beside.surplus))
    if beside.missing:
        logger.warning("%s has no images of %s, which have label maps", raw / IMAGES_TS, some_of(beside.missing))
    return ReferenceSet(references=references, folder=raw / LABELS_TS, file_ending=ending, folds={})


def validation_set(paths: Paths, dataset: str, folds: Sequence[str] | None = None) -> ReferenceSet:
    """The validation cases of some folds, or of all.

    Cases without a label map are named and left out. Raises `DataError` (SPLIT-*, EVAL-FOLDER) and
    `ConfigurationError` (CFG-FOLD).
    """
    raw = paths.raw(dataset)
    ending = _file_ending(raw)
    cases = find_cases(raw / IMAGES_TR, ending)
    splits, source = dataset_splits(paths, dataset)
    chosen = [str(fold) for fold in range(len(splits))] if folds is None else list(folds)
    of_fold = validation_cases(splits, chosen, cases)
    labels = files_by_case(raw / LABELS_TR, ending)
    wanted = sorted({case for of_one in of_fold.values() for case in of_one})
    unlabelled = [case for case in wanted if case not in labels]
    if unlabelled:
        logger.warning("%s has no label maps of %s: left out", raw / LABELS_TR, some_of(unlabelled))
    references = {case: labels[case] for case in wanted if case in labels}
    if not references:
        raise DataError("EVAL-FOLDER", f"{raw / LABELS_TR} has no label map of the folds {chosen}. Add them.")
    return ReferenceSet(
        references=references,
        folder=raw / LABELS_TR,
        file_ending=ending,
        folds={fold: [case for case in of_one if case in references] for fold, of_one in of_fold.items()},
        others=frozenset(cases) - set(references),
        splits=tuple(splits),
        splits_source=source,
    )


def dataset_splits(paths: Paths, dataset: str) -> tuple[list[Split], Path | None]:
    """The folds of a dataset and their file. Raises `DataError`: SPLIT-*."""
    raw = paths.raw(dataset)
    preprocessed = paths.preprocessed_root / dataset if paths.preprocessed_root else None
    groups = patient_groups(raw) if (raw / ORGAN_LABELS_CSV).is_file() else {}
    return find_splits(raw, preprocessed, cases=find_cases(raw / IMAGES_TR, _file_ending(raw)), groups=groups)


def _file_ending(raw: Path) -> str:
    document = read_json(raw / DATASET_JSON)
    ending = document.get("file_ending") if isinstance(document, dict) else None
    if not isinstance(ending, str) or not ending:
        raise DataError("DATA-JSON", f'{raw / DATASET_JSON} needs "file_ending": ".nii.gz". Add it.')
    return ending
