"""Write the report of a prediction folder: an overview and one page per case.

    report/index.html, report/cases/0001.html ..., report/assets/, report/report.json

Pages of cases are numbered: their names are then safe whatever a case is called. `report.json` lists all files; the
server serves these and no others, and the next report in the folder removes them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypedDict

import nnanomaly
from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.evaluation.lesion_labels import LesionLabels, find_lesion_labels
from nnanomaly.report.case_files import Folders
from nnanomaly.report.case_page import CaseOutcome, CaseTask, write_case_page
from nnanomaly.report.folder_facts import sections
from nnanomaly.report.organ_view import LOOKED_AT
from nnanomaly.report.pages import ASSETS, HERE, render
from nnanomaly.report.predictions import failed_cases, file_ending, images_folder, lesion_value, predicted_cases
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import copy_atomically, refuse_link, write_text
from nnanomaly.utilities.json_io import read_document, write_json
from nnanomaly.utilities.replacement import OURS, finish_replacements, replaced_as_one

INDEX, CASES, ASSETS_FOLDER, MANIFEST = "index.html", "cases", "assets", "report.json"
DEFAULT_MAX_MB = 3.0
REPORT_FILES = re.compile(rf"{re.escape(INDEX)}|{CASES}/\d+\.html|{ASSETS_FOLDER}/[A-Za-z0-9][A-Za-z0-9._-]*")
"""Names of the files of a report, of this version and of others."""


class Listed(TypedDict, total=False):
    """What is read of the `report.json` of an earlier report."""

    files: list[str]
    """Its files, relative to its folder."""


class Column(NamedTuple):
    """A column of the overview."""

    name: str
    numeric: bool
    title: str


COLUMNS = (
    Column("case", False, "case id"),
    Column("organ", False, "organ"),
    Column("status", False, "what the prediction says of the organ"),
    Column("score", True, "largest score of a candidate"),
    Column("map max", True, "largest value of the anomaly map in the part that is shown"),
    Column("candidates", True, "number of candidates"),
    Column("largest [mm]", True, "largest axial diameter of a candidate"),
    Column("volume [ml]", True, "volume of all candidates"),
)
JUDGED = (
    Column("matched", True, "candidates that found a lesion"),
    Column("false", True, "candidates without a lesion"),
    Column("missed", True, "lesions that nothing found"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """What the user may choose."""

    images: Path | None = None
    """Folder of the images; None: as the prediction wrote down."""
    references: Path | None = None
    """Folder of reference label maps."""
    dataset_json: Path | None = None
    """`dataset.json` that names the lesion labels; None: beside the references."""
    lesion_values: tuple[int, ...] = ()
    """Label values of lesions, instead."""
    comparison: Path | None = None
    """Folder of nnanomaly_compare; None: the predictions."""
    max_mb: float = DEFAULT_MAX_MB
    """Most MB of an organ in its page; 0: pictures only."""
    num_processes: int = 1
    """Processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was written."""

    index: Path
    """The overview."""
    files: list[str]
    """All files, relative to the folder of the overview."""
    faults: dict[str, str]
    """Case -> why it has no page."""
    num_coarse: int
    """Organs whose viewer shows larger voxels, to stay under the cap."""
    num_without_viewer: int
    """Organs with pictures only."""
    num_bytes: int
    """Size of all files."""
    unfinished: str | None = None
    """What the prediction lacks of the cases that were asked for; None where nothing is known to be missing."""


def build_report(
    predictions: Path, output: Path, options: ReportOptions, *, progress: Progress | None = None
) -> Report:
    """Write the report into `output`, which is new, empty, or holds an older report.

    Raises `ConfigurationError`: CFG-PREDS, CFG-INPUT, CFG-LABELS, CFG-OUTPUT, CFG-SIZE; `DataError` (RPT-FAILED) where
    no case could be shown. The fault of one case is in `Report.faults`.
    """
    if not 0 <= options.max_mb <= 50:
        raise ConfigurationError("CFG-SIZE", f"-max_mb is {options.max_mb:g}, but must lie between 0 and 50")
    cases = predicted_cases(predictions)
    labels = _labels(predictions, options)
    folders = Folders(
        predictions=predictions,
        images=images_folder(predictions, options.images),
        references=options.references,
        labels=labels,
        file_ending=file_ending(predictions),
    )
    finish_replacements(output)
    with replaced_as_one(output, gone=_older_files(output)) as new:  # an older report stays until this one is whole
        outcomes = _write_pages(new / CASES, cases, folders, options, progress=progress)
        done = _finish(predictions, new, options, outcomes)
    return replace(done, index=output / INDEX)


def _write_pages(
    pages: Path, cases: Sequence[str], folders: Folders, options: ReportOptions, *, progress: Progress | None
) -> list[CaseOutcome]:
    names = [f"{number:04d}.html" for number in range(1, len(cases) + 1)]
    tasks = [
        CaseTask(
            case=case,
            folders=folders,
            page=pages / names[number],
            previous=names[number - 1] if number else None,
            following=names[number + 1] if number + 1 < len(names) else None,
            max_bytes=round(options.max_mb * 1e6),
        )
        for number, case in enumerate(cases)
    ]
    done = run_cases(write_case_page, tasks, num_processes=options.num_processes, progress=progress)
    return [
        CaseOutcome(case=task.case, page=task.page.name, fault=outcome.reason)
        if isinstance(outcome, CaseFault)
        else outcome
        for task, outcome in zip(tasks, done, strict=True)
    ]


def _labels(predictions: Path, options: ReportOptions) -> LesionLabels | None:
    if options.references is None:
        return None
    if not options.references.is_dir():
        raise ConfigurationError("CFG-INPUT", f"{options.references} is not a folder. Correct -ref, or leave it out.")
    return find_lesion_labels(
        options.references, predictions, dataset_json=options.dataset_json, reference=options.lesion_values
    )


def _older_files(output: Path) -> list[str]:
    """The files of an older report, relative to its folder; a folder of anything else, or with links, is refused."""
    manifest = output / MANIFEST
    for name in (CASES, ASSETS_FOLDER):
        refuse_link(output, name)
    if manifest.is_file():
        remedy = "Delete the folder, or name another one with -o."
        listed = read_document(manifest, Listed, remedy=remedy).get("files", [])
        # The list is a file like any other: nothing but what a report consists of is removed, whatever it says.
        return [name for name in filter(REPORT_FILES.fullmatch, listed) if not (output / name).is_dir()]
    if output.exists() and (not output.is_dir() or any(path.name not in OURS for path in output.iterdir())):
        raise ConfigurationError("CFG-OUTPUT", f"{output} exists and holds no report. Name another folder with -o.")
    return []


def _list_files(output: Path, pages: Sequence[str]) -> list[str]:
    """Write report.json, the list of all files of a report with these pages of cases; returns the list."""
    files = [INDEX, *(f"{CASES}/{page}" for page in pages), *(f"{ASSETS_FOLDER}/{name}" for name in ASSETS)]
    write_json(output / MANIFEST, {"schema_version": 1, "version": nnanomaly.__version__, "files": files})
    return files


def _finish(predictions: Path, output: Path, options: ReportOptions, outcomes: Sequence[CaseOutcome]) -> Report:
    shown = [outcome for outcome in outcomes if outcome.fault is None]
    faults = {outcome.case: outcome.fault for outcome in outcomes if outcome.fault is not None}
    if not shown:
        case, reason = next(iter(faults.items()))
        raise DataError("RPT-FAILED", f"none of {len(outcomes)} cases could be shown; the first, {case}: {reason}")
    faults |= failed_cases(predictions)
    lacking = unfinished(predictions)
    for name in ASSETS:
        copy_atomically(HERE / "assets" / name, output / ASSETS_FOLDER / name)
    viewers = [row.viewer for outcome in shown for row in outcome.rows if row.num_bytes]
    has_reference = any(outcome.has_reference for outcome in shown)
    page = render(
        "index.html",
        root="",
        version=nnanomaly.__version__,
        title=predictions.resolve().name,
        summary=_summary(shown, has_reference),
        notes=[
            *([lacking] if lacking else []),
            *_value_note(predictions),
            *_notes(viewers, options, shown, has_reference),
        ],
        columns=[*COLUMNS, *(JUDGED if has_reference else ())],
        has_reference=has_reference,
        looked_at=LOOKED_AT,
        outcomes=shown,
        faults=faults,
        sections=sections(predictions, options.comparison or predictions),
    )
    write_text(output / INDEX, page)
    files = _list_files(output, [outcome.page for outcome in shown])
    return Report(
        index=output / INDEX,
        files=files,
        faults=faults,
        num_coarse=viewers.count("coarse"),
        num_without_viewer=viewers.count("none"),
        num_bytes=sum((output / name).stat().st_size for name in files),
        unfinished=lacking,
    )


def _summary(shown: Sequence[CaseOutcome], has_reference: bool) -> str:
    rows = [row for outcome in shown for row in outcome.rows]
    text = f"{len(shown)} cases, {len(rows)} organs, {sum(row.num_candidates for row in rows)} candidates"
    if not has_reference:
        return f"{text}. No reference was given, so that candidates are not judged."
    total = {word: sum(row.counts[word] for row in rows) for word in ("matched", "false", "missed")}
    return f"{text}: {total['matched']} matched, {total['false']} false; lesions missed: {total['missed']}."


def _value_note(predictions: Path) -> list[str]:
    """What a lesion is in the masks, where that is not 1 and a viewer of masks would call it something else."""
    value = lesion_value(predictions)
    return [] if value == 1 else [f"In the masks of the predictions a voxel of a lesion holds {value}, not 1."]


def _notes(
    viewers: Sequence[str], options: ReportOptions, shown: Sequence[CaseOutcome], has_reference: bool
) -> list[str]:
    notes = []
    if options.max_mb == 0:
        notes.append("The volumes are left out (-max_mb 0): the pages hold pictures, and no viewer.")
    elif viewers.count("coarse") or viewers.count("none"):
        notes.append(
            f"{viewers.count('coarse')} organs are shown in larger voxels and {viewers.count('none')} without a "
            f"viewer, to stay under {options.max_mb:g} MB an organ (-max_mb)."
        )
    lacking = [outcome.case for outcome in shown if not outcome.has_reference]
    if has_reference and lacking:
        notes.append(f"{len(lacking)} cases have no reference, such as {lacking[0]}.")
    return notes
