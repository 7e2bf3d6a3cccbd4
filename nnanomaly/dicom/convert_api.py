"""A folder of DICOM files to a folder of NIfTI images, with a report on every series."""

import logging
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dicom.case_table import check_new, check_place, read_case_table, write_case_table
from nnanomaly.dicom.convert_stack import StackTask, convert_stack, skipped
from nnanomaly.dicom.report import SKIPPED, SeriesOutcome, report_paths, write_report
from nnanomaly.dicom.scan import FolderScan, scan_folder
from nnanomaly.dicom.series import NamedStack
from nnanomaly.dicom.traits import made_up
from nnanomaly.utilities.case_faults import KILLED, CaseFault
from nnanomaly.utilities.case_runner import Progress, run_isolated
from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionOptions:
    """What a user may choose."""

    case_table: Path | None = None
    """CSV with the columns series_uid and case; other series get made-up ids."""
    write_case_table: Path | None = None
    """Where to write which series became which case; None: nowhere."""
    correct_tilt: bool = False
    """Whether series with a tilted gantry are straightened; else they are skipped."""
    overwrite: bool = False
    """Whether other images of chosen case ids, and the table to write, are replaced."""
    num_processes: int = 1
    """Worker processes."""


def convert_folder(
    source: Path, images: Path, options: ConversionOptions, *, progress: Progress | None = None
) -> list[SeriesOutcome]:
    """Convert every series below `source` to `images/{case}_0000.nii.gz`; returns what became of each.

    The report lies beside `images`. Raises `DataError`: DATA-FOLDER, DCM-EMPTY, DCM-NOTHING (every series is
    skipped), CASE-ID, DCM-CASES; `ConfigurationError` (CFG-OUTPUT); `EnvironmentFault` (IO-WRITE).
    """
    if images.exists() and not images.is_dir():
        raise ConfigurationError("CFG-OUTPUT", f"-o {images} is a file. Name a folder.")
    if options.write_case_table is not None:
        check_place(options.write_case_table, images)
        check_new(options.write_case_table, read=options.case_table, overwrite=options.overwrite)
    chosen = read_case_table(options.case_table) if options.case_table else {}
    scan = scan_folder(source, chosen, num_processes=options.num_processes)
    absent = sorted(case for uid, case in chosen.items() if made_up(uid) not in {stack.series for stack in scan.stacks})
    if absent:
        _LOGGER.warning(
            "%d series of %s are not in %s: cases %s", len(absent), options.case_table, source, ", ".join(absent[:5])
        )
    outcomes = _convert(scan, images, options, progress)
    write_report(images, outcomes, num_other_files=scan.num_other_files)
    if options.write_case_table is not None:
        write_case_table(options.write_case_table, scan.stacks)
    for outcome in outcomes:
        if outcome.code == "IO-WRITE":
            raise EnvironmentFault("IO-WRITE", outcome.reason)
        if outcome.status == SKIPPED:
            _LOGGER.warning("skipped: [NNA-%s] %s: %s", outcome.code, outcome.series or "files", outcome.reason)
    if all(outcome.status == SKIPPED for outcome in outcomes):
        reasons = ", ".join(sorted({outcome.code for outcome in outcomes}))
        raise DataError("DCM-NOTHING", f"no series could be taken ({reasons}). See {report_paths(images)[1]}.")
    return outcomes


def _convert(
    scan: FolderScan, images: Path, options: ConversionOptions, progress: Progress | None
) -> list[SeriesOutcome]:
    tasks = [
        StackTask(stack=stack, images=images, correct_tilt=options.correct_tilt, overwrite=options.overwrite)
        for stack in scan.stacks
    ]
    outcomes = run_isolated(convert_stack, tasks, num_processes=options.num_processes, progress=progress, quote=False)
    return [
        *(
            _skipped(task.stack, outcome) if isinstance(outcome, CaseFault) else outcome
            for task, outcome in zip(tasks, outcomes, strict=True)
        ),
        *scan.lost,
    ]


def _skipped(stack: NamedStack, fault: CaseFault) -> SeriesOutcome:
    if fault is KILLED:
        return skipped(
            stack, "DCM-KILLED", "reading the series crashed, or took more memory or time than its size explains."
        )
    return skipped(stack, fault.error.code, fault.error.message)
