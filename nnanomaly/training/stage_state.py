"""What the folder of a stage holds, and whether it belongs to the plans and the stages before it."""

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from nnanomaly.checkpoint import FINAL, LATEST, PREVIOUS, load_checkpoint, newest_checkpoint
from nnanomaly.paths import SUMMARY_JSON, VALIDATION, calibration_json
from nnanomaly.plans import TrainingPlan
from nnanomaly.utilities.errors import IntegrityError
from nnanomaly.utilities.json_io import write_json

EXAMPLES = "examples"
"""Folder of what a setup has made to train on; examples know by themselves whether they fit."""


class StageState(Enum):
    """How far a stage is."""

    NEW = "new"
    """There is nothing to go on from."""
    BEGUN = "begun"
    """It was interrupted, and is continued."""
    FINISHED = "finished"
    """It is trained, and kept."""


def state_of(folder: Path) -> StageState:
    """How far the stage in `folder` is, by the names of its checkpoints alone."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return StageState.NEW
    return StageState.FINISHED if newest.name == FINAL else StageState.BEGUN


def refuse_other_finished(folder: Path, *, identity: str, **built_on: Any) -> None:
    """Refuse a finished stage of other plans (CKPT-PLANS), or, by `built_on` (see `stages.links_of`), of other
    stages before it (CKPT-VQGAN, CKPT-HEAD)."""
    refuse_other_stages(folder / FINAL, load_checkpoint(folder / FINAL, identity=identity), built_on)


def complete_finished(folder: Path) -> None:
    """What a kill right after the last checkpoint of a run left out."""
    summary = folder / VALIDATION / SUMMARY_JSON
    older = [path for path in (folder / LATEST, folder / PREVIOUS) if path.is_file()]
    if (folder / calibration_json(LATEST)).is_file():
        older = []  # somebody predicts with it
    if summary.is_file() and not older:
        return
    state = load_checkpoint(folder / FINAL)
    if not summary.is_file() and "validation" in state:
        write_json(summary, state["validation"])
    for path in older:
        if _iteration_of(path) <= state.get("iteration", 0):
            path.unlink()


def _iteration_of(path: Path) -> float:
    """Iteration of a checkpoint; endless for one that cannot be opened or does not say."""
    try:
        return float(load_checkpoint(path).get("iteration", math.inf))
    except IntegrityError:
        return math.inf


def refuse_other_begun(folder: Path, **built_on: Any) -> None:
    """Refuse to continue on other stages than those that an interrupted run began with."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return
    try:
        state = load_checkpoint(newest)
    except IntegrityError:  # the loop falls back to the one before it, or says so
        return
    refuse_other_stages(newest, state, built_on)


def refuse_other_stages(path: Path, state: Mapping[str, Any], built_on: Mapping[str, Any]) -> None:
    """Raise IntegrityError where a checkpoint was trained on other checkpoints than those that are there now."""
    codes = {"vqgan_sha256": ("CKPT-VQGAN", "another vqgan"), "checkpoints": ("CKPT-HEAD", "other checkpoints")}
    for key, value in built_on.items():
        if state.get(key) != value:
            code, what = codes[key]
            raise IntegrityError(
                code,
                f"{path} was trained on {what} than what is there now. Train it anew with --force, or put that back.",
            )


def may_be_extended(folder: Path, plan: TrainingPlan) -> bool:
    """Whether a finished run has fewer iterations than the plan, and did not stop early."""
    if state_of(folder) is not StageState.FINISHED:
        return False
    state = load_checkpoint(folder / FINAL)
    early = 0 < plan.patience <= state.get("validations_without_gain", 0)
    return bool(state.get("iteration", plan.num_iterations) < plan.num_iterations and not early)
