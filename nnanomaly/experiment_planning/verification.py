"""The full check of a raw dataset: every voxel of every file, in one pass, all faults in one table and one report.

What the quick check finds is in it. Images, masks and drawn lesions of the training and the test cases are read to
their last byte, and the organ masks are measured.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnanomaly.dataset.integrity import ERROR, FOLDERS, TEST, TRAINING, WARNING, Finding, find_faults, finding_of
from nnanomaly.dataset.raw_dataset import DatasetDescription, find_cases, image_files, load_description
from nnanomaly.dataset.same_scans import leaks, scan_hash
from nnanomaly.dataset.splits import Split
from nnanomaly.imageio.reader_writer import check_content, reader_writer_for
from nnanomaly.paths import ORGAN_MASKS_CSV, VERIFY_REPORT_JSON
from nnanomaly.preprocessing.mask_table import measure_case, write_mask_table
from nnanomaly.roi.mask_quality import MaskQuality, suspicions
from nnanomaly.utilities.case_faults import CaseFault, case_fault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import DataError, UserError
from nnanomaly.utilities.json_io import write_json

SCHEMA_VERSION = 1
GEOMETRY = "GEO-"
"""How the codes of faults of grids start."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What the full check found."""

    num_cases: dict[str, int]
    """Cases of each part."""
    findings: list[Finding]
    """Errors first, then by case."""
    masks: list[MaskQuality]
    """Facts of all organ masks that can be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseTask:
    folder: Path
    part: str
    case: str
    description: DatasetDescription


def verify_dataset(
    folder: Path, *, num_processes: int, splits: Sequence[Split] = (), progress: Progress | None = None
) -> Verification:
    """Check every file of a dataset folder; a `dataset.json` that cannot be read raises `DataError` at once.

    `splits`: the folds, where they are known; a scan on both sides of one is an error.
    """
    description = load_description(folder)
    quick = find_faults(folder, parts=(TRAINING, TEST))
    cases = {part: _cases(folder / FOLDERS[part][0], description) for part in FOLDERS}
    tasks = [
        _CaseTask(folder=folder, part=part, case=case, description=description)
        for part, of_part in cases.items()
        for case in of_part
    ]
    outcomes = run_cases(_read_case, tasks, num_processes=num_processes, progress=progress)
    read: list[Finding] = []
    masks: list[MaskQuality] = []
    hashes: dict[str, dict[str, str]] = {part: {} for part in FOLDERS}
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            read.append(finding_of(outcome.error)._replace(case=task.case))
        else:
            read += outcome.findings
            masks += outcome.masks
            if outcome.scan_hash is not None:
                hashes[task.part][task.case] = outcome.scan_hash
    findings = [*quick, *_without_known(read, quick), *_oddities(masks), *_same_scans(hashes, splits)]
    return Verification(
        num_cases={part: len(of_part) for part, of_part in cases.items()},
        findings=sorted(findings, key=lambda found: (found.level != ERROR, found.case, found.code)),
        masks=masks,
    )


def report_verification(verification: Verification, folder: Path, out_dir: Path) -> None:
    """Write report and table of masks, log all findings as a table; `DataError` (VERIFY) if there is any error."""
    path = out_dir / VERIFY_REPORT_JSON
    write_json(path, to_report(verification, folder))
    write_mask_table(out_dir / ORGAN_MASKS_CSV, verification.masks)
    if verification.findings:
        logger.warning("%s", "\n".join(findings_table(verification.findings)))
    num_errors = sum(finding.level == ERROR for finding in verification.findings)
    num_warnings = len(verification.findings) - num_errors
    if num_errors:
        raise DataError(
            "VERIFY",
            f"{folder}: errors: {num_errors}, warnings: {num_warnings}, all listed in {path}. Mend them and try again.",
        )
    logger.info("%s: no errors, %d warnings: %s, %s", folder.name, num_warnings, path, out_dir / ORGAN_MASKS_CSV)


def findings_table(findings: Sequence[Finding]) -> list[str]:
    """The findings as lines of a table."""
    rows = [("level", "code", "case", "fault"), *((f.level, f.code, f.case, f.message) for f in findings)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def to_report(verification: Verification, folder: Path) -> dict[str, Any]:
    """Content of verify_report.json."""
    levels = [finding.level for finding in verification.findings]
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": folder.name,
        "num_cases": verification.num_cases,
        "num_errors": levels.count(ERROR),
        "num_warnings": levels.count(WARNING),
        "findings": [finding._asdict() for finding in verification.findings],
    }


def _cases(images: Path, description: DatasetDescription) -> list[str]:
    try:
        return find_cases(images, description.file_ending)
    except DataError:  # an unsafe id, which the quick check has named
        return []


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseRead:
    """What reading all files of a case found."""

    findings: list[Finding]
    masks: list[MaskQuality]
    scan_hash: str | None
    """Name of the scan by its voxels; None where it cannot be read."""


def _read_case(task: _CaseTask) -> _CaseRead:
    """Read all files of a case to their end."""
    images, drawn, masks = (task.folder / name for name in FOLDERS[task.part])
    faults: list[UserError] = []
    hashed: list[str] = []
    for check in (
        functools.partial(_read_images, images, task, hashed),
        functools.partial(_read_label_map, drawn / f"{task.case}{task.description.file_ending}", task.description),
    ):
        try:
            check()
        except (UserError, OSError) as error:
            faults.append(case_fault(error).error)
    measured, unusable = measure_case(images, masks, task.case, description=task.description)
    return _CaseRead(
        findings=[finding_of(fault)._replace(case=task.case) for fault in (*faults, *unusable)],
        masks=measured,
        scan_hash=hashed[0] if hashed else None,
    )


def _read_images(images: Path, task: _CaseTask, hashed: list[str]) -> None:
    """Read all channels of a case; the hash of the first, which alone is used, is appended."""
    for channel, path in enumerate(image_files(images, task.case, task.description)):
        image = reader_writer_for(path).read_volume(path)
        if channel == 0:
            check_content(image, path)
            hashed.append(scan_hash(image))


def _read_label_map(path: Path, description: DatasetDescription) -> None:
    if not path.exists():
        return
    values = {int(value) for value in np.unique(reader_writer_for(path).read_labels(path).array)}
    unknown = sorted(values - {value for named in description.labels.values() for value in named})
    if unknown:
        raise DataError("LABEL-VALUE", f"{path} has the labels {unknown}, which dataset.json does not declare.")


def _without_known(read: list[Finding], quick: list[Finding]) -> list[Finding]:
    """What reading found, each once, without what the quick check has named; that one has compared all grids."""
    known = set(quick)
    return [f for f in dict.fromkeys(read) if f not in known and not f.code.startswith(GEOMETRY)]


def _same_scans(hashes: dict[str, dict[str, str]], splits: Sequence[Split]) -> list[Finding]:
    """Scans that are there twice under different names."""
    errors, warnings = leaks(hashes[TRAINING], hashes[TEST], splits)
    return [Finding(level, *remark) for level, of in ((ERROR, errors), (WARNING, warnings)) for remark in of]


def _oddities(masks: list[MaskQuality]) -> list[Finding]:
    found = suspicions(masks)
    return [
        Finding(WARNING, code, f"{organ}: {text}", case) for (case, organ), odd in found.items() for code, text in odd
    ]
