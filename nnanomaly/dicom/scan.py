"""All files of a folder, read as headers in processes that may die."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dicom.folder_files import ARCHIVE, DICOM, INDEX_FILE, OTHER, find_files, kind_of_file
from nnanomaly.dicom.headers import SliceHeader, read_header
from nnanomaly.dicom.limits import bounded
from nnanomaly.dicom.report import SKIPPED, SeriesOutcome
from nnanomaly.dicom.series import NamedStack, find_stacks
from nnanomaly.utilities.case_faults import KILLED, CaseFault
from nnanomaly.utilities.case_runner import Progress, run_isolated
from nnanomaly.utilities.errors import DataError

FILES_PER_TASK = 200
MEMORY_BYTES = 1 << 30
SECONDS_PER_TASK = 300.0
DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of the index of a medium."""
_LOST = {
    "damaged": ("DCM-HEADER", "files say that they are DICOM, but cannot be read. Copy them again."),
    "denied": ("DCM-DENIED", "files cannot be opened. Give yourself the right to read them."),
    "closed": ("DCM-DENIED", "folders cannot be entered, or links lead nowhere. Mend them: nothing is known of them."),
    "killed": ("DCM-KILLED", "files were left out, as reading one of them crashed or took too much."),
    "nameless": (
        "DCM-SERIES",
        "files can be read, but do not say to which series they belong (no Series Instance UID). Give each series one, "
        "the same in all its files: anonymisers replace it on demand.",
    ),
    ARCHIVE: ("DCM-ARCHIVE", "archives hold DICOM files. Unpack them first."),
}
"""Code and reason of files that are lost, by what is wrong with them."""


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

    Links to folders are followed. Raises `DataError`: DATA-FOLDER (no folder), DCM-EMPTY (no DICOM file in it).
    """
    if not folder.is_dir():
        raise DataError("DATA-FOLDER", f"{folder} is not a folder. Name the one that holds the DICOM files.")
    files = find_files(folder)
    paths = files.paths
    tasks = [tuple(paths[start : start + FILES_PER_TASK]) for start in range(0, len(paths), FILES_PER_TASK)]
    outcomes = run_isolated(_read_headers, tasks, num_processes=num_processes, progress=progress, quote=False)
    read = [outcome for outcome in outcomes if not isinstance(outcome, CaseFault)]
    counts = sum((outcome.counts for outcome in read), Counter[str]())
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            counts["killed" if outcome is KILLED else "damaged"] += len(task)
    counts["closed"] = files.num_unreadable
    if counts[OTHER] + counts[INDEX_FILE] == len(paths) and not files.num_unreadable:
        raise DataError("DCM-EMPTY", f"{folder} holds {len(paths)} files, but no DICOM. {_remedy(counts)}")
    headers = [header for outcome in read for header in outcome.headers]
    counts["nameless"] = sum(not header.series_uid for header in headers)
    return FolderScan(
        stacks=tuple(find_stacks([header for header in headers if header.series_uid], chosen_cases)),
        num_other_files=counts[OTHER] + counts[INDEX_FILE],
        lost=tuple(
            SeriesOutcome(status=SKIPPED, code=code, reason=f"{counts[kind]} {reason}", num_files=counts[kind])
            for kind, (code, reason) in _LOST.items()
            if counts[kind]
        ),
    )


def _remedy(counts: Counter[str]) -> str:
    if counts[INDEX_FILE]:
        return "There is only the index of a medium (DICOMDIR): copy the files that it lists as well."
    return "Name the folder of the export."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headers:
    """What a worker found."""

    headers: list[SliceHeader]
    """Of the files that can be parsed."""
    counts: Counter[str]
    """Files by kind, and those that cannot be read."""


def _read_headers(paths: Sequence[Path]) -> _Headers:
    headers, counts = [], Counter[str]()
    with bounded(extra_bytes=MEMORY_BYTES, seconds=SECONDS_PER_TASK):
        for path in paths:
            try:
                kind = kind_of_file(path)
            except OSError:  # not named: the path may hold a patient's name
                counts["denied"] += 1
                continue
            header = read_header(path) if kind == DICOM else None
            if header is not None and header.sop_class == DIRECTORY:
                kind = INDEX_FILE  # under another name than DICOMDIR
            elif header is not None:
                headers.append(header)
            counts["damaged" if kind == DICOM and header is None else kind] += 1
    return _Headers(headers=headers, counts=counts)
