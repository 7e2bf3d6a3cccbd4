"""Tables that people type: comma, semicolon or tab, quotes, spaces around values; faults with their line numbers."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnanomaly.utilities.errors import DataError

MAX_FAULTS_SHOWN = 20


class TableRow(NamedTuple):
    """A row: the line of the file in which it ends, and its values by lower-case column name."""

    line: int
    values: dict[str, str]


def parse_table(
    text: str, path: Path, *, required: Sequence[str], codes: tuple[str, str], example: str
) -> list[TableRow]:
    """Rows of a table, values without surrounding spaces; empty rows are passed over.

    `path` and `example` serve the messages. `codes`: those of the `DataError` for a table of another form, and for
    rows of another length.
    """
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), skipinitialspace=True)
    try:
        lines = [(reader.line_num, [value.strip() for value in fields]) for fields in reader]
    except csv.Error as error:
        raise DataError(codes[0], f"{path}, line {reader.line_num}: {error}. Correct the table.") from error
    columns = [name.lower() for name in lines[0][1]] if lines else []
    missing = [name for name in required if name not in columns]
    if missing or len(set(columns)) < len(columns):
        raise DataError(codes[0], f"{path} has the columns {columns}, needs {list(required)}. Such as: {example}")
    filled = [(line, fields) for line, fields in lines[1:] if any(fields)]
    faults = [
        f"line {line}: {len(f)} values for {len(columns)} columns" for line, f in filled if len(f) != len(columns)
    ]
    refuse_rows(path, faults, code=codes[1])
    return [TableRow(line, dict(zip(columns, fields, strict=True))) for line, fields in filled]


def refuse_rows(path: Path, faults: Sequence[str], *, code: str) -> None:
    """Raise one `DataError` that lists the faults, if there are any."""
    if faults:
        rest = [f"and {len(faults) - MAX_FAULTS_SHOWN} more"] if len(faults) > MAX_FAULTS_SHOWN else []
        raise DataError(code, f"{path}: {'; '.join([*faults[:MAX_FAULTS_SHOWN], *rest])}. Correct these lines.")
