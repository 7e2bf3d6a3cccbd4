"""The commands: a frozen list that every part of the project agrees on, and a start without heavy imports."""

import ast
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

import nnanomaly.cli
from nnanomaly.cli.overview import GROUPS, summary

COMMANDS = (
    "convert_dicom",
    "convert_kits",
    "convert_msd",
    "make_dataset",
    "segment_organs",
    "label_reports",
    "plan_and_preprocess",
    "extract_fingerprint",
    "plan_experiment",
    "preprocess",
    "plot_overlay_pngs",
    "train",
    "sweep",
    "find_best_configuration",
    "diagnose",
    "predict",
    "export_dicom",
    "evaluate_folder",
    "evaluate",
    "compare",
    "report",
    "import_nndetection",
    "export_nndetection",
    "export_model_to_zip",
    "install_pretrained_model_from_zip",
    "doctor",
    "demo",
)
HEAVY = ("torch", "matplotlib", "SimpleITK", "nibabel", "scipy", "skimage", "pandas", "sklearn", "pydicom", "highdicom")


def _setup_commands(root: Path) -> tuple[str, ...]:
    tree = ast.parse((root / "setup.py").read_text(encoding="utf-8"))
    (commands,) = (
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "COMMANDS"
    )
    return tuple(commands)


def _python(code: str, root: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment, timeout=60
    )


def test_the_list_of_commands_is_frozen(root: Path) -> None:
    assert _setup_commands(root) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_a_function_of_the_cli_that_says_in_one_line_what_it_does(command: str) -> None:
    function = getattr(nnanomaly.cli, command)
    assert function.__name__ == command
    assert re.fullmatch(r"[A-Z].{20,81}[.?]", summary(function))


def test_the_list_of_nnanomaly_holds_every_command_once() -> None:
    listed = [command.__name__ for group in GROUPS.values() for command in group]
    assert sorted(listed) == sorted(COMMANDS)


def test_the_list_answers_at_once(root: Path) -> None:
    seconds = []
    for _ in range(3):  # the machine may be busy: the best of three counts
        start = time.monotonic()
        result = _python("from nnanomaly.cli.overview import main; main(['--help'])", root)
        seconds.append(time.monotonic() - start)
    assert "nnanomaly_train 501 ddpm" in result.stdout
    assert min(seconds) < 1


def test_starting_a_command_imports_nothing_heavy(root: Path) -> None:
    code = f"import sys, nnanomaly.cli.overview; print(*[m for m in {HEAVY} if m in sys.modules])"
    result = _python(code, root)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""


@pytest.mark.parametrize("command", ["plan_and_preprocess", "predict"])
def test_help_answers_at_once(command: str, root: Path) -> None:
    start = time.monotonic()
    result = _python(f"from nnanomaly.cli import {command}; {command}(['-h'])", root)
    assert result.returncode == 0, result.stderr
    assert "usage:" in result.stdout
    assert time.monotonic() - start < 2
