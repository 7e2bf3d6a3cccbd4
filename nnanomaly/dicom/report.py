"""What became of every series: a table and a JSON document, without anything that says who a patient is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from nnanomaly import __version__
from nnanomaly.utilities.csv_table import write_table
from nnanomaly.utilities.json_io import write_json
from nnanomaly.volume import Shape, Triple

TAKEN, SKIPPED = "taken", "skipped"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesOutcome:
    """A row of the report: one stack of slices of a series."""

    series: str = ""
    """Hash of the series' UID; empty for files that belong to no series."""
    case: str = ""
    """Case id; of a stack that is skipped, the one it would have had."""
    patient: str = ""
    """Made-up name: the same for all series of one patient in the folder."""
    status: str
    """`taken` or `skipped`."""
    code: str = ""
    """Why it was skipped, such as DCM-MISSING."""
    reason: str = ""
    """The same as a sentence."""
    warnings: tuple[str, ...] = ()
    """What was noticed about a stack that is taken."""
    num_files: int = 0
    """Files of the stack."""
    shape: Shape | None = None
    """Voxels of the image that was written [Z, Y, X]."""
    spacing_mm: Triple | None = None
    """Their size, in the same order."""
    tilt_degrees: float = 0.0
    """Tilt of the gantry."""


def report_paths(images: Path) -> tuple[Path, Path]:
    """JSON and CSV beside the folder of images: within it, they would be no images."""
    images = images.resolve()
    stem = f"{images.name}_convert_report"
    return images.with_name(f"{stem}.json"), images.with_name(f"{stem}.csv")


def write_report(images: Path, outcomes: Sequence[SeriesOutcome], *, num_other_files: int) -> None:
    """Write both; `num_other_files` counts the files that are no DICOM."""
    json_path, csv_path = report_paths(images)
    rows = [asdict(outcome) for outcome in outcomes]
    document = {
        "schema_version": SCHEMA_VERSION,
        "version": __version__,
        TAKEN: sum(outcome.status == TAKEN for outcome in outcomes),
        SKIPPED: sum(outcome.status == SKIPPED for outcome in outcomes),
        "files_that_are_no_dicom": num_other_files,
        "series": rows,
    }
    write_json(json_path, document)
    columns = [field.name for field in fields(SeriesOutcome)]
    write_table(csv_path, columns, [[_cell(row[name]) for name in columns] for row in rows])


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return "; ".join(f"{item:.6g}" if isinstance(item, float) else str(item) for item in value)
    return "" if value is None else value
