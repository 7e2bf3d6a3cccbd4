"""Training the lesion head of a fold: examples on disk, the loop, and the plans that say that it detects from now on.

Opens patches of organs that are labelled healthy, and nothing else: no drawn lesion, no unhealthy organ.
"""

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from nnanomaly import __version__
from nnanomaly.build import build_head
from nnanomaly.dataset.organ_labels import HEALTHY
from nnanomaly.dataset.patch_store import StoredPatch, load_patch
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.fold_model import load_trained_fold
from nnanomaly.lesion_head.example_store import (
    ExampleMaker,
    example_names,
    load_example,
    make_training_examples,
    make_validation_examples,
    variant_of,
    with_organ,
)
from nnanomaly.lesion_head.examples import flipped
from nnanomaly.lesion_head.head_stage import HELD_OUT, SEEN, HeadStage
from nnanomaly.paths import DATASET_JSON, PLANS_JSON, SUMMARY_JSON, Paths
from nnanomaly.plans import HEAD, Plans, load_plans, save_plans
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.fold_data import PatchSet, load_fold
from nnanomaly.training.loop import fit
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.train_api import REMEDY, TrainingOptions, debug_document, forget_earlier_run
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import write_json

logger = logging.getLogger(__name__)
MAX_VALIDATION_BATCHES = 32


@memory_fault(REMEDY)
def train_head(paths: Paths, dataset: str, *, fold: int | str, plans_name: str, options: TrainingOptions) -> None:
    """Train the head of a fold on a trained ddpm, and make it the detector of the plans.

    Raises ConfigurationError (CKPT-MISSING) without a trained ddpm, DataError (TRAIN-HEALTHY) without healthy organs on
    both sides of the fold.
    """
    plans = load_plans(paths.plans(dataset, plans_name)).with_training(HEAD, **options.changes)
    train, val = (_healthy(side) for side in load_fold(paths.preprocessed(dataset), plans.data_identifier, fold))
    if not train or not val:
        raise DataError(
            "TRAIN-HEALTHY",
            f"the lesion head needs healthy organs: this fold has {len(train)} patches of such to train and {len(val)} "
            "to validate. Label more in organ_labels.csv, or choose another fold.",
        )
    device = choose_device(options.device)
    folder = paths.fold(dataset, plans_name, HEAD, fold)
    without_head = replace(plans, inference=replace(plans.inference, detector="residual"))
    trained = load_trained_fold(paths, without_head, fold, device)
    identity = {"plans_identity": plans.identity_of(HEAD), "checkpoints": trained.checkpoints}
    maker = ExampleMaker(reconstruct=trained.reconstruct, plans=plans, identity=identity)
    if not options.resume:
        forget_earlier_run(folder)
    examples = folder / "examples"
    statistics = make_training_examples(examples / "train", train, maker)
    make_validation_examples(examples / "val", val, statistics, maker)
    extra = {**identity, "stage": HEAD, "version": __version__}
    _fit(paths, plans, fold, folder, device, options, extra)
    detecting = replace(
        load_plans(paths.plans(dataset, plans_name)),
        inference=replace(plans.inference, detector="head"),
    )
    reason = {"inference.detector": f"the lesion head of fold {fold} was trained"}
    save_plans(paths.plans(dataset, plans_name), replace(detecting, reasons={**detecting.reasons, **reason}))


def _healthy(side: PatchSet) -> dict[str, StoredPatch]:
    names = side.where(HEALTHY).names
    return with_organ({name: load_patch(side.folder, name, verify=False) for name in names})


def _fit(
    paths: Paths,
    plans: Plans,
    fold: int | str,
    folder: Path,
    device: torch.device,
    options: TrainingOptions,
    extra: dict[str, Any],
) -> None:
    training, examples = plans.head.training, folder / "examples"
    names = example_names(examples / "train")
    dataset = PatchBatches(
        lambda index: load_example(examples / "train", names[index]),
        [SEEN] * len(names),
        training.batch_size,
        training.seed,
        flipped,
    )
    torch.manual_seed(training.seed)
    stage = HeadStage(build_head(plans), plans.head, device=device)
    workers = options.num_workers if options.num_workers is not None else (0 if device.type == "cpu" else 4)
    model = paths.model(plans.dataset_name, plans.plans_name, HEAD)
    save_plans(model / PLANS_JSON, plans)
    shutil.copyfile(paths.preprocessed(plans.dataset_name) / DATASET_JSON, model / DATASET_JSON)
    write_json(folder / "debug.json", debug_document(plans, HEAD, fold, device, options))
    logger.info("training head, fold %s: %d iterations on %s", fold, training.num_iterations, device)
    result = fit(
        stage,
        batch_source(dataset, num_workers=workers),
        plan=training,
        run_dir=folder,
        validation=_validation_batches(examples / "val", training.batch_size),
        extra=extra,
        resume=options.resume,
    )
    write_json(folder / "validation" / SUMMARY_JSON, result)


def _validation_batches(folder: Path, batch_size: int) -> list[Batch]:
    names = example_names(folder)
    labels = [HELD_OUT if variant_of(folder, name) == 2 else SEEN for name in names]
    dataset = PatchBatches(lambda index: load_example(folder, names[index]), labels, batch_size, 0, unchanged)
    return fixed_batches(dataset, MAX_VALIDATION_BATCHES)
