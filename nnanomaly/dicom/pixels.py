"""The voxels of a stack in HU, decoded slice by slice with the slope and intercept of each slice.

Pixels that are not compressed are taken from the file as they are: decoders fill up a file that ends early, refuse one
that does not name its encoding, and read bits that mean nothing. SimpleITK decodes the compressed ones.
"""

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from nnanomaly.dicom.headers import PARSER_FAULTS, SliceHeader, quiet_libraries, read_tags
from nnanomaly.dicom.kinds import BIG_ENDIAN, PLAIN_SYNTAXES
from nnanomaly.dicom.padding import IGNORED, PADDING_HU, is_usable, padding_mask
from nnanomaly.dicom.stack_geometry import StackGeometry
from nnanomaly.utilities.errors import DataError

AIR_HU = (-1100.0, -850.0)
"""Where the values of air lie in a CT."""
LEAST_AIR = 0.01
"""Part of the voxels that must be air for values without a rescaling to count as HU."""
ITEM = b"\xfe\xff\x00\xe0"
"""How compressed pixels begin, whatever the file says of them."""
ALTERNATION = 2.0
"""How much less a slice may be like the next one than like the one after it."""


def read_stack(geometry: StackGeometry) -> tuple[NDArray[np.generic], list[str]]:
    """HU `[Z, Y, X]` (int16 where all values are whole and fit, else float32), padding as `PADDING_HU`, and warnings.

    Raises `DataError`: DCM-TRUNCATED, DCM-PIXELS (none), DCM-DECODE, DCM-DUPLICATE (two slices at one place differ),
    DCM-RESCALE, DCM-SIGN, DCM-PADDING (nothing but padding), DCM-MIXED (slices of two scans in turn).
    """
    _check_rescaling(geometry)
    values = np.empty(geometry.grid.shape, np.float32)
    whole = True
    for number, header in enumerate(geometry.headers):
        plane = _read_slice(header, number)
        whole = whole and bool((plane == np.rint(plane)).all() and abs(plane).max() <= np.iinfo(np.int16).max)
        values[number] = plane
    for number, header in geometry.copies:
        if not np.array_equal(_read_slice(header, number).astype(np.float32), values[number]):
            raise DataError(
                "DCM-DUPLICATE",
                f"slice {number + 1} is there twice with different pixels, and nothing in the headers tells two scans "
                "apart. Remove the wrong one.",
            )
    _check_alternation(values)
    warnings = _check_values(values, geometry)
    return values.astype(np.int16) if whole else values, warnings


def _check_rescaling(geometry: StackGeometry) -> None:
    headers = (*geometry.headers, *(header for _, header in geometry.copies))
    for number, header in enumerate(headers, start=1):
        if header.rescale_fault:
            raise DataError("DCM-RESCALE", f"slice {number}: {header.rescale_fault}. Export it again.")
    num_without = sum(header.rescale is None for header in headers)
    if 0 < num_without < len(headers):
        raise DataError(
            "DCM-RESCALE", f"{num_without} of {len(headers)} slices have no Rescale Slope and Intercept. Export again."
        )


def _check_values(values: NDArray[np.float32], geometry: StackGeometry) -> list[str]:
    """Warnings about the voxels of a whole stack."""
    warnings = []
    if geometry.copies:
        warnings.append(f"identical copies of slices: {len(geometry.copies)}, left out")
    seen = values[values != PADDING_HU]
    if not seen.size:
        raise DataError("DCM-PADDING", "all voxels are padding: there is no scan. Export it again.")
    if seen.size < values.size:
        warnings.append(f"padding: {1 - seen.size / values.size:.2%} of the voxels, stored as {PADDING_HU:.0f} HU")
    if not all(is_usable(header) for header in geometry.headers):
        warnings.append(IGNORED)
    if geometry.headers[0].rescale is None:
        if np.mean((seen >= AIR_HU[0]) & (seen <= AIR_HU[1])) < LEAST_AIR:
            raise DataError(
                "DCM-RESCALE",
                "no Rescale Slope and Intercept, and the stored values do not look like HU. Export it again.",
            )
        warnings.append("no Rescale Slope and Intercept; the stored values look like HU and are taken as they are")
    return warnings


def _check_alternation(values: NDArray[np.float32]) -> None:
    """Refuse slices that are less like their neighbours than like the slices beyond: two scans, in turn."""
    near = np.array([_difference(values[i], values[i + 1]) for i in range(len(values) - 1)])
    far = np.array([_difference(values[i], values[i + 2]) for i in range(len(values) - 2)])
    if np.median(near) > ALTERNATION * np.median(far) + 1:
        raise DataError(
            "DCM-MIXED",
            f"slices differ by {np.median(near):.4g} HU from the next ones, and by {np.median(far):.4g} HU from those "
            "after it: slices of two scans, which nothing in the headers tells apart. Export each by itself.",
        )


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(abs(one - other).mean())


def _read_slice(header: SliceHeader, number: int) -> NDArray[np.float64]:
    """Rescaled values `[Y, X]` of one file, padding replaced."""
    slope, intercept = header.rescale or (1.0, 0.0)
    plain = header.transfer_syntax in PLAIN_SYNTAXES
    content = _pixel_data(header, number)
    if plain:
        as_it_is = _plain_values(header, content, number)
        hu = np.asarray(_meant(as_it_is, header) * slope + intercept, np.float64)
    else:
        hu = _decoded(header, number)
        as_it_is = np.rint((hu - intercept) / slope).astype(np.int64)
    return np.where(padding_mask(as_it_is, hu, header), PADDING_HU, hu)


def _pixel_data(header: SliceHeader, number: int) -> bytes:
    try:
        with quiet_libraries():
            element = read_tags(header.path, ("PixelData",), stop_before_pixels=False).get_item("PixelData")
    except PARSER_FAULTS:
        raise DataError(
            "DCM-TRUNCATED", f"the file of slice {number + 1} ends early. Copy or export it again."
        ) from None
    if element is None:
        raise DataError("DCM-PIXELS", f"the file of slice {number + 1} has no pixels (Pixel Data). Export it again.")
    if not element.value:
        raise DataError("DCM-TRUNCATED", f"the file of slice {number + 1} ends early. Copy or export it again.")
    return bytes(element.value)


def _plain_values(header: SliceHeader, content: bytes, number: int) -> NDArray[np.int64]:
    """Stored numbers `[Y, X]` with all their bits."""
    rows, columns = header.shape
    expected = rows * columns * header.bits_allocated // 8
    if content.startswith(ITEM) and len(content) not in (expected, expected + 1):
        raise DataError(
            "DCM-SYNTAX",
            f"the pixels of slice {number + 1} are compressed, but the file does not say how (Transfer Syntax UID). "
            "Export it again.",
        )
    if len(content) < expected:
        raise DataError("DCM-TRUNCATED", f"the file of slice {number + 1} ends early. Copy or export it again.")
    if len(content) > expected + 1:
        raise DataError(
            "DCM-TRUNCATED",
            f"slice {number + 1} has {len(content)} bytes of pixels in place of {expected}. Export it again.",
        )
    order = ">" if header.transfer_syntax == BIG_ENDIAN else "<"
    kind = np.dtype(f"{order}{'i' if header.signed else 'u'}{header.bits_allocated // 8}")
    return np.frombuffer(content, kind, rows * columns).reshape(rows, columns).astype(np.int64)


def _meant(stored: NDArray[np.int64], header: SliceHeader) -> NDArray[np.int64]:
    """The same without the bits above Bits Stored: old files keep overlays there."""
    span = 1 << header.bits_stored
    meant = stored & (span - 1)
    return np.where(meant >= span // 2, meant - span, meant) if header.signed else meant


def _decoded(header: SliceHeader, number: int) -> NDArray[np.float64]:
    """HU `[Y, X]` by SimpleITK; no message of a decoder is passed on, for it may quote the file."""
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
