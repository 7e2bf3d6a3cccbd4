"""One stage of one fold that is being trained: where it lies, what it is built on, and how a setup is fitted into it.

This is the same for every stage; what differs is the setup, which the table of stages names.
"""

import logging
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nnanomaly import __version__
from nnanomaly.checkpoint import BEST, FINAL, checkpoint_hash, find_folds
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.paths import (
    DATASET_JSON,
    NO_TRACKER,
    PLANS_JSON,
    SAMPLES,
    SUMMARY_JSON,
    TRACKED,
    VALIDATION,
    Paths,
)
from nnanomaly.plans import Plans, TrainingPlan, save_plans
from nnanomaly.stages import AUTOENCODER, SPECS, links_of
from nnanomaly.trained_model import load_codec
from nnanomaly.training.expectations import Facts
from nnanomaly.training.fold_data import PatchSet
from nnanomaly.training.loop import fit
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.stage import Stage
from nnanomaly.training.stage_state import StageState, state_of
from nnanomaly.training.trackers import open_tracker, tracked_run
from nnanomaly.utilities.files import copy_atomically
from nnanomaly.utilities.json_io import to_document, write_json

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a command may say beyond the plans; it is recorded in debug.json."""

    device: str | None = None
    """Device name; None = cuda if there is one."""
    num_workers: int | None = None
    """Processes that load patches; None = 0 on a cpu, else 4."""
    resume: bool = False
    """Whether the user expects something to continue; where there is nothing, that is said."""
    tracker: str = NO_TRACKER
    """Program that follows the training, one of `paths.TRACKERS`."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Other values for fields of the training plan of every stage that is trained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSetup:
    """Everything `fit` needs of a stage."""

    stage: Stage
    """Networks, optimisers, losses."""
    training: TrainingPlan
    """How it is optimised."""
    batches: Callable[[int, int], Iterable[Batch]]
    """Training batches by iteration."""
    validation: list[Batch]
    """Held-out batches, always the same."""
    facts: Facts
    """Numbers by which the monitor judges the run."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """What its checkpoints hold besides the state of the loop and what they were trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """What every training of a stage knows."""

    paths: Paths
    """Root folders."""
    plans: Plans
    """Plans with the options of the command for this stage."""
    stage: str
    """Its name in the table."""
    fold: int | str
    """Fold."""
    train: PatchSet
    """Patches to train on."""
    val: PatchSet
    """Held-out patches."""
    device: torch.device
    """Where it computes."""
    options: TrainingOptions
    """What the command said."""
    wanted: bool
    """Whether the command names this stage, or another that needs it."""

    @property
    def folder(self) -> Path:
        """Folder of the fold."""
        return self.folder_of(self.stage)

    @property
    def model(self) -> Path:
        """Folder of all folds."""
        return self.paths.model(self.plans.dataset_name, self.plans.plans_name, self.stage)

    @property
    def num_workers(self) -> int:
        """Processes that load patches."""
        if self.options.num_workers is not None:
            return self.options.num_workers
        return 0 if self.device.type == "cpu" else 4

    def folder_of(self, stage: str) -> Path:
        """Folder of another stage of this fold."""
        return self.paths.fold(self.plans.dataset_name, self.plans.plans_name, stage, self.fold)

    def codec(self) -> Codec:
        """The autoencoder of this fold."""
        return load_codec(self.folder_of(AUTOENCODER), self.plans, self.device)

    def built_on(self) -> dict[str, Path]:
        """The final checkpoints that this stage is trained on, whether they are there or not."""
        names = (name for name in SPECS[self.stage].built_on if SPECS[name].used(self.plans.inference))
        return {name: self.folder_of(name) / FINAL for name in names}

    def links(self) -> dict[str, Any]:
        """What a checkpoint of this stage says of those that it is trained on; they must be there."""
        return links_of(self.stage, {name: checkpoint_hash(path) for name, path in self.built_on().items()})


def fit_into(folder: Path, run: StageRun, setup: StageSetup) -> None:
    """Fit a setup in a folder that the caller holds: documents, loop, result; goes on where a run was interrupted.

    Raises what `training.loop.fit` does.
    """
    begun = state_of(folder) is StageState.BEGUN
    if not begun:
        _forget_earlier_run(folder)
    if not find_folds(run.model):  # the documents of finished folds are theirs until this one is finished too
        write_model_documents(run)
    document = _debug_document(run)
    write_json(folder / "debug.json", document)
    iterations = setup.training.num_iterations
    logger.info("training %s, fold %s: %d iterations on %s", run.stage, run.fold, iterations, run.device)
    result = fit(
        setup.stage,
        setup.batches,
        plan=setup.training,
        run_dir=folder,
        validation=setup.validation,
        extra={
            "plans_identity": run.plans.identity_of(run.stage),
            "stage": run.stage,
            "version": __version__,
            **setup.extra,
            **run.links(),
        },
        resume=begun or (run.wanted and run.options.resume),
        facts=setup.facts,
        tracker=open_tracker(run.options.tracker, tracked_run(folder, document)),
    )
    write_json(folder / VALIDATION / SUMMARY_JSON, result)


def write_model_documents(run: StageRun) -> None:
    """plans.json and dataset.json beside the folds of a stage."""
    save_plans(run.model / PLANS_JSON, run.plans)
    copy_atomically(run.paths.preprocessed(run.plans.dataset_name) / DATASET_JSON, run.model / DATASET_JSON)


def _forget_earlier_run(folder: Path) -> None:
    """A run that begins must not mix with log, samples and curves of one that ended before its first checkpoint."""
    for pattern in (BEST, "debug.json", "log.jsonl", f"{SAMPLES}/*.png", f"{TRACKED}/events.*"):
        for path in folder.glob(pattern):
            path.unlink()


def _debug_document(run: StageRun) -> dict[str, Any]:
    """What debug.json records of a run."""
    return {
        "version": __version__,
        "torch_version": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "python_version": platform.python_version(),
        "device": str(run.device),
        "dataset": run.plans.dataset_name,
        "stage": run.stage,
        "fold": str(run.fold),
        "plans_identity": run.plans.identity,
        "training": to_document(run.plans.training_of(run.stage)),
        "overrides": run.options.changes,
    }
