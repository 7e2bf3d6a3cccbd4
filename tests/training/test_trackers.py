"""TensorBoard for real; Weights & Biases and MLflow against stand-ins with the functions that are called of them."""

import importlib.util
import os
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly import cli
from nnanomaly.paths import TRACKERS, tracker_from_env
from nnanomaly.training.trackers import TRACKER_OF, TrackedRun, Tracker, open_tracker
from nnanomaly.utilities.errors import ConfigurationError

VARIABLES = (
    "WANDB_MODE",
    "WANDB_ERROR_REPORTING",
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_ALLOW_FILE_STORE",
    "MLFLOW_TRACKING_URI",
)


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every variable as it was after the test, whatever it sets."""
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def run_in(folder: Path) -> TrackedRun:
    return TrackedRun(folder=folder, name="Dataset501_X vqgan fold 0", settings={"seed": 3})


def tell(tracker: Tracker) -> None:
    """A run of two iterations."""
    tracker.start(0)
    tracker.log(1, {"train/loss": 2.0})
    tracker.log(2, {"validation/loss": 1.0})
    tracker.picture(2, "input", np.zeros((4, 6), np.uint8))
    tracker.end()


class Fake(types.ModuleType):
    """A module whose functions note their calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.util.spec_from_loader(name, None)
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def called(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        return [(args, kwargs) for function, args, kwargs in self.calls if function == name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def function(*args: Any, **kwargs: Any) -> "Fake":
            self.calls.append((name, args, kwargs))
            return self

        return function


@pytest.mark.filterwarnings("default")  # of TensorBoard's own libraries
def test_tensorboard_reads_back_the_numbers_and_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = open_tracker("tensorboard", run_in(tmp_path))
    assert tracker is not None
    tell(tracker)
    events = EventAccumulator(str(tmp_path / "tracking")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 2.0)]
    assert [(event.step, event.value) for event in events.Scalars("validation/loss")] == [(2, 1.0)]
    assert [(image.step, image.width, image.height) for image in events.Images("input")] == [(2, 6, 4)]


def test_wandb_is_offline_in_the_folder_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = Fake("wandb")
    wandb.Error = RuntimeError
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    tracker = open_tracker("wandb", run_in(tmp_path))
    assert tracker is not None
    tell(tracker)
    assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    (_, init), *others = wandb.called("init")
    assert not others
    assert (init["dir"], init["config"]) == (str(tmp_path / "tracking"), {"seed": 3})
    first, second, picture = wandb.called("log")
    assert first == (({"train/loss": 2.0},), {"step": 1})
    assert second == (({"validation/loss": 1.0},), {"step": 2})
    assert set(picture[0][0]) == {"input"}
    assert len(wandb.called("finish")) == 1


@pytest.mark.parametrize("server", [None, "sqlite:///elsewhere.db"])
def test_mlflow_writes_into_the_folder_of_the_run_or_where_the_user_says(
    server: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = Fake("mlflow")
    mlflow.exceptions = types.SimpleNamespace(MlflowException=RuntimeError)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    if server is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    tracker = open_tracker("mlflow", run_in(tmp_path))
    assert tracker is not None
    tell(tracker)
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    expected = server or (tmp_path / "tracking").as_uri()
    assert mlflow.called("set_tracking_uri") == [((expected,), {})]
    assert mlflow.called("log_metrics")[0] == (({"train/loss": 2.0},), {"step": 1})
    assert mlflow.called("log_image")[0][1] == {"artifact_file": "input.png"}
    assert len(mlflow.called("end_run")) == 1


def test_without_the_extra_training_does_not_start_and_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "Dataset501_X").mkdir()
    monkeypatch.setenv("nnanomaly_preprocessed", str(tmp_path))
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else find_spec(name))
    assert cli.train(["501", "vqgan", "-tracker", "mlflow"]) == 5
    error = capsys.readouterr().err
    assert "NNA-ENV-TRACKER] the tracker mlflow cannot" in error
    assert 'pip install -c constraints.txt ".[mlflow]"' in error


def test_the_environment_chooses_a_tracker_and_none_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("nnanomaly_tracker", raising=False)
    assert tracker_from_env() == "none"
    assert open_tracker("none", run_in(Path())) is None
    monkeypatch.setenv("nnanomaly_tracker", "wandb")
    assert tracker_from_env() == "wandb"
    monkeypatch.setenv("nnanomaly_tracker", "clearml")
    with pytest.raises(ConfigurationError, match="'clearml', but must be one of none, tensorboard, wandb, mlflow"):
        tracker_from_env()


def test_every_tracker_has_its_name_in_the_options() -> None:
    assert ("none", *TRACKER_OF) == TRACKERS
