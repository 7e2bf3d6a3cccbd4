"""detections/status.csv: what became of every case and organ of a prediction, over all runs on a folder."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnanomaly.paths import DETECTIONS
from nnanomaly.roi.scan_domain import CaseWarning
from nnanomaly.utilities.csv_table import parse_table, write_table
from nnanomaly.utilities.errors import DataError

COLUMNS = {
    "case": "Case id.",
    "organ": "Organ; empty in the row of a case that failed as a whole.",
    "status": "`ok`, `truncated_roi` (the border of the scan cuts the organ), `no_roi` (empty mask: nothing is said of "
    "the organ) or `failed`.",
    "reason": "Why a case failed; else empty.",
    "warnings": "What is unusual about the scan or the mask, codes and words, separated by semicolons: other "
    "intensities, side, volume or size than the training organs, half of the organ marked. Empty in tables of earlier "
    "versions.",
}
"""Columns and what they hold, for the table and for its reference page."""
OLDEST = ("case", "organ", "status", "reason")
"""Columns that tables of every version have."""
Row = dict[str, str]
"""A row of the table, by column."""


def incomplete_cases(rows: Sequence[Row]) -> list[str]:
    """Cases of which nothing is said: they failed, or no organ of them was looked at.

    One empty mask of several is a finding of its own, such as a kidney that was taken out: what was asked for is done.
    """
    cases = dict.fromkeys(row["case"] for row in rows)
    said = {row["case"] for row in rows if row["status"] not in ("failed", "no_roi")}
    return sorted(case for case in cases if case not in said)


def status_rows(case: str, status: Mapping[str, str], warnings: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
    """A row per organ of a case that was predicted, with its warnings."""
    said = warnings or {}
    return [
        {"case": case, "organ": organ, "status": word, "reason": "", "warnings": "; ".join(said.get(organ, ()))}
        for organ, word in status.items()
    ]


def texts_by_organ(warnings: Iterable[CaseWarning]) -> dict[str, list[str]]:
    """The warnings of every organ as they stand in the table."""
    texts: dict[str, list[str]] = {}
    for warning in warnings:
        texts.setdefault(warning.organ, []).append(str(warning))
    return texts


def failed_row(case: str, reason: str) -> list[Row]:
    """The row of a case that failed as a whole."""
    return [{"case": case, "organ": "", "status": "failed", "reason": reason, "warnings": ""}]


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
        rows = parse_table(text, path, required=OLDEST, codes=("JSON", "JSON"), example="case,organ,...")
    except (UnicodeDecodeError, DataError):
        return []
    return [{column: row.values.get(column, "") for column in COLUMNS} for row in rows]
