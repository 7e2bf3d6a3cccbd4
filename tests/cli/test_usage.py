"""What every command answers to a wrong argument, a missing folder variable or a fault of the machine, and to -h."""

import errno
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from nnanomaly.cli.interruption import Terminated
from nnanomaly.utilities.errors import Interrupted

DATASET = "Dataset501_Tiny"
VARIABLES = ("nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results")
COMMANDS = {
    "plan_and_preprocess": ["-d", "{}"],
    "extract_fingerprint": ["-d", "{}"],
    "plan_experiment": ["-d", "{}"],
    "preprocess": ["-d", "{}"],
    "train": ["{}", "ddpm"],
    "predict": ["-d", "{}", "-i", "imagesTs", "-o", "preds"],
    "evaluate": ["-d", "{}", "-pred", "preds"],
    "compare": ["-d", "{}", "--pred", "preds", "-o", "out"],
    "export_nndetection": ["{}"],
}
"""Commands that work on a dataset, with their arguments."""


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_dataset_is_named_with_those_that_are_there(shell: Any, raw: Path, command: str) -> None:
    for identifier in ("777", "Dataset777_Missing"):
        line = shell.refuses(2, command, *(argument.format(identifier) for argument in COMMANDS[command]))
        assert "CFG-DATASET" in line
        assert identifier in line
        assert DATASET in line


@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_folder_variable_the_user_is_told_what_to_set(
    shell: Any, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable)
    line = shell.refuses(2, command, *(argument.format("501") for argument in COMMANDS[command]))
    assert "nnanomaly_raw" in line


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("nnanomaly_preprocessed", "plan_and_preprocess"),
        ("nnanomaly_preprocessed", "train"),
        ("nnanomaly_results", "predict"),
    ],
)
def test_a_missing_folder_variable_is_named(
    shell: Any, raw: Path, monkeypatch: pytest.MonkeyPatch, missing: str, command: str
) -> None:
    monkeypatch.delenv(missing)
    line = shell.refuses(2, command, *(argument.format("501") for argument in COMMANDS[command]))
    assert "CFG-ENV" in line
    assert f"export {missing}=" in line


def test_a_prediction_that_may_choose_its_dataset_misses_the_results_variable(
    shell: Any, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnanomaly_results")
    assert "nnanomaly_results" in shell.refuses(2, "predict", "-i", raw / "imagesTs", "-o", "preds")


def test_a_wrong_number_of_processes_in_the_environment_is_named(
    shell: Any, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnanomaly_def_n_proc", "0")
    assert "nnanomaly_def_n_proc" in shell.refuses(2, "plan_and_preprocess", "-d", 501)


@pytest.mark.parametrize("command", ["plan_and_preprocess", "train", "predict", "evaluate_folder", "demo"])
@pytest.mark.parametrize("flag", ["--no_such_flag", "-x"])
def test_an_unknown_flag_is_refused(shell: Any, command: str, flag: str) -> None:
    needed = {"train": ["501", "ddpm"], "evaluate_folder": ["a", "b"], "demo": []}
    arguments = needed.get(command, ["-d", "501", "-i", "a", "-o", "b"] if command == "predict" else ["-d", "501"])
    with pytest.raises(SystemExit) as stop:
        shell(command, *arguments, flag)
    assert stop.value.code == 2
    assert flag in shell.capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments", "part"),
    [
        ("predict", ["-i", "a", "-o", "b", "-p", "X", "-preset", "paper"], "-preset"),
        ("predict", ["-i", "a", "-o", "b", "--continue"], "--continue"),  # no abbreviations
        ("train", ["501"], "configuration"),
        ("train", ["501", "unet"], "unet"),
        ("train", ["501", "3d_fullres", "0"], "type ddpm"),
        ("train", ["501", "vqgan", "-num_iterations", "many"], "many"),
        ("plan_and_preprocess", [], "-d"),
        ("plan_and_preprocess", ["-d", "501", "-preset", "mine"], "mine"),
        ("evaluate_folder", ["only_one"], "pred_folder"),
    ],
)
def test_missing_and_impossible_arguments_are_named(shell: Any, command: str, arguments: list[str], part: str) -> None:
    with pytest.raises(SystemExit) as stop:
        shell(command, *arguments)
    assert stop.value.code == 2
    assert part in shell.capsys.readouterr().err


def test_evaluation_of_folders_that_are_not_there_is_refused(shell: Any, model: object) -> None:
    assert "nowhere" in shell.refuses(3, "evaluate_folder", "nowhere", "neither", "-l", "1")


def test_the_demo_wants_a_folder_of_its_own(shell: Any, raw: Path) -> None:
    Path("used/raw/Dataset900_Phantom").mkdir(parents=True)
    Path("used/raw/Dataset900_Phantom/notes.txt").write_text("mine")
    assert "CFG-OUTPUT" in shell.refuses(2, "demo", "-o", "used")


@pytest.mark.parametrize(
    ("raised", "status", "part"),
    [
        (Interrupted(15), 143, "To go on: nnanomaly_train 501 vqgan --c"),
        (Interrupted(2), 130, "To go on: nnanomaly_train 501 vqgan --c"),
        (KeyboardInterrupt(), 130, "To go on: nnanomaly_train 501 vqgan --c"),
        (Terminated(), 143, "To go on: nnanomaly_train 501 vqgan --c"),
        (OSError(errno.ENOSPC, "No space left on device", "/file"), 5, "[NNA-IO-WRITE] /file: "),
        (PermissionError(errno.EACCES, "Permission denied", "/file"), 5, "/file"),
        (MemoryError("no memory"), 5, "no memory"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/file"), 3, "/file"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), 5, "[NNA-IO-WRITE] "),
        (UnicodeEncodeError("utf-8", "caf\udce9", 3, 4, "surrogates not allowed"), 3, "[NNA-IO-NAME] "),
        (ValueError("several\nlines"), 1, "[NNA-INTERNAL] ValueError: several lines (cli/training"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_interruptions_and_faults_of_the_machine_have_their_exit_status(
    shell: Any, preprocessed: Path, monkeypatch: pytest.MonkeyPatch, raised: BaseException, status: int, part: str
) -> None:
    from nnanomaly.cli import training_run

    def stop(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(training_run, "train_fold", stop)
    assert shell("train", 501, "vqgan") == status
    (line,) = shell.capsys.readouterr().err.splitlines()
    assert part in line


OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB.\nSee the documentation"


@pytest.mark.parametrize(
    ("module", "function", "arguments", "remedy"),
    [
        ("training.train_api", "load_fold", ["train", "501", "vqgan"], "-batch_size"),
        ("inference.calibrate_api", "load_trained_fold", ["train", "501", "ddpm", "--val"], "-device cpu"),
        ("inference.case_work", "predict_patches", ["predict", "-i", "imagesTs", "-o", "preds"], "-device cpu"),
    ],
)
def test_a_gpu_without_memory_ends_a_command_with_one_line_and_a_remedy(
    shell: Any,
    preprocessed: Path,
    model: object,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
    function: str,
    arguments: list[str],
    remedy: str,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    monkeypatch.setattr(f"nnanomaly.{module}.{function}", fail)
    assert shell(*arguments) == 5
    line = shell.error()
    assert "[NNA-ENV-MEMORY] out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.)" in line
    assert remedy in line


@pytest.mark.parametrize("arguments", [["501", "vqgan"], ["501", "ddpm"]])
def test_a_full_disk_ends_training_with_one_line(shell: Any, preprocessed: Path, arguments: list[str]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # enough for curves
    try:
        status = shell("train", *arguments)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 5
    assert "[NNA-CKPT-WRITE]" in shell.error()
    assert not [name for name in shell.everything() if ".tmp-" in name or name.endswith(".pth")]


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=60)


def test_a_process_of_its_own_ends_with_the_status_and_one_line(shell: Any, tmp_path: Path) -> None:
    code = "import sys; from nnanomaly.cli import predict; sys.exit(predict())"
    result = python(code, "-d", "777", "-i", "x", "-o", "y")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: [NNA-CFG-DATASET] no dataset '777' found")


def test_the_traceback_is_shown_on_request(shell: Any) -> None:
    code = "import sys; from nnanomaly.cli import predict; sys.exit(predict())"
    result = python(code, "-d", "777", "-i", "x", "-o", "y", "--verbose")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: [NNA-CFG-DATASET]")


@pytest.mark.parametrize("command", [*COMMANDS, "evaluate_folder", "demo"])
def test_help_answers_at_once_and_loads_no_torch(command: str) -> None:
    code = f"""
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
from nnanomaly.cli import {command}
{command}(["-h"])
"""
    seconds = []
    for _ in range(3):  # the machine may be busy: the best of three counts
        start = time.monotonic()
        result = python(code)
        seconds.append(time.monotonic() - start)
        if seconds[-1] < 2:
            break
    assert result.returncode == 0
    assert "usage:" in result.stdout
    assert result.stderr.strip() == "False"
    assert min(seconds) < 2


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = (
        "import sys; from nnanomaly.cli.options import new_parser; from nnanomaly.cli.run import run_command;"
        "from nnanomaly.cli import doctor;"
        "sys.exit(run_command(new_parser(doctor), [], lambda _: [print('x' * 80) for _ in range(5000)] and 0))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141
