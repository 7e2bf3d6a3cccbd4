"""Predicting a folder of images: which model, which cases, what is written; one bad case does not stop the others."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from nnanomaly import __version__
from nnanomaly.checkpoint import find_folds
from nnanomaly.dataset.raw_dataset import DatasetDescription, list_cases, load_description
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibrated_fold import load_calibrated_fold
from nnanomaly.inference.case_work import CaseWork
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.prediction_files import finished_status, write_folder_documents
from nnanomaly.inference.predictor import FoldModel
from nnanomaly.inference.status_table import INCOMPLETE, Row, status_rows, write_status
from nnanomaly.paths import PLANS_JSON, Paths, calibration_json, check_fold, fold_order
from nnanomaly.plans import Plans, load_plans
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import to_document
from nnanomaly.utilities.pipeline import pipeline

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOptions:
    """What `nnanomaly_predict` may be told."""

    dataset: str | None
    """Name or id; None = the only trained one."""
    folds: tuple[str, ...] | None
    """Folds to average; None = all that are trained and calibrated."""
    plans_name: str
    """Plans of the model."""
    organ_masks: Path | None
    """Folder of organ masks; None = beside the images."""
    checkpoint: str
    """Checkpoint of the ddpm; the other stages are always final."""
    device: str | None
    """Device name."""
    num_parts: int
    """Number of parts the cases are split into."""
    part_id: int
    """This part."""
    continue_prediction: bool
    """Whether complete cases are skipped."""
    num_preprocessing: int = 1
    """Cases that are read and preprocessed while another one is predicted; 0 = one after the other."""
    num_writing: int = 1
    """Cases that are written meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with everything a case needs."""

    dataset: str
    """Dataset it was trained on."""
    description: DatasetDescription
    """Its dataset.json."""
    plans: Plans
    """Its plans."""
    folds: dict[str, FoldModel]
    """Trained folds."""
    provenance: dict[str, Any]
    """Folds, checkpoints and calibration, for predict_from_raw_data_args.json."""


@memory_fault("End other programs on the device or use -device cpu, and go on with --continue_prediction.")
def predict_folder(paths: Paths, images: str, output: Path, options: PredictionOptions) -> list[str]:
    """Predict all cases of a folder; returns the cases that failed or have no organ, now or in the run continued."""
    check_checkpoint(options.checkpoint)
    if not 0 <= options.part_id < options.num_parts:
        raise ConfigurationError(
            "CFG-PARTS", f"-part_id {options.part_id} of -num_parts {options.num_parts}: parts count from 0"
        )
    if min(options.num_preprocessing, options.num_writing) < 0:
        raise ConfigurationError(
            "CFG-NP", f"-npp {options.num_preprocessing} -nps {options.num_writing}: 0 (one after the other), 1, 2, ..."
        )
    dataset = _choose_dataset(paths, options)
    images_folder = _resolve_images(paths, images, dataset)
    _refuse_same_folder(images_folder, output)
    model = _load_model(paths, dataset, options)
    cases = list_cases(images_folder, model.description.file_ending)[options.part_id :: options.num_parts]
    masks_folder = options.organ_masks or _masks_beside(images_folder)
    provenance = {
        "version": __version__,
        "torch_version": torch.__version__,
        "images": str(images_folder),
        "organ_masks": str(masks_folder),
        **model.provenance,
    }
    write_folder_documents(output, model.description, model.plans, provenance, resume=options.continue_prediction)
    work = CaseWork(
        images_folder=images_folder,
        masks_folder=masks_folder,
        output=output,
        description=model.description,
        plans=model.plans,
        models=list(model.folds.values()),
    )
    part = options.part_id if options.num_parts > 1 else None
    rows = _predict_cases(work, cases, options)
    rows = write_status(output, rows, keep_earlier=options.continue_prediction, part=part)
    return sorted({row["case"] for row in rows if row["status"] in INCOMPLETE})


def _predict_cases(work: CaseWork, cases: Sequence[str], options: PredictionOptions) -> list[Row]:
    """Rows of the status table of all cases; with `continue_prediction`, complete ones are not predicted again."""
    ending, resume = work.description.file_ending, options.continue_prediction
    done = {case: finished_status(work.output, case, ending) if resume else None for case in cases}
    rows = [row for case, status in done.items() if status is not None for row in status_rows(case, status)]
    todo = [case for case, status in done.items() if status is None]
    with threadpool_limits(1, user_api="blas"):  # small matrices: threads cost more than they bring
        predicted = pipeline(
            todo,
            prepare=work.prepare,
            compute=work.predict,
            finish=work.write,
            num_preparing=options.num_preprocessing,
            num_finishing=options.num_writing,
        )
        for of_case in tqdm(predicted, desc="predicting", total=len(todo), disable=None):
            rows += of_case
    return sorted(rows, key=lambda row: cases.index(row["case"]))


def _choose_dataset(paths: Paths, options: PredictionOptions) -> str:
    """The named dataset, or the only one with a trained and calibrated ddpm."""
    if options.dataset is not None:
        return paths.dataset_name(options.dataset)
    models = {name: paths.model(name, options.plans_name, "ddpm") for name in sorted(paths.dataset_names())}
    trained = [name for name, model in models.items() if _calibrated_folds(model, options.checkpoint)]
    if not trained:  # a single one that lacks its calibration is told how to get it
        trained = [name for name, model in models.items() if find_folds(model, options.checkpoint)]
    if len(trained) != 1:
        found = ", ".join(trained) or "none"
        raise ConfigurationError(
            "CFG-MODEL",
            f"-d is needed: datasets with a {options.checkpoint} of a ddpm of plans {options.plans_name}: {found}",
        )
    logger.info("using the model of %s", trained[0])
    return trained[0]


def _calibrated_folds(model_folder: Path, checkpoint: str) -> list[str]:
    folds = find_folds(model_folder, checkpoint)
    return [fold for fold in folds if (model_folder / f"fold_{fold}" / calibration_json(checkpoint)).is_file()]


def _resolve_images(paths: Paths, images: str, dataset: str) -> Path:
    """`-i` as given, else as a folder of the raw dataset."""
    if Path(images).is_dir():
        return Path(images)
    candidates = [Path(images)] + ([paths.raw(dataset) / images] if paths.raw_root else [])
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigurationError("CFG-INPUT", f"-i {images} is not a folder (looked in {', '.join(map(str, candidates))})")


def _masks_beside(images_folder: Path) -> Path:
    """`organMasksTs` for `imagesTs`: the folder of masks that belongs to a folder of images."""
    name = images_folder.resolve().name
    suffix = name.removeprefix("images") if name.startswith("images") else ""
    return images_folder.resolve().parent / f"organMasks{suffix}"


def _refuse_same_folder(images_folder: Path, output: Path) -> None:
    inside, outside = output.resolve(), images_folder.resolve()
    if inside == outside or outside in inside.parents:
        raise ConfigurationError(
            "CFG-OUTPUT", f"-o {output} lies in the images folder {images_folder}. Choose another folder."
        )


def _choose_folds(model_folder: Path, dataset: str, options: PredictionOptions) -> list[str]:
    """The folds that were asked for, all of them trained, or those that can predict; in the order of their numbers."""
    trained = find_folds(model_folder, options.checkpoint)
    if options.folds is None:
        if not trained:
            raise ConfigurationError(
                "CFG-MODEL",
                f"no fold with a {options.checkpoint} in {model_folder}. Run: nnanomaly_train {dataset} ddpm",
            )
        return _calibrated_folds(model_folder, options.checkpoint) or trained
    folds = sorted({check_fold(fold) for fold in options.folds}, key=fold_order)
    missing = [fold for fold in folds if fold not in trained]
    if missing:
        raise ConfigurationError(
            "CFG-MODEL",
            f"fold {missing[0]} has no {options.checkpoint} in {model_folder} (folds that have: "
            f"{', '.join(trained) or 'none'}). Run: nnanomaly_train {dataset} ddpm {missing[0]}",
        )
    return folds


def _load_model(paths: Paths, dataset: str, options: PredictionOptions) -> LoadedModel:
    model_folder = paths.model(dataset, options.plans_name, "ddpm")
    folds = _choose_folds(model_folder, dataset, options)
    plans = load_plans(model_folder / PLANS_JSON)
    device = choose_device(options.device)
    models, provenance = {}, {}
    for fold in folds:
        models[fold] = load_calibrated_fold(paths, plans, fold, device, checkpoint=options.checkpoint)
        calibration = models[fold].calibration
        provenance[fold] = {"checkpoints": calibration.checkpoints, "calibration": to_document(calibration)}
    return LoadedModel(
        dataset=dataset,
        description=load_description(model_folder),
        plans=plans,
        folds=models,
        provenance={
            "dataset": dataset,
            "plans_name": plans.plans_name,
            "plans_identity": plans.identity,
            "checkpoint_name": options.checkpoint,
            "device": str(device),
            "inference": to_document(plans.inference),
            "folds": provenance,
        },
    )
