"""All files of a folder, read as headers in processes that may die."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dicom.headers import SliceHeader, is_dicom, read_header
from nnanomaly.dicom.limits import bounded
from nnanomaly.dicom.report import SKIPPED, SeriesOutcome
from nnanomaly.dicom.series import NamedStack, find_stacks
from nnanomaly.utilities.case_faults import KILLED, CaseFault
from nnanomaly.utilities.case_runner import Progress, run_isolated
from nnanomaly.utilities.errors import DataError

FILES_PER_TASK = 200
MEMORY_BYTES = 1 << 30
SECONDS_PER_TASK = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderScan:
    """What a folder holds."""

    stacks: tuple[NamedStack, ...]
    """Slices that belong together."""
    num_other_files: int
    """Files that are no DICOM."""
    lost: tuple[SeriesOutcome, ...]
    """Rows for files that are DICOM, but could not be read."""


def scan_folder(
    folder: Path, chosen_cases: Mapping[str, str], *, num_processes: int, progress: Progress | None = None
) -> FolderScan:
    """Read the headers of all files below a folder and group them.

    Links to folders are not followed. Raises `DataError`: DATA-FOLDER (no folder), DCM-EMPTY (no DICOM file in it).
    """
    if not folder.is_dir():
        raise DataError("DATA-FOLDER", f"{folder} is not a folder. Name the one that holds the DICOM files.")
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    tasks = [tuple(paths[start : start + FILES_PER_TASK]) for start in range(0, len(paths), FILES_PER_TASK)]
    outcomes = run_isolated(_read_headers, tasks, num_processes=num_processes, progress=progress, quote=False)
    headers: list[SliceHeader] = []
    num_other, num_unreadable, num_killed = 0, 0, 0
    for task, outcome in zip(tasks, outcomes, strict=True):
        if outcome is KILLED:
            num_killed += len(task)
        elif isinstance(outcome, CaseFault):
            num_unreadable += len(task)
        else:
            headers += outcome.headers
            num_other += outcome.num_other
            num_unreadable += outcome.num_unreadable
    if num_other == len(paths):
        raise DataError("DCM-EMPTY", f"{folder} holds {len(paths)} files, but no DICOM. Name the folder of the export.")
    return FolderScan(
        stacks=tuple(find_stacks(headers, chosen_cases)),
        num_other_files=num_other,
        lost=(
            *_lost("DCM-HEADER", "files say that they are DICOM, but cannot be read. Copy them again.", num_unreadable),
            *_lost("DCM-KILLED", "files were left out, as reading one of them crashed or took too much.", num_killed),
        ),
    )


def _lost(code: str, reason: str, num_files: int) -> list[SeriesOutcome]:
    if not num_files:
        return []
    return [SeriesOutcome(status=SKIPPED, code=code, reason=f"{num_files} {reason}", num_files=num_files)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headers:
    headers: list[SliceHeader]
    num_other: int
    num_unreadable: int


def _read_headers(paths: Sequence[Path]) -> _Headers:
    headers, num_other, num_unreadable = [], 0, 0
    with bounded(extra_bytes=MEMORY_BYTES, seconds=SECONDS_PER_TASK):
        for path in paths:
            try:
                ours = is_dicom(path)
            except OSError:  # not named: the path may hold a patient's name
                num_unreadable += 1
                continue
            header = read_header(path) if ours else None
            num_other += not ours
            num_unreadable += ours and header is None
            headers += [header] if header else []
    return _Headers(headers=headers, num_other=num_other, num_unreadable=num_unreadable)
