"""detections/status.csv: what became of every case and organ of a prediction, over all runs on a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnanomaly.paths import DETECTIONS
from nnanomaly.utilities.csv_table import parse_table, write_table
from nnanomaly.utilities.errors import DataError

COLUMNS = {
    "case": "Case id.",
    "organ": "Organ; empty in the row of a case that failed as a whole.",
    "status": "`ok`, `truncated_roi` (the border of the scan cuts the organ), `no_roi` (empty mask: nothing is said of "
    "the organ) or `failed`.",
    "reason": "Why a case failed; else empty.",
}
"""Columns and what they hold, for the table and for its reference page."""
INCOMPLETE = ("failed", "no_roi")
"""Words of the table for what was not looked at."""
Row = dict[str, str]
"""A row of the table, by column."""


def status_rows(case: str, status: Mapping[str, str]) -> list[Row]:
    """A row per organ of a case that was predicted."""
    return [{"case": case, "organ": organ, "status": word, "reason": ""} for organ, word in status.items()]


def failed_row(case: str, reason: str) -> list[Row]:
    """The row of a case that failed as a whole."""
    return [{"case": case, "organ": "", "status": "failed", "reason": reason}]


def write_status(output: Path, rows: Sequence[Row], *, keep_earlier: bool, part: int | None) -> list[Row]:
    """Write the table and return all its rows.

    With `keep_earlier`, rows of an earlier run stay for the cases that are not in `rows`. Every part of a prediction
    has a table of its own.
    """
    path = output / DETECTIONS / ("status.csv" if part is None else f"status_part{part}.csv")
    done = {row["case"] for row in rows}
    earlier = [row for row in _read(path) if row["case"] not in done] if keep_earlier else []
    write_table(path, list(COLUMNS), [[row[column] for column in COLUMNS] for row in (*earlier, *rows)])
    return [*earlier, *rows]


def read_status(output: Path) -> list[Row]:
    """The rows of all tables of a folder of predictions: of the whole, and of its parts."""
    return [row for path in sorted((output / DETECTIONS).glob("status*.csv")) for row in _read(path)]


def _read(path: Path) -> list[Row]:
    """The rows of a table; none of a file that is missing or is something else."""
    if not path.is_file():
        return []
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = parse_table(text, path, required=list(COLUMNS), codes=("JSON", "JSON"), example="case,organ,...")
    except (UnicodeDecodeError, DataError):
        return []
    return [row.values for row in rows]
