"""Tables as CSV, read and written.

Read are tables that people write: comma, semicolon or tab, a byte-order mark, quotes and spaces around values are fine.
Written are tables that spreadsheet programs open, which run a cell that begins with =, +, - or @ as a formula. Names
and sentences of others stand in our tables, so such a cell gets an apostrophe in front, which reading takes away again.
"""

import csv
import io
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.json_io import shown
from nnanomaly.utilities.matching import one_a_line

MAX_BYTES = 256 * 2**20
"""Largest table that is opened."""
MAX_COLUMNS = 1000
"""Widest table that is read."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet program computes."""


class Row(NamedTuple):
    """One filled row."""

    line: int
    """Line in the file, from 1."""
    values: dict[str, str]
    """Value of every column."""


def read_table(
    path: Path, *, required: Sequence[str], optional: Sequence[str] = (), codes: tuple[str, str], example: str
) -> list[Row]:
    """Rows of a table with their line numbers, values without surrounding spaces, empty rows left out.

    Names of required and optional columns are understood in upper and lower case, other columns keep theirs.

    Raises `DataError` with the first code for what is no table with the required columns, with the second one for
    rows of another length, all of which are listed.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError(codes[0], f"{path} has {size} bytes, but at most {MAX_BYTES} are read. Is it the right file?")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(codes[0], f"{path} is not UTF-8 text: {error}. Save the table as CSV UTF-8.") from error
    return parse_table(text, path, required=required, optional=optional, codes=codes, example=example)


def parse_table(
    text: str,
    path: Path,
    *,
    required: Sequence[str],
    optional: Sequence[str] = (),
    codes: tuple[str, str],
    example: str,
) -> list[Row]:
    """The same of a text; `path` serves the messages."""
    of_table, of_rows = codes
    first = text.split("\n", 1)[0]
    width = 1 + max(map(first.count, ",;\t"))
    if width > MAX_COLUMNS:
        raise DataError(of_table, f"{path} has {width} columns, but at most {MAX_COLUMNS} are read. Leave some out.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [_rearmed(value.strip()) for value in fields]) for fields in reader]
    except csv.Error as error:
        raise DataError(of_table, f"{path}, line {reader.line_num}: {error}. Correct the table.") from error
    known = {*required, *optional}
    columns = [name.lower() if name.lower() in known else name for name in (lines[0][1] if lines else [])]
    missing = [name for name in required if name not in columns]
    if missing or len(set(columns)) < len(columns):
        raise DataError(
            of_table, f"{path} has the columns {shown(columns)}, needs {list(required)}. Such as: {example}"
        )
    filled = [(line, fields) for line, fields in lines[1:] if any(fields)]
    wrong = [f"line {line}: {len(f)} values for {len(columns)} columns" for line, f in filled if len(f) != len(columns)]
    refuse_rows(path, wrong, code=of_rows)
    return [Row(line, dict(zip(columns, fields, strict=True))) for line, fields in filled]


def table_text(columns: Collection[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV text with its head; no cell of it is a formula."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([disarmed(name) for name in columns])
    writer.writerows([disarmed(value) for value in row] for row in rows)
    return text.getvalue()


def write_table(path: Path, columns: Collection[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table atomically as CSV in UTF-8; no cell of it is a formula."""
    write_text(path, table_text(columns, rows))


def disarmed(value: object) -> object:
    """A cell that no spreadsheet program computes."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def _rearmed(value: str) -> str:
    return value[1:] if value[:1] == "'" and _is_formula(value[1:]) else value


def _is_formula(text: str) -> bool:
    text = text.lstrip("'")  # so that a text that begins with an apostrophe itself comes back whole
    if not text.startswith(_FORMULA):
        return False
    try:
        float(text)
    except ValueError:
        return True
    return False


def refuse_rows(path: Path, faults: Sequence[str], *, code: str) -> None:
    """Raise one `DataError` that lists the faults of a table, if there are any; several stand on a line each."""
    if len(faults) == 1:
        raise DataError(code, f"{path}: {faults[0]}. Correct this line.")
    if faults:
        raise DataError(code, f"{path} has {len(faults)} faults. Correct these lines:{one_a_line(faults)}")
