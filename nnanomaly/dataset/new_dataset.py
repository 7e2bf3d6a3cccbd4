"""A new raw dataset on disk: all of it or nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nnanomaly.paths import DATASET_PATTERN, ORGAN_LABELS_CSV
from nnanomaly.utilities.csv_table import write_table
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.leftovers import temporary_folder


class LabelRow(NamedTuple):
    """One row of `organ_labels.csv`."""

    case: str
    organ: str
    label: str
    source: str
    patient: str = ""


def free_dataset_folder(raw_root: Path, number: int, name: str) -> Path:
    """Folder of a dataset that is not there yet; `ConfigurationError` (CFG-OUTPUT) for a number that is taken."""
    target = raw_root / f"Dataset{number:03d}_{name}"
    if not DATASET_PATTERN.match(target.name) or "/" in name:
        raise ConfigurationError("CFG-OUTPUT", f"{target.name!r} is no name of a dataset, such as Dataset501_Kidney")
    taken = next(raw_root.glob(f"{target.name.split('_')[0]}_*"), None)
    if taken is not None:
        raise ConfigurationError("CFG-OUTPUT", f"{taken} exists already. Delete it, or give another number.")
    return target


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A hidden folder to fill, which becomes `target` in the end; nothing is left behind where an error is raised."""
    with temporary_folder(target) as work:
        yield work
        work.rename(target)


def write_organ_labels(folder: Path, rows: Sequence[LabelRow]) -> None:
    """Write the table of weak labels; the column `patient` only where a row names one."""
    columns = LabelRow._fields if any(row.patient for row in rows) else LabelRow._fields[:-1]
    write_table(folder / ORGAN_LABELS_CSV, columns, [row[: len(columns)] for row in rows])
