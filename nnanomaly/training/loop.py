"""The training loop: steps, moving average, validation, checkpoints, log. Knows stages only by their interface.

Every batch and every random number of iteration i follows from (seed, i) alone, so a run that was killed and resumed
ends with the same weights, bit for bit on a CPU, as one that was not.
"""

import logging
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from nnanomaly.plans import TrainingPlan
from nnanomaly.training.checkpoints import Checkpoints, LoopState
from nnanomaly.training.interruption import stop_on_signals
from nnanomaly.training.monitor import MonitorSettings
from nnanomaly.training.optimisation import Batch, learning_rate_factor, moving_average, set_learning_rate
from nnanomaly.training.run_log import RunLog
from nnanomaly.training.stage import Stage
from nnanomaly.training.trackers import Tracker
from nnanomaly.utilities.errors import DataError, Interrupted

logger = logging.getLogger(__name__)
DEFAULT_MONITOR = MonitorSettings()


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
    checkpoints = Checkpoints(run_dir=run_dir, stage=stage, state=state, extra=extra)
    if resume:
        checkpoints.restore()
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
                _validate(checkpoints, validation, plan, log)
            minutes = (time.monotonic() - last_save) / 60
            if request.signal_number is not None or state.finished:
                break
            if state.iteration % plan.checkpoint_every == 0 or minutes >= plan.checkpoint_minutes:
                checkpoints.save_latest()
                last_save = time.monotonic()
    if request.signal_number is not None and not state.finished:
        checkpoints.save_latest()
        raise Interrupted(request.signal_number)
    state.finished = True
    checkpoints.save_final()
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


def _validate(checkpoints: Checkpoints, validation: list[Batch], plan: TrainingPlan, log: RunLog) -> None:
    if not validation:
        return
    stage, state = checkpoints.stage, checkpoints.state
    average = state.average.module.eval()
    generator = iteration_generator(plan.seed, -1)  # the same noise at every validation, so that numbers compare
    state.validation = stage.validate(validation, average, generator)
    log.validation(state.iteration, state.validation)
    better = state.validation[stage.monitor] < state.best
    pictures = stage.pictures(validation[0], average, iteration_generator(plan.seed, -1))
    log.draw(state.iteration, pictures, best=better)
    if better:
        state.best, state.validations_without_gain = state.validation[stage.monitor], 0
        checkpoints.save_best()
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
