"""Reports on disk: a folder with one text file per case, or a table with the columns `case` and `report`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nnanomaly.utilities.csv_table import parse_table, refuse_rows
from nnanomaly.utilities.errors import ConfigurationError, DataError

ENDING = ".txt"
NO_REPORTS = (".md", ".log", ".py", ".sh")
"""Endings of files that lie beside reports and are none."""
MAX_NAMES = 10
CODES = ("REPORT-CSV", "REPORT-ROWS")
EXAMPLE = 'case,report / case_00000,"Both kidneys are normal."'
_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
MANY_ZEROS = 0.3
"""Share of the bytes in even or odd places that are zero in UTF-16 without a mark, and in no other text."""


class Report(NamedTuple):
    """The report of one case."""

    case: str
    text: str
    encoding: str


def read_reports(sources: Sequence[Path]) -> list[Report]:
    """Reports of all folders and tables, sorted by case.

    ConfigurationError (CFG-REPORTS) for what is neither; DataError for none at all (REPORT-NONE), a table that is none
    (REPORT-CSV), and a case with two reports (REPORT-ROWS).
    """
    reports: dict[str, Report] = {}
    for source in sources:
        twice = []
        for report in _read_source(source):
            if reports.setdefault(report.case, report) is not report:
                twice.append(f"case {report.case!r} has two reports")
        refuse_rows(source, twice, code=CODES[1])
    if not reports:
        names = ", ".join(map(str, sources))
        raise DataError("REPORT-NONE", f"no reports in {names}. Name text files case{ENDING}, or fill the table.")
    return [reports[case] for case in sorted(reports)]


def unread_files(sources: Sequence[Path]) -> list[Path]:
    """What lies in the folders and is no text file: documents of other kinds, and folders."""
    folders = (source for source in sources if source.is_dir())
    return sorted(
        path
        for folder in folders
        for path in folder.iterdir()
        if path.suffix.lower() not in (ENDING, *NO_REPORTS) and not path.name.startswith(".")
    )


def unread_line(paths: Sequence[Path]) -> str:
    """The line that names them."""
    names = ", ".join(path.name for path in paths[:MAX_NAMES])
    more = f" and {len(paths) - MAX_NAMES} more" if len(paths) > MAX_NAMES else ""
    return f"not read: {names}{more} in {paths[0].parent}. Save them as {ENDING}, or as a table, or take them out."


def decode(content: bytes) -> tuple[str, str]:
    """Text and its encoding: as a byte-order mark says, UTF-16 by its zeros, UTF-8, or Windows-1252 (near Latin-1)."""
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), _unmarked(content))
    try:
        return content.decode(marked), marked
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace"), "cp1252"


def _unmarked(content: bytes) -> str:
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        half = content[first::2]
        if half.count(0) > MANY_ZEROS * max(1, len(half)) and content[1 - first :: 2].count(0) == 0:
            return name
    return "utf-8"


def _read_source(source: Path) -> list[Report]:
    if source.is_dir():
        paths = sorted(p for p in source.iterdir() if p.suffix.lower() == ENDING and not p.name.startswith("."))
        return [Report(path.stem, *decode(path.read_bytes())) for path in paths]
    if not source.is_file():
        raise ConfigurationError("CFG-REPORTS", f"{source} is neither a folder of reports nor a table. Correct it.")
    if source.suffix.lower() == ENDING:
        return [Report(source.stem, *decode(source.read_bytes()))]
    text, encoding = decode(source.read_bytes())
    rows = parse_table(text, source, required=("case", "report"), codes=CODES, example=EXAMPLE)
    refuse_rows(source, [f"line {row.line}: no case" for row in rows if not row.values["case"]], code=CODES[1])
    return [Report(row.values["case"], row.values["report"], encoding) for row in rows]
