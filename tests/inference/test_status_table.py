"""The table of a prediction over several runs: the newest word about a case counts, the others stay."""

import csv
from pathlib import Path

from nnanomaly.inference.status_table import failed_row, status_rows, write_status

GONE, NEW = failed_row("a", "truncated"), status_rows("b", {"left": "ok", "right": "no_roi"})


def table(output: Path, name: str = "status.csv") -> list[dict[str, str]]:
    with (output / "detections" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_anew_forgets_the_earlier_one_and_a_continued_one_does_not(tmp_path: Path) -> None:
    assert write_status(tmp_path, GONE, keep_earlier=True, part=None) == GONE == table(tmp_path)
    assert write_status(tmp_path, NEW, keep_earlier=True, part=None) == GONE + NEW == table(tmp_path)
    assert write_status(tmp_path, NEW, keep_earlier=False, part=None) == NEW == table(tmp_path)


def test_the_newest_word_about_a_case_counts(tmp_path: Path) -> None:
    write_status(tmp_path, GONE + NEW, keep_earlier=False, part=None)
    mended = status_rows("a", {"left": "ok"})
    assert write_status(tmp_path, mended, keep_earlier=True, part=None) == NEW + mended


def test_every_part_has_its_table(tmp_path: Path) -> None:
    write_status(tmp_path, GONE, keep_earlier=False, part=0)
    assert write_status(tmp_path, NEW, keep_earlier=True, part=1) == NEW
    assert (table(tmp_path, "status_part0.csv"), table(tmp_path, "status_part1.csv")) == (GONE, NEW)


def test_a_file_of_another_kind_is_replaced(tmp_path: Path) -> None:
    write_status(tmp_path, GONE, keep_earlier=False, part=None)
    (tmp_path / "detections" / "status.csv").write_text("case;organ\na;b;c\n")
    assert write_status(tmp_path, NEW, keep_earlier=True, part=None) == NEW
