"""The voxels of a stack in HU, decoded slice by slice with the slope and intercept of each slice.

SimpleITK decodes (it reads every compression that CT scanners use), but takes a file that ends early for a whole one:
the stored length is checked first.
"""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from nnanomaly.dicom.headers import PARSER_FAULTS, SliceHeader, quiet_libraries, read_tags
from nnanomaly.dicom.kinds import PLAIN_SYNTAXES
from nnanomaly.dicom.stack_geometry import StackGeometry
from nnanomaly.utilities.errors import DataError

AIR_HU = (-1100.0, -850.0)
"""Where the values of air lie in a CT."""
LEAST_AIR = 0.01
"""Part of the voxels that must be air for values without a rescaling to count as HU."""


def read_stack(geometry: StackGeometry) -> tuple[NDArray[np.generic], list[str]]:
    """HU `[Z, Y, X]` (int16 where all values are whole and fit, else float32), and warnings.

    Raises `DataError`: DCM-TRUNCATED, DCM-DECODE, DCM-DUPLICATE (two slices at one place differ), DCM-RESCALE.
    """
    values = np.empty(geometry.grid.shape, np.float32)
    whole = True
    for number, header in enumerate(geometry.headers):
        plane = _read_slice(header, number)
        whole = whole and bool((plane == np.rint(plane)).all() and abs(plane).max() <= np.iinfo(np.int16).max)
        values[number] = plane
    warnings = []
    for number, header in geometry.copies:
        if not np.array_equal(_read_slice(header, number).astype(np.float32), values[number]):
            raise DataError(
                "DCM-DUPLICATE", f"slice {number + 1} is there twice with different pixels. Which one is right?"
            )
    if geometry.copies:
        warnings.append(f"identical copies of slices: {len(geometry.copies)}, left out")
    if any(header.rescale is None for header in geometry.headers):
        _check_air(values)
        warnings.append("no Rescale Slope and Intercept; the stored values look like HU and are taken as they are")
    return values.astype(np.int16) if whole else values, warnings


def _read_slice(header: SliceHeader, number: int) -> NDArray[np.float64]:
    """Rescaled values `[Y, X]` of one file; no message of a decoder is passed on, for it may quote the file."""
    if header.rescale is not None and header.rescale[0] == 0:
        raise DataError("DCM-RESCALE", f"slice {number + 1} has the Rescale Slope 0.")
    _check_length(header, number)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(header.path))
    try:
        array = sitk.GetArrayFromImage(reader.Execute())
    except RuntimeError:
        raise DataError("DCM-DECODE", f"the pixels of slice {number + 1} cannot be decoded. Export it again.") from None
    if array.shape != (1, *header.shape):
        raise DataError("DCM-DECODE", f"slice {number + 1} decodes to {array.shape} in place of {header.shape}.")
    return np.asarray(array[0], dtype=np.float64)


def _check_length(header: SliceHeader, number: int) -> None:
    try:
        with quiet_libraries():
            stored = read_tags(header.path, ("PixelData",), stop_before_pixels=False).get("PixelData")
    except PARSER_FAULTS:
        stored = None
    expected = header.shape[0] * header.shape[1] * header.bits_allocated // 8
    plain = header.transfer_syntax in PLAIN_SYNTAXES
    if not stored or (plain and not expected <= len(stored) <= expected + 1):
        raise DataError("DCM-TRUNCATED", f"the file of slice {number + 1} ends early. Copy or export it again.")


def _check_air(values: NDArray[np.float32]) -> None:
    air = np.mean((values >= AIR_HU[0]) & (values <= AIR_HU[1]))
    if air < LEAST_AIR:
        raise DataError(
            "DCM-RESCALE", "no Rescale Slope and Intercept, and the stored values do not look like HU. Export it again."
        )
