"""Which file ending is read and written by which module; the one door through which other parts open images.

Another format is one more `ReaderWriter` and its endings in `READER_WRITERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio import itk, nifti
from nnanomaly.imageio.voxel_values import PADDING_ABOVE_HU, padding_as_air
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

SMALLEST_NUM_VOXELS = 8
SMALLEST_EXTENT_MM = 16.0
EMPTY_BELOW_HU = -900.0
"""A scan that holds nothing above this shows no body; lung has -900 HU and more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderWriter:
    """How one file format is read and written; see `nnanomaly.imageio.nifti` for what each function promises."""

    read_grid: Callable[[Path], Grid]
    """Geometry from the header alone."""
    read_volume: Callable[[Path], Volume]
    """Image as float32 `[1, Z, Y, X]`."""
    read_labels: Callable[[Path], Volume]
    """Label map as integers `[1, Z, Y, X]`."""
    read_label_table: Callable[[Path], dict[str, int]]
    """Value of every label that a label map's own header names."""
    write_like: Callable[[Path, NDArray[np.generic], Path], None]
    """Array `[Z, Y, X]` with the header geometry of a reference file."""
    write_volume: Callable[[Path, Volume], None]
    """Volume of one channel with the geometry of its grid."""


NIFTI = ReaderWriter(
    read_grid=nifti.read_grid,
    read_volume=nifti.read_volume,
    read_labels=nifti.read_labels,
    read_label_table=nifti.read_label_table,
    write_like=nifti.write_like,
    write_volume=nifti.write_volume,
)
ITK = ReaderWriter(
    read_grid=itk.read_grid,
    read_volume=itk.read_volume,
    read_labels=itk.read_labels,
    read_label_table=itk.read_label_table,
    write_like=itk.write_like,
    write_volume=itk.write_volume,
)
READER_WRITERS = {".nii.gz": NIFTI, ".nii": NIFTI, ".nrrd": ITK, ".mha": ITK, ".mhd": ITK}


def reader_writer_for(path: Path) -> ReaderWriter:
    """The reader and writer for the ending of a file name; unknown endings raise `DataError` (IO-FORMAT)."""
    for ending, reader_writer in READER_WRITERS.items():
        if path.name.endswith(ending):
            return reader_writer
    raise DataError(
        "IO-FORMAT", f"{path} has an ending that is not read. Convert it to one of {', '.join(READER_WRITERS)}."
    )


def without_ending(name: str) -> str:
    """A file name without the ending of its format; as it is for other files."""
    ending = next((ending for ending in READER_WRITERS if name.endswith(ending)), "")
    return name.removesuffix(ending)


def write_like(path: Path, array: NDArray[np.generic], reference: Path) -> None:
    """Write `[Z, Y, X]` on the grid of another file; where both have one format, with its whole header geometry.

    Raises as the `write_like` of the format.
    """
    writer, reader = reader_writer_for(path), reader_writer_for(reference)
    if writer is reader:
        writer.write_like(path, array, reference)
    else:
        writer.write_volume(path, Volume(array[None], reader.read_grid(reference)))


def check_content(image: Volume, path: Path) -> None:
    """Refuse a CT that shows nothing: `DataError` (INT-CONSTANT) if all voxels are equal, or all are air or padding."""
    lowest, highest = float(image.array.min()), float(image.array.max())
    if highest > PADDING_ABOVE_HU:
        highest = float(padding_as_air(image.array).max())
    if lowest == highest or highest <= EMPTY_BELOW_HU:
        raise DataError(
            "INT-CONSTANT",
            f"{path} shows nothing: its voxels range from {lowest:g} to {highest:g}. Export the scan again.",
        )


def check_thickness(grid: Grid, path: Path) -> None:
    """Refuse an image that is no volume: `DataError` (GEO-THIN) for an axis of fewer than 8 voxels or 16 mm."""
    for size, spacing in zip(grid.shape, grid.spacing_mm, strict=True):
        if size < SMALLEST_NUM_VOXELS or size * spacing < SMALLEST_EXTENT_MM:
            raise DataError(
                "GEO-THIN",
                f"{path} has an axis of {size} voxels and {size * spacing:.4g} mm, but needs {SMALLEST_NUM_VOXELS} "
                f"voxels and {SMALLEST_EXTENT_MM:g} mm. Leave the case out.",
            )
