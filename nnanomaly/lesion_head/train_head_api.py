"""Training the lesion head of a fold: examples on disk, the loop, and the plans that say that it detects from now on.

Opens patches and weak labels, never a drawn lesion.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnanomaly import __version__
from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, checkpoint_hash, find_folds
from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.dataset.patch_store import load_organ_patch
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.detectors import head_detector
from nnanomaly.inference.load_fold import checkpoints_of_fold, load_trained_fold
from nnanomaly.lesion_head.crops import training_crop
from nnanomaly.lesion_head.example_store import (
    ExampleMaker,
    example_names,
    load_example,
    make_guessed_examples,
    make_training_examples,
    make_validation_examples,
    variant_of,
    with_organ,
)
from nnanomaly.lesion_head.examples import FloatArray
from nnanomaly.lesion_head.head_stage import HELD_OUT, SEEN, HeadStage
from nnanomaly.patch import Patch
from nnanomaly.paths import SUMMARY_JSON, VALIDATION, Paths
from nnanomaly.plans import FELT_BY_NETWORKS, HEAD, RESIDUAL_FIELDS, Plans, TrainingPlan, load_plans, save_plans
from nnanomaly.trained_model import load_head
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.fold_data import PatchSet, load_fold
from nnanomaly.training.loop import fit
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.stage_state import (
    StageState,
    complete_finished,
    refuse_other_begun,
    refuse_other_finished,
    state_of,
)
from nnanomaly.training.trackers import open_tracker, tracked_run
from nnanomaly.training.train_api import (
    KEPT,
    REMEDY,
    TrainingOptions,
    debug_document,
    forget_earlier_run,
    write_model_documents,
)
from nnanomaly.utilities.claim import claimed
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import to_document, write_json

logger = logging.getLogger(__name__)
MAX_VALIDATION_BATCHES = 32
FIRST_ROUND = "first_round"
SECOND_ROUND_RATE = 0.3
"""Share of the learning rate that the second round starts with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRun:
    """What all rounds of a training have in common."""

    paths: Paths
    """Root folders."""
    plans: Plans
    """Plans with the options of the command."""
    fold: int | str
    """Fold."""
    device: torch.device
    """Where it computes."""
    options: TrainingOptions
    """What the command said."""
    extra: dict[str, Any]
    """Goes into every checkpoint."""

    @property
    def folder(self) -> Path:
        """Folder of the fold."""
        return self.paths.fold(self.plans.dataset_name, self.plans.plans_name, HEAD, self.fold)

    @property
    def examples(self) -> Path:
        """Folder of the examples."""
        return self.folder / "examples"


@memory_fault(REMEDY)
def train_head(paths: Paths, dataset: str, *, fold: int | str, plans_name: str, options: TrainingOptions) -> None:
    """Train the head of a fold on a trained ddpm, and make it the detector of the plans.

    A finished head is kept, an interrupted one continued. Raises ConfigurationError (CKPT-MISSING) without a trained
    ddpm, DataError (TRAIN-HEALTHY) without healthy organs on both sides of the fold, and IntegrityError (CKPT-PLANS,
    CKPT-HEAD) for a head of other plans or another ddpm.
    """
    plans = load_plans(paths.plans(dataset, plans_name)).with_training(HEAD, **options.changes)
    train, val = load_fold(paths.preprocessed(dataset), plans.data_identifier, fold)
    device = choose_device(options.device)
    without_head = replace(plans, inference=replace(plans.inference, detector="residual", reduction="none"))
    built_on = {"checkpoints": checkpoints_of_fold(paths, without_head, fold)}
    folder = paths.fold(dataset, plans_name, HEAD, fold)
    if state_of(folder) is StageState.FINISHED:
        refuse_other_finished(folder, identity=plans.identity_of(HEAD), **built_on)
        complete_finished(folder)
        logger.info(KEPT, HEAD, fold)
        if not plans.inference.needs_head:
            _make_detector(paths, dataset, plans_name, fold)
        return
    for begun in (folder, folder / FIRST_ROUND):
        refuse_other_begun(begun, **built_on)
    healthy, held_out, unhealthy = _organs(train, HEALTHY), _organs(val, HEALTHY), _organs(train, UNHEALTHY)
    _require_healthy(healthy, held_out)
    trained = load_trained_fold(paths, without_head, fold, device)
    maker = ExampleMaker(
        reconstruct=trained.reconstruct, plans=plans, identity=_identity_of_examples(plans, trained.checkpoints)
    )
    extra = {"plans_identity": plans.identity_of(HEAD), **built_on, "stage": HEAD, "version": __version__}
    run = HeadRun(paths=paths, plans=plans, fold=fold, device=device, options=options, extra=extra)
    with claimed(run.folder):
        statistics = make_training_examples(run.examples / "train", healthy, maker)
        make_validation_examples(run.examples / "val", held_out, statistics, maker)
        if plans.head.self_training_iterations and unhealthy:
            _train_twice(run, unhealthy, statistics, maker)
        else:
            _fit(run, run.folder, _synthetic(run), plans.head.training, start=None)
    write_model_documents(paths, plans, HEAD)
    _make_detector(paths, dataset, plans_name, fold)


def _identity_of_examples(plans: Plans, checkpoints: Mapping[str, str]) -> dict[str, Any]:
    """Everything that examples depend on; the network that learns from them is none of it."""
    inference = {name: to_document(getattr(plans.inference, name)) for name in (*FELT_BY_NETWORKS, *RESIDUAL_FIELDS)}
    return {
        "plans_identity": plans.identity_of("ddpm"),
        "checkpoints": dict(checkpoints),
        "inference": inference,
        "variants_per_patch": plans.head.variants_per_patch,
        "held_out_kinds": list(plans.head.held_out_kinds),
        "seed": plans.head.training.seed,
    }


def _organs(side: PatchSet, label: str) -> dict[str, Patch]:
    names = side.where(label).names
    return with_organ({name: load_organ_patch(side.folder, name) for name in names})


def _require_healthy(train: Mapping[str, Patch], val: Mapping[str, Patch]) -> None:
    if not train or not val:
        raise DataError(
            "TRAIN-HEALTHY",
            f"the lesion head needs healthy organs: this fold has {len(train)} patches of such to train and {len(val)} "
            "to validate. Label more in organ_labels.csv, or choose another fold.",
        )


def _train_twice(
    run: HeadRun, unhealthy: Mapping[str, Patch], statistics: ResidualStatistics, maker: ExampleMaker
) -> None:
    """A round on inserted lesions, then one on these and on what the first sees in unhealthy organs."""
    plan, first = run.plans.head, run.folder / FIRST_ROUND
    if not (first / FINAL).is_file():
        _fit(run, first, _synthetic(run), plan.training, start=None)
    head = load_head(first, run.plans, run.device)
    detect = head_detector(head, run.plans, run.device)
    again = replace(maker, identity={**maker.identity, "first_round": checkpoint_hash(first / FINAL)})
    make_guessed_examples(run.examples / "unhealthy", unhealthy, statistics, again, detect)
    training = replace(
        plan.training,
        num_iterations=plan.self_training_iterations,
        learning_rate=SECOND_ROUND_RATE * plan.training.learning_rate,
    )
    _fit(run, run.folder, _mixed(run), training, start=head.state_dict())


def _augment(run: HeadRun) -> Callable[[FloatArray, np.random.Generator], FloatArray]:
    """Crop, weigh and mirror as the plans say."""
    plan, spacing = run.plans.head, run.plans.preprocessing.spacing_mm
    edge_mm = plan.crop_mm
    divisor = 2 ** (len(plan.widths) - 1)
    z, y, x = (max(1, round(edge_mm / s / divisor)) * divisor for s in spacing)
    return partial(
        training_crop,
        spacing_mm=spacing,
        crop_size=(z, y, x) if edge_mm else None,
        augmentation=plan.augmentation,
    )


def _synthetic(run: HeadRun) -> PatchBatches:
    """Inserted lesions alone."""
    folder, training = run.examples / "train", run.plans.head.training
    names = example_names(folder)
    return PatchBatches(
        lambda index: load_example(folder, names[index]),
        [SEEN] * len(names),
        training.batch_size,
        training.seed,
        _augment(run),
    )


def _mixed(run: HeadRun) -> PatchBatches:
    """Inserted and guessed lesions, equally often."""
    training = run.plans.head.training
    files = [
        (run.examples / side, name) for side in ("train", "unhealthy") for name in example_names(run.examples / side)
    ]
    labels = [int(folder.name == "unhealthy") for folder, _ in files]
    return PatchBatches(
        lambda index: load_example(*files[index]),
        labels,
        training.batch_size,
        training.seed,
        _augment(run),
        balanced=True,
    )


def _fit(
    run: HeadRun, folder: Path, dataset: PatchBatches, training: TrainingPlan, *, start: Mapping[str, Tensor] | None
) -> None:
    """Train into a folder, from given weights or anew."""
    plans, options = run.plans, run.options
    torch.manual_seed(training.seed)
    network = build_head(plans)
    if start is not None:
        network.load_state_dict(start)
    workers = options.num_workers if options.num_workers is not None else (0 if run.device.type == "cpu" else 4)
    if not find_folds(run.paths.model(plans.dataset_name, plans.plans_name, HEAD)):
        write_model_documents(run.paths, plans, HEAD)
    begun = state_of(folder) is StageState.BEGUN
    if not begun:
        forget_earlier_run(folder)
    document = debug_document(plans, HEAD, run.fold, run.device, options)
    write_json(folder / "debug.json", document)
    logger.info("training head, fold %s: %d iterations on %s", run.fold, training.num_iterations, run.device)
    result = fit(
        HeadStage(network, replace(plans.head, training=training), device=run.device),
        batch_source(dataset, num_workers=workers),
        plan=training,
        run_dir=folder,
        validation=_validation_batches(run.examples / "val", training.batch_size),
        extra=run.extra,
        resume=begun or options.resume,
        tracker=open_tracker(options.tracker, tracked_run(folder, document)),
    )
    write_json(folder / VALIDATION / SUMMARY_JSON, result)


def _validation_batches(folder: Path, batch_size: int) -> list[Batch]:
    names = example_names(folder)
    labels = [HELD_OUT if variant_of(folder, name) == 2 else SEEN for name in names]
    dataset = PatchBatches(lambda index: load_example(folder, names[index]), labels, batch_size, 0, unchanged)
    return fixed_batches(dataset, MAX_VALIDATION_BATCHES)


def _make_detector(paths: Paths, dataset: str, plans_name: str, fold: int | str) -> None:
    """Let the plans detect with the head from now on, alone or beside the residual as they say already; a reducer
    would know the old maps."""
    plans = load_plans(paths.plans(dataset, plans_name))
    detector = plans.inference.detector if plans.inference.needs_head else HEAD
    reasons = {**plans.reasons, "inference.detector": f"the lesion head of fold {fold} was trained"}
    save_plans(
        paths.plans(dataset, plans_name),
        replace(plans, inference=replace(plans.inference, detector=detector, reduction="none"), reasons=reasons),
    )
