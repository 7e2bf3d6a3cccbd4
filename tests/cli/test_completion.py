"""Completion by the shell, asked for as bash does it: by variables, answered on file descriptor 8."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnanomaly.cli

SEPARATOR = "\013"


def complete(tmp_path: Path, command: str, line: str) -> list[str]:
    answer = tmp_path / "answer"
    code = f"import sys; sys.argv[0] = 'nnanomaly_{command}'; from nnanomaly.cli import {command}; {command}()"
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(nnanomaly.__file__).parents[1]),
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_IFS": SEPARATOR,
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_SUPPRESS_SPACE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
    }
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment, timeout=60)
    return answer.read_text().split(SEPARATOR)


@pytest.mark.skipif(importlib.util.find_spec("argcomplete") is None, reason="argcomplete (extra completion) is missing")
@pytest.mark.parametrize(
    ("command", "line", "expected"),
    [
        ("train", "nnanomaly_train 501 c", {"classifier"}),
        ("train", "nnanomaly_train 501 ddpm -num_", {"-num_gpus", "-num_iterations", "-num_workers"}),
        ("predict", "nnanomaly_predict -preset ", {"default", "paper"}),
        ("predict", "nnanomaly_predict --cont", {"--continue_prediction"}),
    ],
)
def test_options_and_choices_are_completed(tmp_path: Path, command: str, line: str, expected: set[str]) -> None:
    assert {word.strip() for word in complete(tmp_path, command, line)} == expected


def test_without_the_extra_a_command_works_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "argcomplete", None)
    with pytest.raises(SystemExit) as stop:
        nnanomaly.cli.train(["-h"])
    assert stop.value.code == 0
