"""Predictions back to DICOM: each case finds the series it came from, and lies on it again.

This is the step in which patients' names come back, for a viewer files an object by patient and study. It is a
command of its own, so that all others, prediction included, never see a DICOM file.
"""

import functools
import logging
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.dataset.raw_dataset import check_case_id
from nnanomaly.dicom.case_table import read_case_table
from nnanomaly.dicom.export_case import ENDING, ExportTask, MaskValues, export_case
from nnanomaly.dicom.scan import FolderScan, scan_folder
from nnanomaly.evaluation.lesion_labels import find_lesion_labels
from nnanomaly.inference.status_table import Row, read_status
from nnanomaly.paths import BOXES_ENDING, DATASET_JSON, DETECTIONS
from nnanomaly.roi.candidates_file import read_candidates_file
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault, UserError
from nnanomaly.utilities.json_io import read_json
from nnanomaly.utilities.leftovers import remove_leftovers

NUM_LISTED = 5
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What a user may choose."""

    case_table: Path | None = None
    """CSV with the columns series_uid and case, if one was used for the conversion."""
    lesion_values: tuple[int, ...] = ()
    """Values of the masks that are lesions; empty: as dataset.json beside them says, else the only value of a mask."""
    overwrite: bool = False
    """Whether objects of another prediction are replaced."""
    num_processes: int = 1
    """Worker processes."""


def export_folder(
    predictions: Path, source: Path, output: Path, options: ExportOptions, *, progress: Progress | None = None
) -> dict[str, str]:
    """Write `{case}_seg.dcm` and `{case}_anomaly_map.dcm` for every mask; returns the reason per case without them.

    Raises `DataError`: DATA-FOLDER, DATA-CASES (no masks), DCM-EMPTY, DCM-CASES, CASE-ID; `ConfigurationError`:
    CFG-OUTPUT where the output is the folder of the predictions, within that of the series, or a file, and
    CFG-LABELS; `EnvironmentFault` (IO-WRITE).
    """
    _check_output(output, predictions, source)
    masks = sorted(path.name for path in predictions.glob(f"*{ENDING}") if not path.name.startswith("."))
    if not masks:
        raise DataError("DATA-CASES", f"{predictions} holds no masks. Name the output folder of nnanomaly_predict.")
    values = _mask_values(predictions, options.lesion_values)
    chosen = read_case_table(options.case_table) if options.case_table else {}
    scan = scan_folder(source, chosen, num_processes=options.num_processes)
    _prepare(output)
    status = read_status(predictions)
    cases, failed = _exportable([name.removesuffix(ENDING) for name in masks], status, predictions)
    stacks = {stack.case: stack for stack in scan.stacks}
    tasks = [ExportTask(case=case, stack=stacks.get(case), organs=organs) for case, organs in cases.items()]
    work = functools.partial(
        export_case, predictions=predictions, output=output, values=values, overwrite=options.overwrite
    )
    outcomes = run_cases(work, tasks, num_processes=options.num_processes, progress=progress, quote=False)
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            failed[task.case] = outcome.reason
        elif isinstance(outcome.error, EnvironmentFault):  # a full disk is no fault of the case
            raise outcome.error
        elif outcome.error is not None:
            failed[task.case] = str(outcome.error)
    _tell(failed, scan, {name.removesuffix(ENDING) for name in masks})
    lacking = unfinished(predictions)
    if lacking:
        _LOGGER.error("%s", lacking)
    num_done = len(cases) - len(failed.keys() & cases.keys())
    _LOGGER.info("%d exported, %d not: %s", num_done, len(failed), output)
    return failed


def _check_output(output: Path, predictions: Path, source: Path) -> None:
    place = output.resolve()
    if place == predictions.resolve() or place.is_relative_to(source.resolve()) or output.is_file():
        raise ConfigurationError(
            "CFG-OUTPUT", f"-o {output} is the folder of the predictions, within the series, or a file. Name another."
        )


def _prepare(output: Path) -> None:
    """The folder, which can be written to, without what a killed export left; EnvironmentFault (IO-WRITE)."""
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFault("IO-WRITE", f"{output} cannot be made ({error.strerror}). Name another -o.") from error
    if not os.access(output, os.W_OK | os.X_OK):
        raise EnvironmentFault("IO-WRITE", f"nothing may be written in {output}. Mend its rights, or name another -o.")
    remove_leftovers(output)


def _mask_values(predictions: Path, chosen: Sequence[int]) -> MaskValues:
    """From the user, else from dataset.json beside the masks; ConfigurationError (CFG-LABELS) where that is open."""
    if chosen:
        return MaskValues(lesions=frozenset(chosen))
    path = predictions / DATASET_JSON
    if not path.is_file():
        return MaskValues()
    lesions = find_lesion_labels(predictions, predictions).prediction
    named = read_json(path)["labels"].values()
    known = {value for item in named for value in (item if isinstance(item, list) else [item])}
    return MaskValues(lesions=frozenset(lesions), known=frozenset(known | set(lesions)))


def _exportable(
    names: Sequence[str], status: Sequence[Row], predictions: Path
) -> tuple[dict[str, dict[str, str]], dict[str, str]]:
    """Cases with a mask that may be exported, with the status of their organs; and the reason of every other case."""
    failed_cases = {row["case"] for row in status if not row["organ"] and row["status"] == "failed"}
    cases: dict[str, dict[str, str]] = {}
    failed: dict[str, str] = {}
    for name in names:
        try:
            check_case_id(name, predictions)
            if name in failed_cases:
                raise DataError("DCM-NOMASK", "its prediction failed; the mask is of an earlier run. Predict it again.")
            cases[name] = _organs(predictions, name, status)
        except UserError as error:
            failed[repr(name)[1:-1]] = str(error)
    for case in sorted({row["case"] for row in status} - set(names)):
        failed[case] = "[NNA-DCM-NOMASK] the prediction lists the case, but left no mask. Predict it again."
    return cases, failed


def _organs(predictions: Path, case: str, status: Sequence[Row]) -> dict[str, str]:
    """Status of every organ of a case; empty where the prediction says nothing of it."""
    path = predictions / DETECTIONS / f"{case}{BOXES_ENDING}"
    if not path.is_file():
        return {row["organ"]: row["status"] for row in status if row["case"] == case and row["organ"]}
    return read_candidates_file(path, required=("organs",))["organs"]


def _tell(failed: Mapping[str, str], scan: FolderScan, predicted: Set[str]) -> None:
    """Say what has no partner: predictions without objects, files that were lost, series without a prediction."""
    for case, reason in failed.items():
        _LOGGER.warning("not exported: %s: %s", case, reason)
    for lost in scan.lost:
        _LOGGER.warning("left out: [NNA-%s] %s", lost.code, lost.reason)
    without = sorted(stack.case for stack in scan.stacks if stack.case not in predicted)
    if without:
        listed = ", ".join(without[:NUM_LISTED]) + (", ..." if len(without) > NUM_LISTED else "")
        _LOGGER.warning("%d series of the DICOM folder have no prediction: %s", len(without), listed)
