"""The generated reference pages are those that the code gives, and what they are made from is complete."""

import argparse
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest

import nnanomaly.plans
from documentation.generator import fields, markdown
from documentation.generator.commands import parser_of, usage
from documentation.generator.pages import PAGES
from documentation.generator.plans import SECTIONS
from nnanomaly.cli.overview import GROUPS, Command

COMMANDS = [command for group in GROUPS.values() for command in group]
SILENT = (None, False, "", (), [], argparse.SUPPRESS)
"""Defaults that do nothing, and need not be told."""


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_gives(root: Path, name: str) -> None:
    written = (root / "documentation" / "reference" / name).read_text(encoding="utf-8")
    assert written == PAGES[name](), f"documentation/reference/{name} is not up to date: run `make reference`"


def test_the_commands_page_depends_on_no_environment(root: Path) -> None:
    code = "from documentation.generator.commands import commands_page as page; print(page(), end='')"
    environment = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "40", "nnanomaly_def_n_proc": "7"}
    environment |= {"nnanomaly_raw": "/elsewhere", "nnanomaly_tracker": "wandb", "LANG": "de_DE", "PYTHONUTF8": "1"}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    assert result.stdout == (root / "documentation" / "reference" / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_argument_has_a_help_that_tells_its_default(command: Command) -> None:
    actions = parser_of(command)._actions
    assert all(action.help for action in actions)
    silent = [
        action.dest
        for action in actions
        if action.default not in SILENT and "default" not in str(action.help) and action.dest != "help"
    ]
    assert not silent


def test_every_dataclass_of_the_plans_has_a_section() -> None:
    kinds = {kind for kind in vars(nnanomaly.plans).values() if dataclasses.is_dataclass(kind)}
    assert set(SECTIONS) == kinds


def test_the_usage_holds_what_must_be_typed() -> None:
    parser = argparse.ArgumentParser(prog="tool")
    parser.add_argument("images", nargs="+", help="")
    parser.add_argument("fold", nargs="?", help="")
    parser.add_argument("-o", required=True, help="")
    parser.add_argument("-size", nargs=2, required=True, metavar=("HIGH", "WIDE"), help="")
    parser.add_argument("-np", help="")
    assert usage(parser) == "tool images [images ...] [fold] -o O -size HIGH WIDE [options]"


def test_names_in_a_sentence_become_code_and_code_stays() -> None:
    text = "folder with -d, as in dataset.json (`labels` stays) of imagesTs, one-sided, tumor=1"
    expected = "folder with `-d`, as in `dataset.json` (`labels` stays) of `imagesTs`, one-sided, `tumor=1`"
    assert markdown.mark_names(text) == expected


def test_bars_in_cells_do_not_end_them() -> None:
    assert markdown.table(("a", "b"), [("|x|", "y")]).splitlines()[2] == r"| \|x\| | y |"


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (tuple[float, float, float], "list of 3 numbers"),
        (tuple[tuple[int, int], ...] | None, "list of lists of 2 whole numbers or null"),
        (dict[str, str], "object of texts"),
        (list[bool], "list of true or false"),
    ],
)
def test_types_are_told_in_words(hint: object, words: str) -> None:
    assert fields.type_words(hint, {}) == words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sample:
    size: int
    """In voxels, or
    None."""
    name: str = "x"
    """Its name."""


def test_fields_come_with_their_sentence_and_default() -> None:
    assert fields.rows(Sample, {}, defaults=True) == [
        ("`size`", "whole number", "", "In voxels, or null."),
        ("`name`", "text", '`"x"`', "Its name."),
    ]
    assert fields.default_text(Sample(size=3)) == "`size`: `3`"


def test_a_field_without_a_sentence_is_refused() -> None:
    @dataclasses.dataclass
    class Bare:
        size: int = 1

    with pytest.raises(KeyError, match="size"):
        fields.rows(Bare, {}, defaults=False)
