"""The header of a NIfTI-1 or NIfTI-2 file, checked before anything is allocated.

The voxels of a file lie with the first axis (i) fastest, so its bytes are, without any copy, an array `[k, j, i]`.
That is the array order of this package: `[Z, Y, X]` names the axes (k, j, i), whatever their direction in the body.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from nnanomaly.imageio.nifti_geometry import grid_from_header
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.memory import available_memory_bytes
from nnanomaly.volume import Grid, Shape

DTYPES = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64")
MAX_GB = 16.0
MAX_SHARE_OF_MEMORY = 0.6
MAX_SUSPECT_RATIO = 200
SUSPECT_BYTES = 2 * 1000**3
MAX_EXTENSION_BYTES = 1 << 27
_KINDS: tuple[tuple[Any, int, bytes], ...] = (
    (nibabel.Nifti1Header, 348, b"n+1"),
    (nibabel.Nifti2Header, 540, b"n+2"),
)
LONGEST_HEADER = 540


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the voxels lie in the file, and where in space."""

    header: nibabel.Nifti1Header
    """The header as stored."""
    dtype: np.dtype[np.generic]
    """Type of a stored voxel, with the byte order of the file."""
    data_offset: int
    """Bytes before the first voxel."""
    slope: float
    """Factor of stored values."""
    intercept: float
    """Added to the scaled values."""
    grid: Grid
    """Geometry, and the shape `[Z, Y, X]`."""

    @property
    def num_voxels(self) -> int:
        """Number of voxels."""
        return math.prod(self.grid.shape)

    @property
    def num_bytes(self) -> int:
        """Length of the uncompressed file."""
        return self.data_offset + self.num_voxels * self.dtype.itemsize

    @property
    def scaled(self) -> bool:
        """Whether stored values differ from their meaning."""
        return (self.slope, self.intercept) != (1.0, 0.0)


def parse_layout(start_of_file: bytes, path: Path) -> Layout:
    """Check the first bytes of a NIfTI file (at least `LONGEST_HEADER` of them, if there are so many).

    Raises `DataError`: IO-FORMAT, IO-DTYPE, IO-SHAPE, IO-TOOBIG, IO-BOMB, INT-RANGE, GEO-4D, GEO-THIN and the codes of
    `grid_from_header`.
    """
    header = parse_header(start_of_file, path)
    dtype = _dtype(header, path)
    shape = _shape(header, path)
    check_size(math.prod(shape) * dtype.itemsize, path, compressed_bytes=path.stat().st_size)
    slope, intercept = _scaling(header, path)
    return Layout(
        header=header,
        dtype=dtype,
        data_offset=_data_offset(header, path),
        slope=slope,
        intercept=intercept,
        grid=grid_from_header(header, shape, path),
    )


def parse_header(start_of_file: bytes, path: Path) -> nibabel.Nifti1Header:
    """The header in either byte order; anything else raises `DataError` (IO-FORMAT)."""
    for kind, size, magic in _KINDS:
        if len(start_of_file) < size:
            continue
        for byte_order in "<>":
            header: nibabel.Nifti1Header = kind(start_of_file[:size], endianness=byte_order, check=False)
            if (header["sizeof_hdr"].item(), header["magic"].item()) == (size, magic):
                return header
    raise DataError(
        "IO-FORMAT", f"{path} is not a NIfTI file with header and voxels in one file. Convert it to .nii.gz."
    )


def _dtype(header: nibabel.Nifti1Header, path: Path) -> np.dtype[np.generic]:
    code = int(header["datatype"])
    name = nibabel.nifti1.data_type_codes.label[code] if code in nibabel.nifti1.data_type_codes.label else "unknown"
    if name not in DTYPES:
        raise DataError(
            "IO-DTYPE", f"{path} stores values of type {name} (code {code}). Convert it to one of {', '.join(DTYPES)}."
        )
    return np.dtype(name).newbyteorder(header.endianness)


def _shape(header: nibabel.Nifti1Header, path: Path) -> Shape:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise DataError("IO-SHAPE", f"{path} declares {count} dimensions, but 3 are needed. The header is damaged.")
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    if min(sizes) < 1:
        raise DataError(
            "IO-SHAPE", f"{path} declares the size {sizes}, but every axis needs voxels. The header is damaged."
        )
    if count < 3:
        raise DataError("GEO-THIN", f"{path} is a two-dimensional image of {sizes} voxels. A volume is needed.")
    if math.prod(sizes[3:]) > 1:
        volumes = math.prod(sizes[3:])
        raise DataError("GEO-4D", f"{path} holds {volumes} volumes (size {sizes}), but one is needed. Split it.")
    return sizes[2], sizes[1], sizes[0]


def check_size(num_bytes: int, path: Path, *, compressed_bytes: int) -> None:
    """Refuse what this machine cannot hold, or a file that would inflate enormously: IO-TOOBIG, IO-BOMB."""
    limit = min(MAX_GB * 1000**3, MAX_SHARE_OF_MEMORY * available_memory_bytes())
    if num_bytes > limit:
        raise DataError(
            "IO-TOOBIG",
            f"{path} declares {num_bytes / 1000**3:.1f} GB of voxels, more than the {limit / 1000**3:.1f} GB that may "
            "be read on this machine. Check its header, crop the image or use a machine with more memory.",
        )
    ratio = num_bytes / max(compressed_bytes, 1)
    if num_bytes > SUSPECT_BYTES and ratio > MAX_SUSPECT_RATIO:  # empty masks reach a ratio of 1000, but are smaller
        raise DataError(
            "IO-BOMB",
            f"{path} has {compressed_bytes} bytes and would inflate to {num_bytes} ({ratio:.0f} times, more than "
            f"{MAX_SUSPECT_RATIO}). Check where it comes from.",
        )


def _scaling(header: nibabel.Nifti1Header, path: Path) -> tuple[float, float]:
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or not math.isfinite(slope):  # 0 is the format's "no scaling"; common writers store NaN
        return 1.0, 0.0
    if not math.isfinite(intercept):
        raise DataError(
            "INT-RANGE", f"{path} declares scl_slope {slope} with scl_inter {intercept}. Correct its header."
        )
    return slope, intercept


def _data_offset(header: nibabel.Nifti1Header, path: Path) -> int:
    offset = float(header["vox_offset"])
    smallest = header.template_dtype.itemsize + 4
    if not smallest <= offset <= MAX_EXTENSION_BYTES:  # false for NaN as well
        raise DataError("IO-FORMAT", f"{path} declares its voxels at byte {offset}. The header is damaged.")
    return int(offset)
