"""Predicting a folder of images: which model, which cases, what is written; one bad case does not stop the others."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from nnanomaly import __version__
from nnanomaly.dataset.image_folder import name_misnamed
from nnanomaly.dataset.prediction_run import finish_run, start_run
from nnanomaly.dataset.raw_dataset import images_of_no_case, list_cases
from nnanomaly.dataset.splits import fold_split, load_splits
from nnanomaly.device import memory_fault
from nnanomaly.inference.case_check import say_what_cannot_be_checked
from nnanomaly.inference.case_input import masks_beside
from nnanomaly.inference.case_work import CaseWork
from nnanomaly.inference.loaded_model import ModelRequest, choose_dataset, choose_folds, load_model
from nnanomaly.inference.model_documents import description_of_fold
from nnanomaly.inference.prediction_files import finished_status, write_folder_documents
from nnanomaly.inference.status_table import Row, incomplete_cases, status_rows, write_status
from nnanomaly.paths import IMAGES_TR, SPLITS_JSON, VALIDATION, Paths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.matching import partners, some_of
from nnanomaly.utilities.pipeline import pipeline
from nnanomaly.utilities.progress import shown

logger = logging.getLogger(__name__)
REMEDY = "End other programs on the device or use -device cpu, and go on with --continue_prediction."


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
    save_autoencoded: bool = False
    """Whether the image after encoding and decoding alone is written too."""
    num_preprocessing: int = 1
    """Cases that are read and preprocessed while another one is predicted; 0 = one after the other."""
    num_samples: int | None = None
    """Samples of the noise that are averaged; None = as the plans of the model say."""
    num_writing: int = 1
    """Cases that are written meanwhile."""

    @property
    def model(self) -> ModelRequest:
        """Which model predicts."""
        return ModelRequest(
            folds=self.folds, plans_name=self.plans_name, checkpoint=self.checkpoint, device=self.device
        )


@memory_fault(REMEDY)
def predict_folder(paths: Paths, images: str, output: Path, options: PredictionOptions) -> list[str]:
    """Predict all cases of a folder; returns those that failed or have no organ at all, now or in the run continued,
    and the images whose names fit no case."""
    _check(options)
    dataset = choose_dataset(paths, options.dataset, options.model)
    images_folder = _resolve_images(paths, images, dataset)
    _refuse_same_folder(images_folder, output)
    return _predict(paths, dataset, images_folder, output, options)


@memory_fault(REMEDY)
def predict_validation(paths: Paths, options: PredictionOptions) -> list[str]:
    """Predict the validation cases of each fold with that fold alone, into its folder `validation`, where evaluation
    and comparison of folds look for them; returns the cases that failed or have no organ."""
    _check(options)
    dataset = choose_dataset(paths, options.dataset, options.model)
    images, incomplete = paths.raw(dataset) / IMAGES_TR, []
    splits = load_splits(paths.preprocessed(dataset) / SPLITS_JSON)
    for fold in choose_folds(paths, dataset, options.model):
        folder = paths.fold(dataset, options.plans_name, "ddpm", fold)
        cases = list_cases(images, description_of_fold(folder).file_ending)
        one = replace(options, folds=(fold,))
        held_out = fold_split(splits, fold, cases)["val"]
        lost = partners(held_out, cases).missing
        if lost:
            logger.error("fold %s: %s has no images of %s", fold, images, some_of(lost))
            incomplete += lost
        incomplete += _predict(paths, dataset, images, folder / VALIDATION, one, only=held_out)
    return sorted(set(incomplete))


def _check(options: PredictionOptions) -> None:
    if not 0 <= options.part_id < options.num_parts:
        raise ConfigurationError(
            "CFG-PARTS", f"-part_id {options.part_id} of -num_parts {options.num_parts}: parts count from 0"
        )
    if min(options.num_preprocessing, options.num_writing) < 0:
        raise ConfigurationError(
            "CFG-NP", f"-npp {options.num_preprocessing} -nps {options.num_writing}: 0 (one after the other), 1, 2, ..."
        )


def _predict(
    paths: Paths,
    dataset: str,
    images_folder: Path,
    output: Path,
    options: PredictionOptions,
    *,
    only: Sequence[str] | None = None,
) -> list[str]:
    """Load the model, write the folder; `only` names the cases that are predicted, None = all of the folder."""
    model = load_model(paths, dataset, options.model).with_num_samples(options.num_samples)
    found = list_cases(images_folder, model.description.file_ending)
    cases = [case for case in found if only is None or case in only][options.part_id :: options.num_parts]
    masks_folder = options.organ_masks or masks_beside(images_folder)
    provenance = {
        "version": __version__,
        "torch_version": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "images": str(images_folder.absolute()),
        "organ_masks": str(masks_folder.absolute()),
        **model.provenance,
    }
    say_what_cannot_be_checked(model.plans)
    write_folder_documents(output, model.description, model.plans, provenance, resume=options.continue_prediction)
    work = CaseWork(
        images_folder=images_folder,
        masks_folder=masks_folder,
        output=output,
        description=model.description,
        plans=model.plans,
        models=list(model.folds.values()),
        save_autoencoded=options.save_autoencoded,
    )
    part, resume = options.part_id if options.num_parts > 1 else None, options.continue_prediction
    run = start_run(output, cases, part=part, num_parts=options.num_parts, resume=resume)
    rows = _predict_cases(work, cases, options)
    rows = write_status(output, rows, keep_earlier=resume, part=part)
    finish_run(output, run, cases)
    incomplete = incomplete_cases(rows)
    num_absent, num_warned = (sum(test(row) for row in rows) for test in (_is_absent, _is_warned))
    if num_absent or num_warned:
        said = "organs with an empty mask, of which nothing is said: %d; organs with a warning, see status.csv: %d"
        logger.warning(said, num_absent, num_warned)
    num_cases = len({row["case"] for row in rows})
    logger.info("%d cases, %d of them failed or without an organ: %s", num_cases, len(incomplete), output)
    misnamed = images_of_no_case(images_folder, found, model.description) if only is None else []
    if misnamed:
        logger.error("%s", name_misnamed(images_folder, misnamed, model.description.file_ending))
    return incomplete + misnamed


def _is_absent(row: Row) -> bool:
    return row["status"] == "no_roi"


def _is_warned(row: Row) -> bool:
    return bool(row["warnings"]) and not _is_absent(row)


def _predict_cases(work: CaseWork, cases: Sequence[str], options: PredictionOptions) -> list[Row]:
    """Rows of the status table of all cases; with `continue_prediction`, complete ones are not predicted again."""
    ending, resume = work.description.file_ending, options.continue_prediction
    done = {case: finished_status(work.output, case, ending) if resume else None for case in cases}
    rows = [row for case, known in done.items() if known is not None for row in status_rows(case, *known)]
    todo = [case for case, known in done.items() if known is None]
    with threadpool_limits(1, user_api="blas"):  # small matrices: threads cost more than they bring
        predicted = pipeline(
            todo,
            prepare=work.prepare,
            compute=work.predict,
            finish=work.write,
            num_preparing=options.num_preprocessing,
            num_finishing=options.num_writing,
        )
        for of_case in shown(predicted, "predicting", total=len(todo)):
            rows += of_case
    return sorted(rows, key=lambda row: cases.index(row["case"]))


def _resolve_images(paths: Paths, images: str, dataset: str) -> Path:
    """`-i` as given, else as a folder of the raw dataset."""
    if Path(images).is_dir():
        return Path(images)
    candidates = [Path(images)] + ([paths.raw(dataset) / images] if paths.raw_root else [])
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigurationError("CFG-INPUT", f"-i {images} is not a folder (looked in {', '.join(map(str, candidates))})")


def _refuse_same_folder(images_folder: Path, output: Path) -> None:
    inside, outside = output.resolve(), images_folder.resolve()
    if inside == outside or outside in inside.parents:
        raise ConfigurationError(
            "CFG-OUTPUT", f"-o {output} lies in the images folder {images_folder}. Choose another folder."
        )
