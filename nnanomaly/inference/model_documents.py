"""Which plans and which dataset.json a calibrated fold predicts with, whatever other folds are trained beside it.

The plans stand in the calibration itself, so that one rename changes both. Files beside the folds (`plans.json`,
`dataset.json`) are those of the fold that was calibrated last; older folds, which have nothing else, get their own
before these are replaced.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from nnanomaly.checkpoint import BEST, FINAL, LATEST
from nnanomaly.dataset.raw_dataset import DatasetDescription, load_description
from nnanomaly.inference.calibration import Calibration
from nnanomaly.paths import DATASET_JSON, PLANS_JSON, Paths, calibration_json
from nnanomaly.plans import Plans, load_plans, save_plans, training_command
from nnanomaly.stages import planned_networks
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.files import copy_atomically
from nnanomaly.utilities.json_io import read_document, to_document, write_json


def load_calibration(
    path: Path, *, remedy: str = "Calibrate the fold again (nnanomaly_train ... --val)."
) -> Calibration:
    """Read a calibration; `DataError` (JSON) with the remedy for what is none."""
    return read_document(path, Calibration, remedy=remedy)


def plans_of_fold(fold_folder: Path, checkpoint: str) -> Plans:
    """The plans a fold of a ddpm predicts with: those of its calibration, else those beside the folds."""
    path = fold_folder / calibration_json(checkpoint)
    plans = load_calibration(path).plans if path.is_file() else None
    return plans or load_plans(fold_folder.parent / PLANS_JSON)


def description_of_fold(fold_folder: Path) -> DatasetDescription:
    """The dataset.json a fold of a ddpm predicts with: its own, else that beside the folds."""
    own = (fold_folder / DATASET_JSON).is_file()
    return load_description(fold_folder if own else fold_folder.parent)


def predict_alike(one: Plans, other: Plans) -> bool:
    """Whether two plans make the same of a scan; lengths of trainings and reasons have no say."""
    stages = planned_networks(one.inference)
    return one.inference == other.inference and one.identity_of(*stages) == other.identity_of(*stages)


def refuse_mixed_plans(plans: Mapping[str, Plans]) -> Plans:
    """The plans that all folds (by name) predict with; ConfigurationError (CFG-MIXED) where they differ."""
    first, *others = plans
    different = [fold for fold in others if not predict_alike(plans[first], plans[fold])]
    if different:
        names = plans[first].dataset_name, plans[first].plans_name
        command = training_command(names[0], "ddpm", different[0], plans_name=names[1])
        raise ConfigurationError(
            "CFG-MIXED",
            f"folds {first} and {different[0]} were calibrated with different plans, so their maps have no mean. Name "
            f"those that belong together, such as -f {first}, or calibrate fold {different[0]} with the plans of now: "
            f"{command} --val",
        )
    return plans[first]


def record_documents(paths: Paths, plans: Plans, fold: int | str) -> None:
    """Write plans.json and dataset.json beside the folds of the ddpm, once every fold has what it predicts with."""
    model = paths.model(plans.dataset_name, plans.plans_name, "ddpm")
    beside = model / PLANS_JSON
    if not beside.is_file() or load_plans(beside) != plans:
        seal_plans(model)
        save_plans(beside, plans)
    source, own = paths.preprocessed(plans.dataset_name) / DATASET_JSON, model / f"fold_{fold}" / DATASET_JSON
    if not source.is_file():
        return
    if not _same_bytes(source, model / DATASET_JSON):
        seal_descriptions(model)
        copy_atomically(source, model / DATASET_JSON)
    if own.is_file():
        copy_atomically(source, own)


def seal_plans(model: Path) -> None:
    """Give every calibration of a ddpm the plans beside the folds, if it has none of its own.

    Changes nothing that is predicted, so it may end at any moment; so does the next one.
    """
    beside = model / PLANS_JSON
    for path in _calibrations(model) if beside.is_file() else ():
        calibration = load_calibration(path)
        if calibration.plans is None:
            write_json(path, to_document(replace(calibration, plans=load_plans(beside))))


def seal_descriptions(model: Path) -> None:
    """Give every calibrated fold of a ddpm the dataset.json beside the folds, if it has none of its own."""
    beside = model / DATASET_JSON
    for path in _calibrations(model) if beside.is_file() else ():
        if not (path.parent / DATASET_JSON).is_file():
            copy_atomically(beside, path.parent / DATASET_JSON)


def _same_bytes(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _calibrations(model: Path) -> Iterator[Path]:
    for checkpoint in (FINAL, BEST, LATEST):
        yield from sorted(model.glob(f"fold_*/{calibration_json(checkpoint)}"))
