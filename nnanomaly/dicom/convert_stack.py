"""One stack of slices to one NIfTI image, in a process of its own."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from nnanomaly.dicom.kinds import check_kind
from nnanomaly.dicom.limits import bounded
from nnanomaly.dicom.pixels import read_stack
from nnanomaly.dicom.report import SKIPPED, TAKEN, SeriesOutcome
from nnanomaly.dicom.series import NamedStack
from nnanomaly.dicom.stack_geometry import StackGeometry, distance_warnings, stack_geometry
from nnanomaly.dicom.straighten import straighten
from nnanomaly.imageio.nifti import read_volume, write_volume
from nnanomaly.utilities.errors import DataError, EnvironmentFault, UserError
from nnanomaly.utilities.system_errors import every_case_meets
from nnanomaly.volume import SAME_GRID_MM, Volume

MEMORY_BYTES, MEMORY_BYTES_PER_VOXEL = 1 << 30, 32
SECONDS, SECONDS_PER_FILE = 120.0, 1.0
ENDING = "_0000.nii.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackTask:
    """What a worker needs."""

    stack: NamedStack
    """The slices."""
    images: Path
    """Folder for the image."""
    correct_tilt: bool
    """Whether a tilted stack is straightened; else it is skipped."""
    overwrite: bool = False
    """Whether another image of a case id that the user chose is replaced."""


def convert_stack(task: StackTask) -> SeriesOutcome:
    """Check, decode and write a stack; every fault of the series is its outcome, never an exception.

    Only for a worker process: it may be killed by its own limits.
    """
    stack = task.stack
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # its warnings quote the file
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    num_voxels = sum(header.shape[0] * header.shape[1] for header in stack.headers)
    blank = skipped(stack, "", "")
    try:
        with bounded(
            extra_bytes=MEMORY_BYTES + MEMORY_BYTES_PER_VOXEL * num_voxels,
            seconds=SECONDS + SECONDS_PER_FILE * len(stack.headers),
        ):
            return _convert(task, blank)
    except UserError as error:
        if not (stack.chosen or isinstance(error, EnvironmentFault)):
            (task.images / f"{stack.case}{ENDING}").unlink(missing_ok=True)  # of an earlier run: no longer true
        return replace(blank, code=error.code, reason=_reason(error, stack))
    except MemoryError:
        return replace(blank, code="DCM-KILLED", reason="reading the series took more memory than its size explains.")
    except OSError as error:  # not str(error): it names the file
        if every_case_meets(error):
            raise
        return replace(blank, code="DCM-HEADER", reason=f"a file cannot be read ({error.strerror}).")


def _reason(error: UserError, stack: NamedStack) -> str:
    """What is wrong; of a part of a series also why it is a part, which may be the cause."""
    return f"{error.message}{' (' + apart(stack) + ')' if stack.apart_by else ''}"


def apart(stack: NamedStack) -> str:
    """That a stack is not all of its series, and why."""
    return f"a part of its series, whose slices differ in {', '.join(stack.apart_by)}"


def skipped(stack: NamedStack, code: str, reason: str) -> SeriesOutcome:
    """The row of a stack that is not taken."""
    return SeriesOutcome(
        series=stack.series,
        case=stack.case,
        patient=stack.patient,
        status=SKIPPED,
        code=code,
        reason=reason,
        num_files=len(stack.headers),
    )


def check_tilt(geometry: StackGeometry) -> None:
    """Refuse a tilted stack: `DataError` (DCM-TILT)."""
    if geometry.tilt_degrees:
        raise DataError(
            "DCM-TILT", f"the gantry was tilted by {geometry.tilt_degrees:.3g} degrees. Convert with --correct_tilt."
        )


def _check_free(path: Path, volume: Volume) -> None:
    """Refuse to replace another image, or what is none: `DataError` (DCM-EXISTS)."""
    if not path.exists():
        return
    try:
        there = read_volume(path)
    except UserError:
        there = None
    same = there is not None and there.grid.shape == volume.grid.shape and np.array_equal(there.array, volume.array)
    if not same or there is None or there.grid.largest_corner_distance_mm(volume.grid) > SAME_GRID_MM:
        raise DataError(
            "DCM-EXISTS", f"{path.name} is there already, and is another image. Choose another id, or --overwrite."
        )


def _convert(task: StackTask, blank: SeriesOutcome) -> SeriesOutcome:
    warnings = check_kind(task.stack.headers)
    geometry = stack_geometry(task.stack.headers)
    if not task.correct_tilt:
        check_tilt(geometry)
    array, noticed = read_stack(geometry)
    noticed += distance_warnings(geometry)
    grid = geometry.grid
    if geometry.tilt_degrees:
        array, grid = straighten(array, grid, geometry.drift_mm)
        noticed.append(f"a tilt of {geometry.tilt_degrees:.3g} degrees was taken out")
    path, volume = task.images / f"{task.stack.case}{ENDING}", Volume(array[None], grid)
    if task.stack.chosen and not task.overwrite:  # a made-up id belongs to this series alone
        _check_free(path, volume)
    write_volume(path, volume)
    return replace(
        blank,
        status=TAKEN,
        warnings=(*([apart(task.stack)] if task.stack.apart_by else []), *warnings, *noticed),
        shape=grid.shape,
        spacing_mm=grid.spacing_mm,
        tilt_degrees=geometry.tilt_degrees,
    )
