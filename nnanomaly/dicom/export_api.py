"""Predictions back to DICOM: each case finds the series it came from, and lies on it again.

This is the step in which patients' names come back, for a viewer files an object by patient and study. It is a
command of its own, so that all others, prediction included, never see a DICOM file.
"""

import functools
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.dicom.case_table import read_case_table
from nnanomaly.dicom.convert_stack import check_tilt
from nnanomaly.dicom.headers import PARSER_FAULTS, quiet_libraries, read_tags
from nnanomaly.dicom.kinds import check_kind
from nnanomaly.dicom.objects import anomaly_parametric_map, lesion_segmentation
from nnanomaly.dicom.scan import scan_folder
from nnanomaly.dicom.series import NamedStack
from nnanomaly.dicom.stack_geometry import StackGeometry, stack_geometry
from nnanomaly.imageio.nifti import read_labels, read_volume
from nnanomaly.paths import BOXES_ENDING, DETECTIONS, MAPS
from nnanomaly.roi.candidates_file import read_candidates_file
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError, UserError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.system_errors import refused
from nnanomaly.volume import SAME_GRID_MM, Grid

ENDING = ".nii.gz"
SEGMENTATION_ENDING, MAP_ENDING = "_seg.dcm", "_anomaly_map.dcm"
NOT_LOOKED_AT = ("no_roi", "failed")
LONGEST_DESCRIPTION = 64
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTask:
    """One case."""

    case: str
    """Case id."""
    stack: NamedStack | None
    """Its slices; None where the DICOM folder does not hold them."""


def export_folder(
    predictions: Path,
    source: Path,
    output: Path,
    *,
    case_table: Path | None,
    num_processes: int,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Write `{case}_seg.dcm` and `{case}_anomaly_map.dcm` for every mask; returns the reason per case without them.

    Raises `DataError`: DATA-FOLDER, DATA-CASES (no masks), DCM-EMPTY, DCM-CASES, CASE-ID; `ConfigurationError`
    (CFG-OUTPUT) where the output is the folder of the predictions or of the series; `EnvironmentFault` (IO-WRITE).
    """
    if output.resolve() in (predictions.resolve(), source.resolve()) or output.is_file():
        raise ConfigurationError("CFG-OUTPUT", f"-o {output} is one of the inputs, or a file. Name another folder.")
    cases = sorted(path.name.removesuffix(ENDING) for path in predictions.glob(f"*{ENDING}"))
    if not cases:
        raise DataError("DATA-CASES", f"{predictions} holds no masks. Name the output folder of nnanomaly_predict.")
    chosen = read_case_table(case_table) if case_table else {}
    stacks = {stack.case: stack for stack in scan_folder(source, chosen, num_processes=num_processes).stacks}
    tasks = [ExportTask(case=case, stack=stacks.get(case)) for case in cases]
    work = functools.partial(_export_case, predictions=predictions, output=output)
    outcomes = run_cases(work, tasks, num_processes=num_processes, progress=progress, quote=False)
    failed = {}
    for case, outcome in zip(cases, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            failed[case] = outcome.reason
            _LOGGER.warning("not exported: %s: %s", case, outcome.reason)
    lacking = unfinished(predictions)
    if lacking:
        _LOGGER.error("%s", lacking)
    _LOGGER.info("%d exported, %d not: %s", len(cases) - len(failed), len(failed), output)
    return failed


def _export_case(task: ExportTask, *, predictions: Path, output: Path) -> None:
    """Write both objects of a case. Nothing of the slices is quoted."""
    for ending in (SEGMENTATION_ENDING, MAP_ENDING):  # of an earlier run
        (output / f"{task.case}{ending}").unlink(missing_ok=True)
    try:
        with quiet_libraries():
            _export(task, predictions, output)
    except (UserError, OSError):
        raise
    except PARSER_FAULTS:
        raise DataError(
            "DCM-HEADER", "the slices lack what a segmentation needs of them. Use the original export."
        ) from None


def _export(task: ExportTask, predictions: Path, output: Path) -> None:
    if task.stack is None:
        raise DataError("DCM-UNMATCHED", "no series of the DICOM folder has this case id. Name its case table with -t.")
    description = _searched(predictions, task.case)
    check_kind(task.stack.headers)
    geometry = stack_geometry(task.stack.headers)
    check_tilt(geometry)
    mask = _on_grid(predictions / f"{task.case}{ENDING}", geometry)
    sources = [read_tags(header.path, None) for header in geometry.headers]
    segmentation = lesion_segmentation(sources, mask != 0, description=_title("lesions", description))
    _save(segmentation, output / f"{task.case}{SEGMENTATION_ENDING}")
    map_path = predictions / MAPS / f"{task.case}{ENDING}"
    if map_path.is_file():
        volume = read_volume(map_path)
        _check_grid(volume.grid, geometry, map_path)
        scores = volume.array[0].astype(np.float32)
        part = _looked_at(scores)
        parametric_map = anomaly_parametric_map(
            sources[part], scores[part], description=_title("anomaly map", description)
        )
        _save(parametric_map, output / f"{task.case}{MAP_ENDING}")


def _searched(predictions: Path, case: str) -> str:
    """Which organs were looked at, where the prediction says so; `DataError` (DCM-NOROI) for none.

    A segmentation without lesions of a scan that nobody looked at would read as a healthy patient.
    """
    path = predictions / DETECTIONS / f"{case}{BOXES_ENDING}"
    if not path.is_file():
        return ""
    organs = read_candidates_file(path, required=("organs",))["organs"]
    searched = [organ for organ, status in organs.items() if status not in NOT_LOOKED_AT]
    if not searched:
        raise DataError("DCM-NOROI", "no organ of the scan was looked at, so there is nothing to show.")
    return ", ".join(searched)


def _title(what: str, searched: str) -> str:
    text = f"nnanomaly {what} in {searched}" if searched else f"nnanomaly {what}"
    return text if len(text) <= LONGEST_DESCRIPTION else f"{text[: LONGEST_DESCRIPTION - 3]}..."


def _on_grid(path: Path, geometry: StackGeometry) -> NDArray[np.generic]:
    volume = read_labels(path)
    _check_grid(volume.grid, geometry, path)
    return volume.array[0]


def _check_grid(grid: Grid, geometry: StackGeometry, path: Path) -> None:
    if grid.shape != geometry.grid.shape or grid.largest_corner_distance_mm(geometry.grid) > SAME_GRID_MM:
        raise DataError("GEO-PAIR", f"{path} does not lie on the grid of its series. Was the scan changed since?")


def _looked_at(scores: NDArray[np.float32]) -> slice:
    """From the first to the last slice that holds a score; all where none does. A map of floats is large."""
    slices = np.flatnonzero(scores.any(axis=(1, 2)))
    return slice(int(slices[0]), int(slices[-1]) + 1) if slices.size else slice(None)


def _save(dataset: Dataset, path: Path) -> None:
    try:
        write_atomically(path, lambda temporary: dataset.save_as(temporary))
    except OSError as error:
        raise refused(error) from error
