"""Where the predictions of a method lie: flat folders, nnU-Net's `fold_k/validation`, nnDetection's model folders.

Nothing is passed over silently. A missing prediction is an error unless missing ones count as empty; a surplus one is
an error, unless it belongs to a fold that was not asked for, which is said.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnanomaly.baselines.nndetection_boxes import BOXES_PKL_ENDING
from nnanomaly.baselines.nndetection_splits import FOLD_SPLITS_PKL, read_splits
from nnanomaly.evaluation.evaluate_folder import candidates_file, check_complete, files_by_case
from nnanomaly.evaluation.reference_set import ReferenceSet
from nnanomaly.utilities.errors import DataError

Kind = Literal["masks", "boxes"]
TEST_PREDICTIONS, VAL_PREDICTIONS, CONSOLIDATED = "test_predictions", "val_predictions", "consolidated"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionFiles:
    """Files of one prediction."""

    prediction: Path | None
    """Mask or boxes; None counts as empty."""
    candidates: Path | None = None
    """Candidates with scores beside a mask, as `nnanomaly_predict` writes them."""
    probabilities: Path | None = None
    """nnU-Net's probabilities beside a mask (`--save_probabilities`)."""


def find_predictions(
    folder: Path, kind: Kind, reference: ReferenceSet, *, allow_missing: bool = False
) -> dict[str, PredictionFiles]:
    """Files of every case of the reference set. Raises `DataError`: EVAL-FOLDER, EVAL-MISSING, EVAL-EXTRA."""
    ending = BOXES_PKL_ENDING if kind == "boxes" else reference.file_ending
    found: dict[str, Path] = {}
    for cases, chosen in _folders(folder, kind, reference, ending):
        predicted = files_by_case(chosen, ending)
        others = sorted(set(predicted) & reference.others) if cases is None else []
        if others:
            logger.info("%s: %d predictions of cases that are not judged here are left out", chosen, len(others))
        check_complete(
            predicted.keys() - set(others),
            reference.references if cases is None else cases,
            folder=chosen,
            source=reference.folder,
            allow_missing=allow_missing,
        )
        found.update(predicted)
    return {case: _with_neighbours(found.get(case), case, kind) for case in reference.references}


def validation_folder(folder: Path) -> Path | None:
    """Where the validation predictions of a folder of nnDetection's test predictions lie, if they are there."""
    for place in (folder / CONSOLIDATED / VAL_PREDICTIONS, folder / VAL_PREDICTIONS):
        if place.is_dir():
            return place
    beside = folder.parent / VAL_PREDICTIONS
    return beside if folder.name == TEST_PREDICTIONS and beside.is_dir() else None


def predicted_folds(folder: Path, kind: Kind, reference: ReferenceSet) -> list[str]:
    """The folds of which a folder has predictions: it need not have those that were not trained."""
    ending = BOXES_PKL_ENDING if kind == "boxes" else reference.file_ending
    names = {path.name.removesuffix(ending) for path in folder.rglob(f"*{ending}")}
    return [fold for fold, cases in reference.folds.items() if names & set(cases)]


def check_model_splits(folder: Path, reference: ReferenceSet) -> None:
    """Refuse a model of nnDetection that was trained on other folds: `DataError` (SPLIT-CONFLICT), both files named."""
    for place in (folder, folder.parent, folder.parent.parent):
        for path in sorted(place.glob(f"fold*/{FOLD_SPLITS_PKL}")):
            if read_splits(path)[0] != list(reference.splits):
                ours = reference.splits_source or "the default folds of the dataset"
                raise DataError("SPLIT-CONFLICT", f"{path} and {ours} differ. Compare predictions of the same folds.")


def _folders(folder: Path, kind: Kind, reference: ReferenceSet, ending: str) -> list[tuple[Sequence[str] | None, Path]]:
    """The folders that hold the predictions; with the cases that each must have, or None for all."""
    part = VAL_PREDICTIONS if reference.folds else TEST_PREDICTIONS
    flat = [folder, folder / CONSOLIDATED / part, folder / part] if kind == "boxes" else [folder]
    for place in flat:
        if place.is_dir() and any(place.glob(f"*{ending}")):
            return [(None, place)]
    per_fold = {
        fold: folder / (f"fold{fold}/{VAL_PREDICTIONS}" if kind == "boxes" else f"fold_{fold}/validation")
        for fold in reference.folds
    }
    if any(place.is_dir() for place in per_fold.values()):
        return [(reference.folds[fold], place) for fold, place in per_fold.items()]
    places = ", ".join(str(place) for place in [*flat, *per_fold.values()])
    raise DataError("EVAL-FOLDER", f"no predictions that end in {ending} in any of {places}. Name another folder.")


def _with_neighbours(path: Path | None, case: str, kind: Kind) -> PredictionFiles:
    if path is None or kind == "boxes":
        return PredictionFiles(prediction=path)
    probabilities = path.parent / f"{case}.npz"
    return PredictionFiles(
        prediction=path,
        candidates=candidates_file(path.parent, case),
        probabilities=probabilities if probabilities.is_file() else None,
    )
