"""Programs that show curves of many trainings: TensorBoard, Weights & Biases, MLflow. Extras, off unless asked for.

log.jsonl and progress.png are always written; a tracker is told the same. It keeps what it is told in the folder of the
run, unless its own environment variables name a server. Its libraries are imported when a training starts.
"""

import importlib.util
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nnanomaly.paths import NO_TRACKER, TRACKED, keep_trackers_local, mlflow_server
from nnanomaly.utilities.errors import EnvironmentFault

logger = logging.getLogger(__name__)
PROJECT = "nnanomaly"
USUAL_FAULTS = (OSError, RuntimeError, ValueError, ImportError)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackedRun:
    """What a tracker is told of a run before it starts."""

    folder: Path
    """Folder of the fold."""
    name: str
    """Dataset, stage and fold."""
    settings: Mapping[str, Any]
    """What debug.json holds."""


def tracked_run(folder: Path, settings: Mapping[str, Any]) -> TrackedRun:
    """The run in `folder` with the settings of its debug.json."""
    name = f"{settings['dataset']} {settings['stage']} fold {settings['fold']}"
    return TrackedRun(folder=folder, name=name, settings=settings)


class Tracker(Protocol):
    """The whole interface."""

    faults: tuple[type[Exception], ...]
    """What its methods may raise when a server, a disk or a library fails."""

    def start(self, iteration: int) -> None:
        """The run starts, or goes on from this iteration."""
        ...

    def log(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name, such as `train/loss`."""
        ...

    def picture(self, iteration: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A slice [Y, X]."""
        ...

    def end(self) -> None:
        """The run has ended, or was stopped."""
        ...


class TensorBoardTracker:
    """Event files in the folder `tracking` of the run."""

    faults: tuple[type[Exception], ...] = USUAL_FAULTS

    def __init__(self, run: TrackedRun) -> None:
        self.run = run

    def start(self, iteration: int) -> None:
        """Open the file; what an interrupted run wrote beyond this iteration is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        later = iteration + 1 if iteration else None
        self._writer: Any = SummaryWriter(str(self.run.folder / TRACKED), purge_step=later)
        self._writer.add_text("settings", f"    {json.dumps(self.run.settings, indent=2, default=str)}", iteration)

    def log(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """One curve each."""
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, iteration)

    def picture(self, iteration: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Shown with a slider over iterations."""
        self._writer.add_image(name, picture, iteration, dataformats="HW")

    def end(self) -> None:
        """Flush and close."""
        self._writer.close()


class WandbTracker:
    """A run of Weights & Biases, offline in the folder `tracking` unless WANDB_MODE says otherwise."""

    faults: tuple[type[Exception], ...] = USUAL_FAULTS

    def __init__(self, run: TrackedRun) -> None:
        self.run = run

    def start(self, iteration: int) -> None:
        """A new run, also after an interruption: an offline run cannot be reopened."""
        keep_trackers_local()
        import wandb

        self.faults = (*USUAL_FAULTS, wandb.Error)
        self._wandb: Any = wandb
        folder = self.run.folder / TRACKED
        folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=PROJECT, name=self.run.name, dir=str(folder), config=dict(self.run.settings)
        )

    def log(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """All numbers of an iteration are one step."""
        self._run.log(dict(numbers), step=iteration)

    def picture(self, iteration: int, name: str, picture: NDArray[np.uint8]) -> None:
        """An image of that step."""
        self._run.log({name: self._wandb.Image(picture)}, step=iteration)

    def end(self) -> None:
        """Wait until all is written."""
        self._run.finish()


class MlflowTracker:
    """A run of MLflow in the folder `tracking`, unless MLFLOW_TRACKING_URI names another store."""

    faults: tuple[type[Exception], ...] = USUAL_FAULTS

    def __init__(self, run: TrackedRun) -> None:
        self.run = run

    def start(self, iteration: int) -> None:
        """A new run of the experiment `nnanomaly`, also after an interruption."""
        keep_trackers_local()
        import mlflow

        self.faults = (*USUAL_FAULTS, mlflow.exceptions.MlflowException)
        self._mlflow: Any = mlflow
        mlflow.set_tracking_uri(mlflow_server() or (self.run.folder / TRACKED).resolve().as_uri())
        mlflow.set_experiment(PROJECT)
        mlflow.start_run(run_name=self.run.name)
        mlflow.log_params({name: str(value) for name, value in self.run.settings.items()})

    def log(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """One curve each."""
        self._mlflow.log_metrics(dict(numbers), step=iteration)

    def picture(self, iteration: int, name: str, picture: NDArray[np.uint8]) -> None:
        """Only the last one of a name is kept."""
        self._mlflow.log_image(picture, artifact_file=f"{name}.png")

    def end(self) -> None:
        """Close the run."""
        self._mlflow.end_run()


TRACKER_OF: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "wandb": WandbTracker,
    "mlflow": MlflowTracker,
}
"""By the name of their extra, which is that of their module."""


def require_tracker(name: str) -> None:
    """Raise EnvironmentFault (ENV-TRACKER) with the line to type where the extra of a tracker is not installed."""
    if name != NO_TRACKER and importlib.util.find_spec(name) is None:
        raise EnvironmentFault(
            "ENV-TRACKER",
            f"the tracker {name} cannot be imported. In the folder of nnanomaly, type: "
            f'pip install -c constraints.txt ".[{name}]", or choose -tracker {NO_TRACKER}',
        )


def open_tracker(name: str, run: TrackedRun) -> Tracker | None:
    """The tracker of that name, or None for `none`; raises what `require_tracker` does."""
    require_tracker(name)
    return None if name == NO_TRACKER else TRACKER_OF[name](run)


class Tracking:
    """Tells a tracker, if there is one; its first fault ends the telling, never the training."""

    def __init__(self, tracker: Tracker | None) -> None:
        """None = there is nobody to tell."""
        self._tracker = tracker

    def start(self, iteration: int) -> None:
        """The run starts or goes on."""
        self._tell(lambda tracker: tracker.start(iteration))

    def log(self, iteration: int, numbers: Mapping[str, float]) -> None:
        """Numbers by name."""
        self._tell(lambda tracker: tracker.log(iteration, numbers))

    def picture(self, iteration: int, name: str, picture: NDArray[np.uint8]) -> None:
        """A slice [Y, X]."""
        self._tell(lambda tracker: tracker.picture(iteration, name, picture))

    def end(self) -> None:
        """The run has ended."""
        self._tell(lambda tracker: tracker.end())

    def _tell(self, what: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            what(self._tracker)
        except self._tracker.faults as error:
            logger.warning("tracking ends, training goes on: %s: %s", type(error).__name__, error)
            self._tracker = None
