"""The command `nnanomaly`: it lists all commands, runs each, and names those that were meant."""

import sys

import pytest

import nnanomaly
from nnanomaly import cli
from nnanomaly.cli import overview
from nnanomaly.cli.overview import GROUPS, main


@pytest.mark.parametrize("words", [[], ["-h"], ["--help"]])
def test_the_list_has_a_line_for_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  nnanomaly_train 501 ddpm" in lines[:8]
    for group, commands in GROUPS.items():
        start = lines.index(f"{group}:")
        block = lines[start + 1 : lines.index("", start)]
        text = " ".join(" ".join(block).split())
        assert text == " ".join(f"{command.__name__} {overview.summary(command)}" for command in commands)


def test_the_list_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 110


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"nnanomaly {nnanomaly.__version__}\n"


def test_a_named_command_gets_the_other_words_and_gives_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def train(argv: list[str] | None = None) -> int:
        seen.append(list(argv or []))
        return 4

    monkeypatch.setitem(overview.GROUPS, "Train", (train,))
    monkeypatch.setattr(sys, "argv", ["nnanomaly", "train", "501", "ddpm", "--c"])
    assert main() == 4
    assert seen == [["501", "ddpm", "--c"]]


def test_a_command_has_its_own_help_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "-h"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert text.startswith("usage: nnanomaly_train [-h]")
    assert overview.summary(cli.train) in text


@pytest.mark.parametrize(
    ("word", "hint"), [("trian", "Did you mean train?"), ("nnanomaly_predict", "predict"), ("-x", "nnanomaly -h")]
)
def test_an_unknown_command_is_refused_with_those_that_are_near(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([word]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: [NNA-CFG-COMMAND] there is no command {word!r}.")
    assert hint in line
