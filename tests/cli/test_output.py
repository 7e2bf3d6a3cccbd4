import io
import logging
import sys

import pytest

from nnanomaly.cli import output
from nnanomaly.utilities.shown_text import command_line, visible


def test_letters_that_act_on_a_terminal_are_made_visible_and_all_others_stay() -> None:
    assert visible("Müller_腎-1 ± 日本") == "Müller_腎-1 ± 日本"
    assert visible("a\tb\nc") == "a\tb\nc"
    assert visible("\x1b[31mred\x07") == r"\x1b[31mred\x07"
    assert visible("\x9b31m\r\x7f") == r"\x9b31m\x0d\x7f"
    assert visible("x\u202egnp.exe\u2066\u200f") == r"x\u202egnp.exe\u2066\u200f"
    assert visible("caf\udce9") == r"caf\udce9"
    assert visible("\U000e0001") == r"\U000e0001"


def test_a_command_line_can_be_pasted_whatever_the_names_hold() -> None:
    assert command_line("nnanomaly_predict", "-d", "Dataset501_Kidney", 0) == "nnanomaly_predict -d Dataset501_Kidney 0"
    assert command_line("nnanomaly_predict", "-d", "x; rm -rf ~") == "nnanomaly_predict -d 'x; rm -rf ~'"


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_without_a_letter_shows_its_number(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    output.take_any_letter()
    output.say("0.5 ± 0.1 → caf\udce9 日", flush=True)
    shown = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert shown.startswith("0.5 ± 0.1" if encoding == "latin-1" else r"0.5 \xb1 0.1")
    assert r"\u2192 caf\udce9 \u65e5" in shown


def test_further_lines_of_an_error_are_set_in_and_none_acts(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.say_error("error: two\n lines \x1b[2J\n\n")
    assert capsys.readouterr().err == "error: two\n  lines \\x1b[2J\n"
    record = logging.LogRecord("nnanomaly", logging.INFO, "", 0, "%s", ("case\x1b[2J",), None)
    assert output._Visible("%(message)s").format(record) == r"case\x1b[2J"
