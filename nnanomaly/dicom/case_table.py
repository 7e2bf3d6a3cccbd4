"""The table of series and case ids: what a user chooses, and, where he asks for it, which series became which case.

It is the one file that names series by their UID and folders by their path. Whoever has it can go back from a case to
a patient: it is written only on request, readable by its owner alone, and never beside the images.
"""

from collections.abc import Sequence
from pathlib import Path

from nnanomaly.dataset.raw_dataset import check_case_id
from nnanomaly.dicom.series import NamedStack
from nnanomaly.paths import DATASET_PATTERN
from nnanomaly.utilities.csv_table import read_table, table_text
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import write_atomically

SERIES_UID, CASE = "series_uid", "case"
COLUMNS = {
    SERIES_UID: "Series Instance UID.",
    CASE: "Case id.",
    "series": "Hash of the UID, as the report of the conversion names the series.",
    "folder": "Folder of the series' files.",
}
"""Columns and what they hold, for the table and for its reference page."""
OWNER_ALONE = 0o600


def read_case_table(path: Path) -> dict[str, str]:
    """Case id by Series Instance UID, of a CSV file with the columns series_uid and case; others are ignored.

    Raises `FileNotFoundError` (IO-MISSING) and `DataError`: DCM-CASES (no such table, or a series twice), CASE-ID.
    """
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist")
    cases: dict[str, str] = {}
    required, codes = (SERIES_UID, CASE), ("DCM-CASES", "DCM-CASES")
    for number, row in read_table(path, required=required, codes=codes, example=f"{SERIES_UID},{CASE}"):
        uid, case = row[SERIES_UID], row[CASE]
        if not uid or not case or uid in cases:
            raise DataError(
                "DCM-CASES", f"{path}, line {number}: needs {SERIES_UID} and {CASE}, and every series only once."
            )
        check_case_id(case, path)
        cases[uid] = case
    return cases


def check_place(table: Path, images: Path) -> None:
    """Refuse to write the table among or beside images that are passed on: ConfigurationError (CFG-OUTPUT)."""
    images = images.resolve()
    shared = images.parent if DATASET_PATTERN.match(images.parent.name) else images
    if table.resolve().is_relative_to(shared):
        raise ConfigurationError(
            "CFG-OUTPUT",
            f"{table} leads from cases back to patients, and must not lie in {shared}. Name another folder.",
        )


def check_new(table: Path, *, read: Path | None, overwrite: bool) -> None:
    """Refuse to write the table over one that is there, or that is read: ConfigurationError (CFG-OUTPUT)."""
    if read is not None and table.resolve() == read.resolve():
        raise ConfigurationError("CFG-OUTPUT", f"{table} is the table that is read (-t). Write another one.")
    if table.exists() and not overwrite:
        raise ConfigurationError("CFG-OUTPUT", f"{table} is there already. Name another table, or add --overwrite.")


def write_case_table(path: Path, stacks: Sequence[NamedStack]) -> None:
    """A row per series, for `read_case_table` and for people: UID, case, hash, folder of its files."""
    first_of = {stack.series: stack for stack in reversed(stacks)}
    rows = [
        (stack.headers[0].series_uid, stack.case, stack.series, str(stack.headers[0].path.parent.absolute()))
        for stack in reversed(first_of.values())
    ]
    text = table_text(COLUMNS, rows)

    def write(temporary: Path) -> None:
        temporary.touch(OWNER_ALONE)
        temporary.write_text(text, encoding="utf-8", newline="")

    write_atomically(path, write)
