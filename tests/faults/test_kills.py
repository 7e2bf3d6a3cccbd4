"""A command that was killed and is started again leaves what one leaves that never was: same files, same bytes.

A child process (a fork, so that torch is loaded once) kills itself at a chosen moment: before the n-th file is flushed
to the disk (its content is complete, its name is not), or after the n-th file got its name (its neighbours are
missing). These are all the moments that can be told apart on the disk.
"""

import errno
import os
import shutil
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nnanomaly import cli
from nnanomaly.plans import Plans
from nnanomaly.utilities.claim import claimed

pytestmark = pytest.mark.skipif(
    torch.get_num_threads() > 1,
    reason="a fork of a process with OpenMP threads may hang: run this file with OMP_NUM_THREADS=1",
)
NOT_COMPARED = ("log.jsonl", "progress.png", "predict_from_raw_data_args.json")
"""Times of day, a picture of them, and the folders of the command. Left out too are the text logs of every start and
the samples: the best of a run that was stopped is the best since it went on."""

COMMANDS = {
    "preprocess": ("preprocess", ["-d", "501"], []),
    "vqgan": ("train", ["501", "vqgan"], ["--c"]),
    "ddpm": ("train", ["501", "ddpm"], ["--c"]),
    "predict": ("predict", ["-i", "imagesTs", "-o", "preds"], ["--continue_prediction"]),
}
"""Command, its arguments, and what continues it."""
MOMENTS = {
    "preprocess": [("fsync", 1), ("rename", 1), ("fsync", 4), ("rename", 10), ("rename", 20)],
    "vqgan": [("rename", 2), ("fsync", 4), ("rename", 4), ("rename", 5)],
    "ddpm": [("fsync", 9), ("rename", 12), ("fsync", 16)],
    "predict": [("rename", 4), ("fsync", 5), ("rename", 6), ("rename", 7), ("fsync", 12)],
}
"""What the child does for the n-th time when it is killed."""


def tree(folder: Path) -> dict[str, bytes]:
    """Files of a folder that a run decides; none may be hidden."""
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name not in NOT_COMPARED]
    paths = [path for path in paths if not path.name.startswith("training_log_") and path.parent.name != "samples"]
    assert not [path for path in paths if path.name.startswith(".")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def run(command: str, arguments: list[str]) -> int:
    return int(getattr(cli, command)(arguments))


def in_a_child(work: Callable[[], int]) -> int:
    """Status of a forked child: its exit status, or minus the signal that ended it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forks of processes with threads; ours only run commands
        child = os.fork()
    if child == 0:
        status = 70
        try:
            status = work()
        finally:
            os._exit(status)
    _, state = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(state)


def killed_at(moment: str, count: int, number: signal.Signals, command: str, arguments: list[str]) -> int:
    """Run a command in a child that sends itself a signal."""

    def work() -> int:
        left = [count]

        def tick() -> None:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), number)

        fsync, replace = os.fsync, Path.replace

        def flush(file: int) -> None:
            if moment == "fsync":
                tick()
            fsync(file)

        def rename(path: Path, target: Path) -> Path:
            renamed = replace(path, target)
            if moment == "rename":
                tick()
            return renamed

        os.fsync, Path.replace = flush, rename  # type: ignore[assignment,method-assign]
        return run(command, arguments)

    return in_a_child(work)


@pytest.fixture
def project(shell: Any, preprocessed: Path, model: Plans) -> Any:
    """Everything before each stage: raw data, plans, patches and a model."""
    return shell


def prepare(shell: Any, stage: str) -> Path:
    """Take away what the stage makes; the folder that it writes to."""
    if stage == "preprocess":
        (folder,) = shell.paths.preprocessed_root.glob("*/*_3d*")
        shutil.rmtree(folder)
        return shell.paths.preprocessed_root
    if stage in ("vqgan", "ddpm"):
        shutil.rmtree(shell.paths.results_root)
        return shell.paths.results_root
    return Path("preds")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
@pytest.mark.parametrize(
    ("stage", "moment", "count"), [(stage, *moment) for stage, of_stage in MOMENTS.items() for moment in of_stage]
)
def test_a_killed_command_that_is_started_again_leaves_what_an_unbroken_one_leaves(
    project: Any, unbroken: dict[str, dict[str, bytes]], stage: str, moment: str, count: int, number: signal.Signals
) -> None:
    command, arguments, to_continue = COMMANDS[stage]
    folder = prepare(project, stage)
    status = killed_at(moment, count, number, command, arguments)
    finished = (0,) if stage in ("vqgan", "ddpm") else ()  # training ends its step, which may have been its last
    assert status in ((-number,) if number == signal.SIGKILL else (143, *finished))
    assert run(command, [*arguments, *to_continue]) == 0
    assert tree(folder) == unbroken[stage]


@pytest.fixture(scope="module")
def unbroken() -> dict[str, dict[str, bytes]]:
    """What runs that were not killed leave; filled by the fixture below."""
    return {}


@pytest.fixture(autouse=True)
def _unbroken_runs(request: pytest.FixtureRequest, unbroken: dict[str, dict[str, bytes]]) -> None:
    stage = getattr(request.node, "callspec", None) and request.node.callspec.params.get("stage")
    if not stage or stage in unbroken:
        return
    shell = request.getfixturevalue("project")
    state = {
        root: shutil.copytree(root, root.with_name(f"{root.name}_kept"))
        for root in (shell.paths.preprocessed_root, shell.paths.results_root)
    }
    folder = prepare(shell, stage)
    command, arguments, _ = COMMANDS[stage]
    assert run(command, arguments) == 0
    unbroken[stage] = tree(folder)
    shutil.rmtree("preds", ignore_errors=True)
    for root, kept in state.items():
        shutil.rmtree(root)
        kept.rename(root)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["preprocess", "predict"])
def test_two_that_start_on_one_folder_leave_what_one_leaves(
    project: Any, unbroken: dict[str, dict[str, bytes]], stage: str
) -> None:
    command, arguments, _ = COMMANDS[stage]
    folder = prepare(project, stage)

    def second() -> int:
        return in_a_child(lambda: run(command, arguments))

    def both() -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            first = os.fork()
        if first == 0:
            os._exit(run(command, arguments))
        status = second()
        _, state = os.waitpid(first, 0)
        return status or os.waitstatus_to_exitcode(state)

    assert in_a_child(both) == 0
    assert tree(folder) == unbroken[stage]


def test_a_second_training_of_a_fold_is_refused_and_names_the_first(project: Any, model: Plans) -> None:
    folder = project.paths.fold("Dataset501_Tiny", model.plans_name, "vqgan", 0)
    with claimed(folder):
        line = project.refuses(5, "train", 501, "vqgan", "--force")
    assert "[NNA-ENV-BUSY]" in line and f"process {os.getpid()} on" in line
    assert project("train", 501, "vqgan") == 0  # free again, and nothing was lost


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["preprocess"])
@pytest.mark.parametrize("count", [1, 3, 6])
def test_a_full_disk_ends_preprocessing_and_it_can_be_started_again(
    project: Any, unbroken: dict[str, dict[str, bytes]], monkeypatch: pytest.MonkeyPatch, stage: str, count: int
) -> None:
    folder, left = prepare(project, stage), [count]
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        left[0] -= 1
        if left[0] <= 0:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert project("preprocess", "-d", 501) == 5
        assert "No space left" in project.capsys.readouterr().err.splitlines()[-1]
    assert not list(folder.rglob(".tmp-*"))
    assert run("preprocess", ["-d", "501"]) == 0
    assert tree(folder) == unbroken[stage]
