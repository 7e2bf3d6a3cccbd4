"""NIfTI files: read strictly, written atomically with the geometry of the image that they belong to.

The header is checked before anything is allocated, the file is read to its end with its check sum, and values that
are not finite are refused. A file that is accepted therefore holds what its writer wrote. Arrays are `[C, Z, Y, X]`
with the axes as they lie in the file; `Grid.direction` says where they point.
"""

import gzip
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.nifti_extensions import label_table
from nnanomaly.imageio.nifti_geometry import copy_geometry, ras_affine
from nnanomaly.imageio.nifti_header import LONGEST_HEADER, Layout, parse_layout
from nnanomaly.imageio.nifti_stream import TruncatedError, is_compressed, stream
from nnanomaly.imageio.voxel_values import refuse_labels, refuse_unwritable, refuse_value, whole_numbers
from nnanomaly.utilities.errors import DataError, EnvironmentFault
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.system_errors import refused
from nnanomaly.volume import Grid, Volume

COMPRESSION_LEVEL = 3
_UNIT_MM = 2
_LOGGER = logging.getLogger(__name__)


def read_grid(path: Path) -> Grid:
    """The geometry of an image from its header alone. Raises as `read_volume`, but sees no fault beyond the header."""
    return _open(path)[0].grid


def read_volume(path: Path) -> Volume:
    """An image as float32 `[1, Z, Y, X]`, scaled as its header says (HU for a CT).

    Raises `FileNotFoundError` (IO-MISSING), `EnvironmentFault` (IO-PERM) or `DataError`: IO-ISDIR, IO-EMPTY, IO-CRC,
    IO-TRUNCATED, IO-LENGTH, INT-NONFINITE (NaN or infinity), INT-RANGE (too large for float32), the codes of
    `parse_layout` and of `grid_from_header`.
    """
    layout, blocks = _open(path)
    array = np.empty(layout.num_voxels, np.float32)
    fault: tuple[int, float] | None = None
    num_faults = 0
    for start, stored in _voxels(path, layout, blocks):
        part = array[start : start + stored.size]
        with np.errstate(over="ignore", invalid="ignore"):
            part[:] = _scale(stored, layout) if layout.scaled else stored
        if layout.dtype.kind == "f" or layout.scaled:
            wrong = np.flatnonzero(~np.isfinite(part))
            num_faults += wrong.size
            if wrong.size and fault is None:
                fault = start + int(wrong[0]), float(stored[wrong[0]])
    if fault is not None:
        refuse_value(path, layout.grid.shape, fault, num_faults)
    return Volume(array.reshape(1, *layout.grid.shape), layout.grid)


def read_labels(path: Path) -> Volume:
    """A label map or mask as integers `[1, Z, Y, X]`, in the stored type or, for scaled and float files, int32.

    Values within 0.001 of a whole number are rounded; others raise `DataError` (INT-LABELS) with a list. Raises
    also what `read_volume` raises.
    """
    layout, blocks = _open(path)
    whole = layout.dtype.kind in "iu" and not layout.scaled
    array = np.empty(layout.num_voxels, layout.dtype.newbyteorder("=") if whole else np.dtype(np.int32))
    others: set[float] = set()
    for start, stored in _voxels(path, layout, blocks):
        part = array[start : start + stored.size]
        if whole:
            part[:] = stored
            continue
        part[:], wrong = whole_numbers(_scale(stored, layout))
        others.update(wrong)
    refuse_labels(path, others)
    return Volume(array.reshape(1, *layout.grid.shape), layout.grid)


def read_label_table(path: Path) -> dict[str, int]:
    """Value of every label that the header of a label map names; empty without a table. Raises as `read_grid`."""
    layout, blocks = _open(path)
    start = b""
    while len(start) < layout.data_offset and (block := next(blocks, b"")):
        start += block
    size = layout.header.template_dtype.itemsize
    return label_table(start[: layout.data_offset], header_bytes=size, byte_order=layout.header.endianness)


def write_like(path: Path, array: NDArray[np.generic], reference: Path) -> None:
    """Write `[Z, Y, X]` with the header geometry of the NIfTI file `reference`: affines, codes and units are kept.

    The type of the array is kept (uint8, uint16, int16, int32, float32; bool becomes uint8), without scaling. A form
    whose code is 0 in the reference is filled from the other one, its code stays 0. Raises `DataError`: GEO-PAIR
    for another shape, IO-DTYPE, INT-NONFINITE; `EnvironmentFault` (IO-WRITE) when the disk did not keep the file.
    """
    layout, _ = _open(reference)
    if array.shape != layout.grid.shape:
        raise DataError(
            "GEO-PAIR", f"an array of shape {array.shape} does not fit {reference} of shape {layout.grid.shape}"
        )
    header = type(layout.header)()
    copy_geometry(layout.header, header)
    _write(path, array, header)


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume of one channel with the geometry of its grid (both codes 1: scanner). Raises as `write_like`."""
    if volume.array.shape[0] != 1:
        raise DataError(
            "IO-SHAPE", f"{path}: a NIfTI file holds one channel, but the volume has {volume.array.shape[0]}"
        )
    header = nibabel.Nifti1Header()
    affine = ras_affine(volume.grid)
    header.set_sform(affine, code=1)
    header.set_qform(affine, code=1)
    header["xyzt_units"] = _UNIT_MM
    _write(path, volume.array[0], header)


def _open(path: Path) -> tuple[Layout, Iterator[bytes]]:
    """The checked header, and all bytes of the file."""
    compressed = is_compressed(path)
    blocks = stream(path)
    start = b""
    for block in blocks:
        start += block
        if len(start) >= LONGEST_HEADER:
            break
    layout = parse_layout(start, path)
    if compressed != (path.suffix == ".gz"):
        kind = "gzip-compressed" if compressed else "not compressed"
        _LOGGER.warning("[NNA-IO-EXT] %s is %s, against its name; it is read all the same", path, kind)
    return layout, itertools.chain([start], blocks)


def _voxels(path: Path, layout: Layout, blocks: Iterator[bytes]) -> Iterator[tuple[int, NDArray[np.generic]]]:
    """Pieces of the stored values, each with the flat index of its first voxel; the whole file is read and checked."""
    itemsize = layout.dtype.itemsize
    num_read, num_given, rest = 0, 0, b""
    try:
        for block in blocks:
            rest += block[max(0, layout.data_offset - num_read) :]
            num_read += len(block)
            if num_read > layout.num_bytes:
                raise DataError(
                    "IO-LENGTH", f"{path} holds more than the {layout.num_bytes} bytes that its header declares"
                )
            count = len(rest) // itemsize
            yield num_given, np.frombuffer(rest, layout.dtype, count)
            num_given += count
            rest = rest[count * itemsize :]
    except TruncatedError:
        if num_read < layout.num_bytes:
            raise
        raise DataError("IO-CRC", f"{path} lacks the check sum at its end. Copy the file again.") from None
    if num_read < layout.num_bytes:
        raise DataError(
            "IO-LENGTH",
            f"{path} declares {layout.num_bytes} bytes, but holds {num_read}. Its header or its data are damaged.",
        )


def _scale(stored: NDArray[np.generic], layout: Layout) -> NDArray[np.float64]:
    with np.errstate(over="ignore", invalid="ignore"):
        return stored.astype(np.float64) * layout.slope + layout.intercept


def _write(path: Path, array: NDArray[np.generic], header: nibabel.Nifti1Header) -> None:
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    refuse_unwritable(array, path)
    header.set_data_dtype(array.dtype)
    kind: Any = nibabel.Nifti2Image if isinstance(header, nibabel.Nifti2Header) else nibabel.Nifti1Image
    image = kind(array.T, None, header)
    num_bytes = header.template_dtype.itemsize + 4 + array.nbytes
    try:
        write_atomically(path, lambda temporary: _write_and_verify(temporary, image, num_bytes))
    except OSError as error:
        raise refused(error) from error


def _write_and_verify(path: Path, image: nibabel.Nifti1Image, num_bytes: int) -> None:
    """Write one file and read it again to its end: a full disk does not always raise while writing."""
    with path.open("wb") as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(
                "", "wb", COMPRESSION_LEVEL, file, mtime=0
            ) as compressed:  # no name, no time: same bytes again
                image.to_stream(compressed)
        else:
            image.to_stream(file)
    try:
        num_kept = sum(len(block) for block in stream(path))
    except DataError as error:
        raise EnvironmentFault("IO-WRITE", f"{path} was not stored completely ({error}). Is the disk full?") from error
    if num_kept != num_bytes:
        raise EnvironmentFault("IO-WRITE", f"{path}: {num_kept} of {num_bytes} bytes were stored. Is the disk full?")
