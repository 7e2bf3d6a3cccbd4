"""What is finished stays whole while another command works on it, at whatever moment that is killed.

The moments are those of `test_kills`: before a file is flushed, after it got its name, and around every rename of a
folder.
"""

import importlib
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.plans import Plans

kills = importlib.import_module("tests.faults.test_kills")
in_a_child, run, pytestmark = kills.in_a_child, kills.run, kills.pytestmark  # the mark skips this file as well
DATASET = "Dataset501_Tiny"
PREDICT = ["-i", "imagesTs", "-o", "preds", "-d", DATASET, "-f", "0"]
COMMANDS = {
    "ddpm --force": ("train", ["501", "ddpm", "--force", "-seed", "7"]),
    "ddpm --c": ("train", ["501", "ddpm", "--c", "-num_iterations", "3"]),
    "vqgan --force": ("train", ["501", "vqgan", "--force", "-seed", "7"]),
    "other fold": ("train", ["501", "ddpm", "2", "-num_iterations", "1"]),
    "calibrate": ("train", ["501", "ddpm", "--val"]),
    "sweep": ("sweep", ["501", "-sigmas", "1.0", "-scales", "0.02"]),
    "diagnose": ("diagnose", ["501"]),
    "export": ("export_model_to_zip", ["-d", "501", "-o", "model.zip", "--force"]),
    "install": ("install_pretrained_model_from_zip", ["model.zip", "--force"]),
}
"""Commands on a dataset whose fold 0 predicts."""
MOMENTS = {
    "ddpm --force": [("write", 1), ("write", 6), ("write", 20), ("move", 1), ("move", 3), ("move", 5), ("move", 7)],
    "ddpm --c": [("write", 8), ("move", 2), ("move", 6)],
    "vqgan --force": [("write", 4), ("write", 10)],
    "other fold": [("write", 3), ("write", 25)],
    "calibrate": [("write", 1)],
    "sweep": [("write", 1), ("write", 4), ("write", 5)],
    "diagnose": [("write", 1), ("write", 3)],
    "export": [("write", 1), ("write", 10)],
    "install": [("write", 2), ("move", 1), ("move", 2), ("move", 4), ("move", 6), ("move", 7)],
}


def killed_at(moment: str, count: int, command: str, arguments: list[str]) -> int:
    """Run a command in a child that kills itself before the n-th flush of a file or rename of a folder."""

    def work() -> int:
        left = [count]

        def tick(what: str) -> None:
            left[0] -= what == moment
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        fsync, rename = os.fsync, Path.rename

        def flush(file: int) -> None:
            tick("write")
            fsync(file)

        def move(path: Path, target: Path) -> Path:
            tick("move")
            return rename(path, target)

        os.fsync, Path.rename = flush, move  # type: ignore[assignment,method-assign]
        return run(command, arguments)

    return in_a_child(work)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results after one training, kept for every test; filled by the first."""
    return tmp_path_factory.mktemp("trained") / "results"


@pytest.fixture
def results(shell: Any, preprocessed: Path, model: Plans, trained: Path) -> Path:
    shutil.rmtree(shell.paths.results_root)
    if not trained.exists():
        assert run("train", ["501", "ddpm"]) == 0
        assert run("export_model_to_zip", ["-d", "501", "-o", str(trained.with_name("model.zip"))]) == 0
        shutil.copytree(shell.paths.results_root, trained)
    else:
        shutil.copytree(trained, shell.paths.results_root)
    shutil.copy(trained.with_name("model.zip"), "model.zip")
    return Path(shell.paths.results_root)


@pytest.fixture(scope="module")
def maps_before() -> list[dict[str, bytes]]:
    """What the finished fold predicts; filled by the first test."""
    return []


def maps() -> dict[str, bytes]:
    shutil.rmtree("preds", ignore_errors=True)
    assert run("predict", PREDICT) == 0
    return {path.name: path.read_bytes() for path in Path("preds/anomaly_maps").glob("*.nii.gz")}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "moment", "count"), [(name, *m) for name, of in MOMENTS.items() for m in of])
def test_a_finished_fold_predicts_as_before_after_a_kill_at_any_moment(
    results: Path, maps_before: list[dict[str, bytes]], name: str, moment: str, count: int
) -> None:
    if not maps_before:
        maps_before.append(maps())
    command, arguments = COMMANDS[name]
    archive = Path("model.zip").read_bytes()
    assert killed_at(moment, count, command, arguments) == -signal.SIGKILL
    after = maps()
    finished = (
        moment == "move"
    )  # trained, calibrated and being put into its place: who comes next brings that to its end
    assert finished or after == maps_before[0]
    assert name == "export" or Path("model.zip").read_bytes() == archive
    again = {"ddpm --force": ["501", "ddpm", "-seed", "7"], "vqgan --force": ["501", "ddpm"]}.get(name, arguments)
    assert run(command, again) == 0
    assert maps()
    assert not [path for path in results.rglob(".*") if path.name != ".in_use"]
