"""What the lesion head of a fold trains on: examples on disk, one round or two, and the plans that detect with it then.

Opens patches and weak labels, never a drawn lesion.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nnanomaly.arrays import FloatArray
from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, checkpoint_hash
from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.dataset.patch_store import load_organ_patch
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.detectors import head_detector
from nnanomaly.inference.load_fold import load_trained_fold
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
from nnanomaly.lesion_head.head_stage import HELD_OUT, SEEN, HeadStage
from nnanomaly.patch import Patch
from nnanomaly.plans import FELT_BY_NETWORKS, RESIDUAL_FIELDS, Plans, TrainingPlan, load_plans, save_plans
from nnanomaly.stages import HEAD
from nnanomaly.trained_model import load_head
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged
from nnanomaly.training.fold_data import PatchSet
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.stage_run import StageRun, StageSetup, fit_into
from nnanomaly.training.stage_state import EXAMPLES, refuse_other_begun
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import to_document

MAX_VALIDATION_BATCHES = 32
FIRST_ROUND = "first_round"
SECOND_ROUND_RATE = 0.3
"""Share of the learning rate that the second round starts with."""


def setup_head(run: StageRun) -> StageSetup:
    """Examples with inserted lesions on healthy organs; with self-training, a first round on these and then both.

    Raises DataError (TRAIN-HEALTHY) without healthy organs on both sides of the fold, and IntegrityError (CKPT-HEAD)
    for a first round on another ddpm.
    """
    refuse_other_begun(run.folder / FIRST_ROUND, **run.links())
    train, held_out = _organs(run.train, HEALTHY), _organs(run.val, HEALTHY)
    unhealthy = _organs(run.train, UNHEALTHY)
    _require_healthy(train, held_out)
    inference = replace(run.plans.inference, detector="residual", reduction="none")
    trained = load_trained_fold(run.paths, replace(run.plans, inference=inference), run.fold, run.device)
    identity = _identity_of_examples(run.plans, trained.checkpoints)
    maker = ExampleMaker(reconstruct=trained.reconstruct, plans=run.plans, identity=identity)
    examples = run.folder / EXAMPLES
    statistics = make_training_examples(examples / "train", train, maker)
    make_validation_examples(examples / "val", held_out, statistics, maker)
    if run.plans.head.self_training_iterations and unhealthy:
        return _second_round(run, unhealthy, statistics, maker)
    return _setup(run, _synthetic(run), run.plans.head.training)


def finish_head(run: StageRun, *, kept: bool) -> None:
    """Let the plans detect with a head that was trained, or with one that was kept if they do not yet."""
    if not kept or not run.plans.inference.needs_head:
        _make_detector(run)


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


def _second_round(
    run: StageRun, unhealthy: Mapping[str, Patch], statistics: ResidualStatistics, maker: ExampleMaker
) -> StageSetup:
    """The first round fits inserted lesions alone; this one goes on with what it sees in unhealthy organs as well."""
    plan, first = run.plans.head, run.folder / FIRST_ROUND
    if not (first / FINAL).is_file():
        fit_into(first, run, _setup(run, _synthetic(run), plan.training))
    head = load_head(first, run.plans, run.device)
    detect = head_detector(head, run.plans, run.device)
    again = replace(maker, identity={**maker.identity, "first_round": checkpoint_hash(first / FINAL)})
    make_guessed_examples(run.folder / EXAMPLES / "unhealthy", unhealthy, statistics, again, detect)
    training = replace(
        plan.training,
        num_iterations=plan.self_training_iterations,
        learning_rate=SECOND_ROUND_RATE * plan.training.learning_rate,
    )
    return _setup(run, _mixed(run), training, start=head.state_dict())


def _augment(run: StageRun) -> Callable[[FloatArray, np.random.Generator], FloatArray]:
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


def _synthetic(run: StageRun) -> PatchBatches:
    """Inserted lesions alone."""
    folder, training = run.folder / EXAMPLES / "train", run.plans.head.training
    names = example_names(folder)
    return PatchBatches(
        lambda index: load_example(folder, names[index]),
        [SEEN] * len(names),
        training.batch_size,
        training.seed,
        _augment(run),
    )


def _mixed(run: StageRun) -> PatchBatches:
    """Inserted and guessed lesions, equally often."""
    training = run.plans.head.training
    folders = [run.folder / EXAMPLES / side for side in ("train", "unhealthy")]
    files = [(folder, name) for folder in folders for name in example_names(folder)]
    labels = [int(folder.name == "unhealthy") for folder, _ in files]
    return PatchBatches(
        lambda index: load_example(*files[index]),
        labels,
        training.batch_size,
        training.seed,
        _augment(run),
        balanced=True,
    )


def _setup(
    run: StageRun, dataset: PatchBatches, training: TrainingPlan, *, start: Mapping[str, Tensor] | None = None
) -> StageSetup:
    """A round from given weights, or anew."""
    torch.manual_seed(training.seed)
    network = build_head(run.plans)
    if start is not None:
        network.load_state_dict(start)
    return StageSetup(
        stage=HeadStage(network, replace(run.plans.head, training=training), device=run.device),
        training=training,
        batches=batch_source(dataset, num_workers=run.num_workers),
        validation=_validation_batches(run.folder / EXAMPLES / "val", training.batch_size),
        facts={},
    )


def _validation_batches(folder: Path, batch_size: int) -> list[Batch]:
    names = example_names(folder)
    labels = [HELD_OUT if variant_of(folder, name) == 2 else SEEN for name in names]
    dataset = PatchBatches(lambda index: load_example(folder, names[index]), labels, batch_size, 0, unchanged)
    return fixed_batches(dataset, MAX_VALIDATION_BATCHES)


def _make_detector(run: StageRun) -> None:
    """Let the plans detect with the head from now on, alone or beside the residual as they say already; a reducer
    would know the old maps."""
    path = run.paths.plans(run.plans.dataset_name, run.plans.plans_name)
    plans = load_plans(path)
    detector = plans.inference.detector if plans.inference.needs_head else HEAD
    reasons = {**plans.reasons, "inference.detector": f"the lesion head of fold {run.fold} was trained"}
    inference = replace(plans.inference, detector=detector, reduction="none")
    save_plans(path, replace(plans, inference=inference, reasons=reasons))
