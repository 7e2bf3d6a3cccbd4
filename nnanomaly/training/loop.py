"""The training loop: steps, moving average, validation, checkpoints, log. Knows stages only by their interface.

Every batch and every random number of iteration i follows from (seed, i) alone, so a run that was killed and resumed
ends with the same weights, bit for bit on a CPU, as one that was not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from nnanomaly.checkpoint import BEST, FINAL, LATEST, PREVIOUS, load_checkpoint, newest_checkpoint, save_checkpoint
from nnanomaly.plans import TrainingPlan
from nnanomaly.training.interruption import stop_on_signals
from nnanomaly.training.monitor import MonitorSettings
from nnanomaly.training.optimisation import Batch, learning_rate_factor, moving_average, set_learning_rate
from nnanomaly.training.run_log import RunLog
from nnanomaly.training.stage import Stage
from nnanomaly.training.trackers import Tracker
from nnanomaly.utilities.errors import DataError, IntegrityError, Interrupted
from nnanomaly.utilities.json_io import shown

logger = logging.getLogger(__name__)
DEFAULT_MONITOR = MonitorSettings()


RESTORED = {"iteration": int, "best": float, "validations_without_gain": int, "validation": dict, "finished": bool}
"""Fields of the state that a checkpoint gives back, and their types."""


@dataclass
class LoopState:
    """What a checkpoint holds besides the stage's own modules and optimisers."""

    average: AveragedModel
    """Moving average of the stage's main module."""
    iteration: int = 0
    """Steps taken."""
    best: float = math.inf
    """Best monitored value."""
    validations_without_gain: int = 0
    """For early stopping."""
    validation: dict[str, float] = field(default_factory=dict)
    """Result of the last validation."""
    finished: bool = False
    """Whether training has ended (all iterations, or early)."""


def fit(
    stage: Stage,
    batches: Callable[[int, int], Iterable[Batch]],
    *,
    plan: TrainingPlan,
    run_dir: Path,
    validation: list[Batch],
    extra: dict[str, Any],
    resume: bool,
    facts: dict[str, float] | None = None,
    monitor: MonitorSettings = DEFAULT_MONITOR,
    tracker: Tracker | None = None,
) -> dict[str, float]:
    """Train `stage` for `plan.num_iterations` steps in `run_dir`; returns the last validation.

    `batches(start, stop)` yields the batches of those iterations. `extra` (plain types and tensors, with
    `plans_identity`) goes into every checkpoint. With `resume`, the newest readable checkpoint is continued. `facts`
    are what the monitor's alarms are judged by besides the logged numbers. A `tracker` is told what the log is.
    Raises `Interrupted` after saving when a signal asks to stop, DataError when a loss is not finite.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    module = stage.modules()[stage.averaged_module()]
    state = LoopState(moving_average(module, plan.ema_decay))
    if resume:
        _restore(stage, state, run_dir, extra["plans_identity"])
    if state.finished and (state.iteration >= plan.num_iterations or _out_of_patience(state, plan)):
        return state.validation
    state.finished = False  # a finished run may be extended by a larger number of iterations
    log = RunLog(run_dir, state.iteration, plan.num_iterations, monitor=monitor, tracker=tracker)
    last_save = time.monotonic()
    with stop_on_signals() as request, log:
        log.start(state.iteration, facts or {})
        for batch in batches(state.iteration, plan.num_iterations):
            _train_step(stage, state, batch, plan, log)
            if state.iteration % plan.validate_every == 0 or state.iteration == plan.num_iterations:
                _validate(stage, state, validation, plan, run_dir, extra, log)
            minutes = (time.monotonic() - last_save) / 60
            if request.signal_number is not None or state.finished:
                break
            if state.iteration % plan.checkpoint_every == 0 or minutes >= plan.checkpoint_minutes:
                _save_latest(stage, state, run_dir, extra)
                last_save = time.monotonic()
    if request.signal_number is not None and not state.finished:
        _save_latest(stage, state, run_dir, extra)
        raise Interrupted(request.signal_number)
    state.finished = True
    save_checkpoint(run_dir / FINAL, _document(stage, state, extra))
    for name in (LATEST, PREVIOUS):
        (run_dir / name).unlink(missing_ok=True)
    return state.validation


def _train_step(stage: Stage, state: LoopState, batch: Batch, plan: TrainingPlan, log: RunLog) -> None:
    for optimizer in stage.optimizers().values():
        set_learning_rate(optimizer, learning_rate_factor(plan, state.iteration))
    numbers = stage.step(batch, iteration_generator(plan.seed, state.iteration))
    if not all(math.isfinite(value) for value in numbers.values()):
        raise DataError(
            "TRAIN-NAN",
            f"a loss is not finite at iteration {state.iteration}: {numbers}. The last checkpoint is intact; "
            "continue with --c and a lower -lr.",
        )
    state.iteration += 1
    if plan.ema_decay > 0:
        state.average.update_parameters(stage.modules()[stage.averaged_module()])
    else:
        state.average.module.load_state_dict(stage.modules()[stage.averaged_module()].state_dict())
    log.step(state.iteration, numbers)


def _validate(
    stage: Stage,
    state: LoopState,
    validation: list[Batch],
    plan: TrainingPlan,
    run_dir: Path,
    extra: dict[str, Any],
    log: RunLog,
) -> None:
    if not validation:
        return
    average = state.average.module.eval()
    generator = iteration_generator(plan.seed, -1)  # the same noise at every validation, so that numbers compare
    state.validation = stage.validate(validation, average, generator)
    log.validation(state.iteration, state.validation)
    better = state.validation[stage.monitor] < state.best
    pictures = stage.pictures(validation[0], average, iteration_generator(plan.seed, -1))
    log.draw(state.iteration, pictures, best=better)
    if better:
        state.best, state.validations_without_gain = state.validation[stage.monitor], 0
        save_checkpoint(run_dir / BEST, _document(stage, state, extra))
    else:
        state.validations_without_gain += 1
    if _out_of_patience(state, plan):
        logger.info("no gain in %d validations: training stops early at iteration %d", plan.patience, state.iteration)
        log.end(state.iteration)
        state.finished = True


def _out_of_patience(state: LoopState, plan: TrainingPlan) -> bool:
    return 0 < plan.patience <= state.validations_without_gain


def iteration_generator(seed: int, iteration: int) -> torch.Generator:
    """Generator for the noise of one iteration; distinct for every (seed, iteration)."""
    return torch.Generator().manual_seed((seed * 1_000_003 + iteration) % 2**63)


def _document(stage: Stage, state: LoopState, extra: dict[str, Any]) -> dict[str, Any]:
    return {
        **extra,
        "iteration": state.iteration,
        "best": state.best,
        "validations_without_gain": state.validations_without_gain,
        "validation": dict(state.validation),
        "finished": state.finished,
        "averaged_weights": state.average.module.state_dict(),
        "num_averaged": int(state.average.n_averaged),
        "modules": {name: module.state_dict() for name, module in stage.modules().items()},
        "optimizers": {name: optimizer.state_dict() for name, optimizer in stage.optimizers().items()},
    }


def _save_latest(stage: Stage, state: LoopState, run_dir: Path, extra: dict[str, Any]) -> None:
    latest = run_dir / LATEST
    if latest.is_file():
        latest.replace(run_dir / PREVIOUS)
    save_checkpoint(latest, _document(stage, state, extra))


def _restore(stage: Stage, state: LoopState, run_dir: Path, identity: str) -> None:
    """Continue from the newest checkpoint; a damaged latest falls back to the one before it."""
    newest = newest_checkpoint(run_dir)
    if newest is None:
        logger.warning("nothing to continue in %s: training starts anew", run_dir)
        return
    try:
        saved = load_checkpoint(newest, identity=identity)
    except IntegrityError as error:
        previous = run_dir / PREVIOUS
        if error.code != "CKPT-DAMAGED" or newest.name == PREVIOUS or not previous.is_file():
            raise
        logger.warning("%s; continuing from %s", error, previous.name)
        newest = previous
        saved = load_checkpoint(previous, identity=identity)
    try:
        _take_over(stage, state, saved)
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:  # what torch raises for others
        reason = (str(error).splitlines() or [""])[0]
        raise IntegrityError(
            "CKPT-FIELD",
            f"{newest} does not hold the state of this training ({type(error).__name__}: {reason}). Train this stage "
            "anew.",
        ) from error
    logger.info("continuing from iteration %d (%s)", state.iteration, newest.name)


def _take_over(stage: Stage, state: LoopState, saved: dict[str, Any]) -> None:
    """Set networks, optimisers and counts to those of a checkpoint; raises where it cannot."""
    for name, module in stage.modules().items():
        module.load_state_dict(saved["modules"][name])
    for name, optimizer in stage.optimizers().items():
        peaks = [group.get("peak_lr", group["lr"]) for group in optimizer.param_groups]
        optimizer.load_state_dict(saved["optimizers"][name])
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["peak_lr"] = peak  # the plan (or -lr) decides, not the interrupted run
    state.average.module.load_state_dict(saved["averaged_weights"])
    state.average.n_averaged.fill_(saved["num_averaged"])
    for key, kind in RESTORED.items():
        if type(saved[key]) is not kind or (kind is int and saved[key] < 0):
            raise TypeError(f"{key} is {shown(saved[key])}")
        setattr(state, key, saved[key])
