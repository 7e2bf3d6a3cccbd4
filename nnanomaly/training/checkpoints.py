"""The checkpoints of one run: what they hold, when which is written, and how a run goes on from them."""

import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch.optim.swa_utils import AveragedModel

from nnanomaly.checkpoint import BEST, FINAL, LATEST, PREVIOUS, load_checkpoint, newest_checkpoint, save_checkpoint
from nnanomaly.training.stage import Stage
from nnanomaly.utilities.errors import IntegrityError
from nnanomaly.utilities.json_io import shown

logger = logging.getLogger(__name__)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """A run on disk; the stage and the state are those of the loop, which changes them."""

    run_dir: Path
    """Folder of the run."""
    stage: Stage
    """Networks and optimisers."""
    state: LoopState
    """Counts and moving average."""
    extra: dict[str, Any]
    """Plain types and tensors that go into every checkpoint, with `plans_identity`."""

    def save_best(self) -> None:
        """The best by validation so far."""
        save_checkpoint(self.run_dir / BEST, self._document())

    def save_latest(self) -> None:
        """A point to go on from; the one before it is kept as well."""
        latest = self.run_dir / LATEST
        if latest.is_file():
            latest.replace(self.run_dir / PREVIOUS)
        save_checkpoint(latest, self._document())

    def save_final(self) -> None:
        """The end of the run, which makes the points to go on from needless."""
        save_checkpoint(self.run_dir / FINAL, self._document())
        for name in (LATEST, PREVIOUS):
            (self.run_dir / name).unlink(missing_ok=True)

    def restore(self) -> None:
        """Continue from the newest checkpoint; a damaged latest falls back to the one before it.

        Raises IntegrityError (CKPT-PLANS, CKPT-DAMAGED, CKPT-FIELD) for one that this run cannot go on from.
        """
        newest = newest_checkpoint(self.run_dir)
        if newest is None:
            logger.warning("nothing to continue in %s: training starts anew", self.run_dir)
            return
        identity = self.extra["plans_identity"]
        try:
            saved = load_checkpoint(newest, identity=identity)
        except IntegrityError as error:
            previous = self.run_dir / PREVIOUS
            if error.code != "CKPT-DAMAGED" or newest.name == PREVIOUS or not previous.is_file():
                raise
            logger.warning("%s; continuing from %s", error, previous.name)
            newest = previous
            saved = load_checkpoint(previous, identity=identity)
        try:
            self._take_over(saved)
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:  # what torch raises
            reason = (str(error).splitlines() or [""])[0]
            raise IntegrityError(
                "CKPT-FIELD",
                f"{newest} does not hold the state of this training ({type(error).__name__}: {reason}). Train this "
                "stage anew.",
            ) from error
        logger.info("continuing from iteration %d (%s)", self.state.iteration, newest.name)

    def _document(self) -> dict[str, Any]:
        stage, state = self.stage, self.state
        return {
            **self.extra,
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

    def _take_over(self, saved: dict[str, Any]) -> None:
        """Set networks, optimisers and counts to those of a checkpoint; raises where it cannot."""
        for name, module in self.stage.modules().items():
            module.load_state_dict(saved["modules"][name])
        for name, optimizer in self.stage.optimizers().items():
            peaks = [group.get("peak_lr", group["lr"]) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved["optimizers"][name])
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["peak_lr"] = peak  # the plan (or -lr) decides, not the interrupted run
        self.state.average.module.load_state_dict(saved["averaged_weights"])
        self.state.average.n_averaged.fill_(saved["num_averaged"])
        for key, kind in RESTORED.items():
            if type(saved[key]) is not kind or (kind is int and saved[key] < 0):
                raise TypeError(f"{key} is {shown(saved[key])}")
            setattr(self.state, key, saved[key])
