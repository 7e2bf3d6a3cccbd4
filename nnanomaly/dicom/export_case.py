"""One prediction to its DICOM objects, on the slices that it was made of.

An object that is there already is kept where it is the same prediction, which its UID tells, and never replaced by
another one unasked.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from nnanomaly.dicom.convert_stack import check_tilt
from nnanomaly.dicom.headers import PARSER_FAULTS, quiet_libraries, read_tags
from nnanomaly.dicom.kinds import check_kind
from nnanomaly.dicom.objects import anomaly_parametric_map, complete_sources, lesion_segmentation
from nnanomaly.dicom.series import NamedStack
from nnanomaly.dicom.stack_geometry import StackGeometry, stack_geometry
from nnanomaly.imageio.nifti import read_labels, read_volume
from nnanomaly.paths import MAPS
from nnanomaly.reordering import require_on_grid
from nnanomaly.utilities.errors import DataError, EnvironmentFault, UserError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.volume import Volume

ENDING = ".nii.gz"
SEGMENTATION_ENDING, MAP_ENDING = "_seg.dcm", "_anomaly_map.dcm"
NOT_LOOKED_AT = ("no_roi", "failed")
LONGEST_DESCRIPTION = 64
NUM_LISTED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportTask:
    """One case."""

    case: str
    """Case id."""
    stack: NamedStack | None
    """Its slices; None where the DICOM folder does not hold them."""
    organs: dict[str, str]
    """Status of every organ, where the prediction says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOutcome:
    """What became of a case."""

    error: UserError | None = None
    """What is wrong; None where both objects are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskValues:
    """What the values of the masks mean, where it is known."""

    lesions: frozenset[int] = frozenset()
    """Values that are lesions; empty: the only value that a mask holds."""
    known: frozenset[int] = frozenset()
    """All values that a mask may hold; empty: any."""


def export_case(
    task: ExportTask, *, predictions: Path, output: Path, values: MaskValues, overwrite: bool
) -> ExportOutcome:
    """Write both objects of a case. Nothing of the slices is quoted."""
    try:
        with quiet_libraries():
            _export(task, predictions, output, (values, overwrite))
    except UserError as error:
        return ExportOutcome(error=_with_leftovers(error, task.case, output))
    except PARSER_FAULTS as error:
        fault = DataError("DCM-ATTRIBUTES", _fault_of_slices(error))
        return ExportOutcome(error=_with_leftovers(fault, task.case, output))
    return ExportOutcome()


def _fault_of_slices(error: BaseException) -> str:
    """What a library missed in the slices; its own message may quote them."""
    keyword = getattr(error, "name", None)
    if isinstance(keyword, str) and tag_for_keyword(keyword) is not None:
        return f"the slices have no {keyword}, which an object on them needs. Export again with it."
    return f"no object can be made on these slices ({type(error).__name__}). Use the original export."


def _with_leftovers(error: UserError, case: str, output: Path) -> UserError:
    """The same error, which also names objects of an earlier export that no longer hold."""
    names = [f"{case}{ending}" for ending in (SEGMENTATION_ENDING, MAP_ENDING) if (output / f"{case}{ending}").exists()]
    if not names or error.code in ("DCM-EXISTS", "IO-WRITE"):
        return error
    return type(error)(error.code, f"{error.message} Still there, of an earlier export: {', '.join(names)}.")


def _export(task: ExportTask, predictions: Path, output: Path, how: tuple[MaskValues, bool]) -> None:
    values, overwrite = how
    if task.stack is None:
        raise DataError("DCM-UNMATCHED", "no series of the DICOM folder has this case id. Name its case table with -t.")
    searched = _searched(task.organs)
    check_kind(task.stack.headers)
    geometry = stack_geometry(task.stack.headers)
    check_tilt(geometry)
    mask = _lesions(predictions / f"{task.case}{ENDING}", geometry, values)
    sources = complete_sources([read_tags(header.path, None) for header in geometry.headers])
    segmentation = lesion_segmentation(sources, mask, description=_title("lesions", searched))
    _save(segmentation, output / f"{task.case}{SEGMENTATION_ENDING}", overwrite=overwrite)
    map_path = predictions / MAPS / f"{task.case}{ENDING}"
    if map_path.is_file():
        volume = _on_slices(read_volume(map_path), geometry, map_path)
        scores = volume.array[0].astype(np.float32)
        part = _looked_at(scores)
        parametric_map = anomaly_parametric_map(
            sources[part], scores[part], description=_title("anomaly map", searched)
        )
        _save(parametric_map, output / f"{task.case}{MAP_ENDING}", overwrite=overwrite)


def _searched(organs: dict[str, str]) -> str:
    """Which organs were looked at, where the prediction says so; `DataError` (DCM-NOROI) for none.

    A segmentation without lesions of a scan that nobody looked at would read as a healthy patient.
    """
    searched = [organ for organ, status in organs.items() if status not in NOT_LOOKED_AT]
    if organs and not searched:
        raise DataError("DCM-NOROI", "no organ of the scan was looked at, so there is nothing to show.")
    return ", ".join(searched)


def _title(what: str, searched: str) -> str:
    text = f"nnanomaly {what} in {searched}" if searched else f"nnanomaly {what}"
    return text if len(text) <= LONGEST_DESCRIPTION else f"{text[: LONGEST_DESCRIPTION - 3]}..."


def _lesions(path: Path, geometry: StackGeometry, values: MaskValues) -> NDArray[np.bool_]:
    """Lesions `[Z, Y, X]`; `DataError` (DCM-LABELS) where the values leave open what is one."""
    volume = _on_slices(read_labels(path), geometry, path)
    found = {int(value) for value in np.unique(volume.array)} - {0}
    unknown = sorted(found - (values.known or found))
    if unknown:
        raise DataError(
            "DCM-LABELS", f"{path} holds values that its dataset.json does not name: {unknown[:NUM_LISTED]}. Give -l."
        )
    if len(found) > 1 and not values.lesions:
        raise DataError(
            "DCM-LABELS", f"{path} holds the values {sorted(found)[:NUM_LISTED]}: which are lesions? Give them with -l."
        )
    return np.isin(volume.array[0], sorted(values.lesions or found))


def _on_slices(volume: Volume, geometry: StackGeometry, path: Path) -> Volume:
    """A volume in the order of the slices; `DataError` (GEO-PAIR) where its voxels are others."""
    return require_on_grid(volume, path, grid=geometry.grid, image="its series")


def _looked_at(scores: NDArray[np.float32]) -> slice:
    """From the first to the last slice that holds a score; all where none does. A map of floats is large."""
    slices = np.flatnonzero(scores.any(axis=(1, 2)))
    return slice(int(slices[0]), int(slices[-1]) + 1) if slices.size else slice(None)


def _save(dataset: Dataset, path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        if _instance_uid(path) == str(dataset.SOPInstanceUID):
            return
        raise DataError("DCM-EXISTS", f"{path} is there already, and is another object. Replace it with --overwrite.")
    try:
        write_atomically(path, lambda temporary: dataset.save_as(temporary))
    except OSError as error:
        raise EnvironmentFault(
            "IO-WRITE", f"{path} could not be written ({error.strerror}). Make room on the disk, or mend the folder."
        ) from error


def _instance_uid(path: Path) -> str:
    """SOP Instance UID of a file; empty where it has none, or is no DICOM."""
    try:
        return str(read_tags(path, ("SOPInstanceUID",)).get("SOPInstanceUID", ""))
    except PARSER_FAULTS:
        return ""
