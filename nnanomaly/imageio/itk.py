"""NRRD and MetaImage files (`.nrrd`, `.mha`, `.mhd`) by SimpleITK, read as strictly as NIfTI files and written alike.

The header is checked before anything is allocated and the data to their end (`text_header`); values and geometry go
through the checks of images in memory. Arrays are `[C, Z, Y, X]` with the axes as they lie in the file.
"""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.in_memory import grid_of_itk, image_in_memory, labels_in_memory
from nnanomaly.imageio.nifti_geometry import ras_affine
from nnanomaly.imageio.text_header import check_data, read_text_header
from nnanomaly.imageio.voxel_values import RAS_FROM_LPS, refuse_unwritable
from nnanomaly.utilities.errors import DataError, EnvironmentFault
from nnanomaly.utilities.leftovers import temporary_name
from nnanomaly.volume import Grid, Volume

_SEGMENT_NAME = re.compile(r"segment(\d+)_name")


def read_grid(path: Path) -> Grid:
    """The geometry of an image from its header alone. Raises as `read_volume`, but sees no fault beyond the header."""
    header = read_text_header(path)
    with _in_our_words(path):
        reader = _simpleitk().ImageFileReader()
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
    return grid_of_itk(reader, header.shape, path)


def read_volume(path: Path) -> Volume:
    """An image as float32 `[1, Z, Y, X]` (HU for a CT).

    Raises `FileNotFoundError` (IO-MISSING), `EnvironmentFault` (IO-PERM) or `DataError`: IO-ISDIR, IO-EMPTY, the codes
    of `read_text_header`, `check_data` and `image_in_memory`.
    """
    return image_in_memory(_read(path), path)


def read_labels(path: Path) -> Volume:
    """A label map or mask as integers `[1, Z, Y, X]`. Raises as `read_volume`, and INT-LABELS for fractions."""
    return labels_in_memory(_read(path), path)


def read_label_table(path: Path) -> dict[str, int]:
    """Value of every segment that the header names, as 3D Slicer writes them; empty without. Raises as `read_grid`."""
    fields = read_text_header(path).fields
    numbers = {match[1]: fields[match[0]] for match in map(_SEGMENT_NAME.fullmatch, fields) if match}
    values = {name: fields.get(f"segment{number}_labelvalue", "") for number, name in numbers.items()}
    return {name: int(value) for name, value in values.items() if value.isdecimal()}


def write_like(path: Path, array: NDArray[np.generic], reference: Path) -> None:
    """Write `[Z, Y, X]` on the grid of the file `reference`, in the type of the array (bool becomes uint8).

    Raises `DataError`: GEO-PAIR for another shape, IO-DTYPE, INT-NONFINITE; `EnvironmentFault` (IO-WRITE) when the disk
    did not keep the file.
    """
    grid = read_grid(reference)
    if array.shape != grid.shape:
        raise DataError("GEO-PAIR", f"an array of shape {array.shape} does not fit {reference} of shape {grid.shape}")
    write_volume(path, Volume(array[None], grid))


def write_volume(path: Path, volume: Volume) -> None:
    """Write a volume of one channel with the geometry of its grid. Raises as `write_like`."""
    if volume.array.shape[0] != 1:
        raise DataError("IO-SHAPE", f"{path} holds one channel, but the volume has {volume.array.shape[0]}")
    array = volume.array[0].astype(np.uint8) if volume.array.dtype == np.bool_ else volume.array[0]
    refuse_unwritable(array, path)
    image = _simpleitk().GetImageFromArray(np.ascontiguousarray(array))
    affine = RAS_FROM_LPS @ ras_affine(volume.grid)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    try:
        _write_whole(path, image)
    except OSError as error:
        raise EnvironmentFault(
            "IO-WRITE", f"{path} could not be written ({error.strerror}). Make room on the disk, or mend the folder."
        ) from error


def _write_whole(path: Path, image: Any) -> None:
    """Write into a hidden folder, read that to its end, and rename: the data of an `.mhd` first, its header last."""
    path.parent.mkdir(parents=True, exist_ok=True)
    work = temporary_name(path)
    shutil.rmtree(work, ignore_errors=True)  # of a process of the same number that was killed
    work.mkdir()
    try:
        written = work / path.name
        try:
            _simpleitk().WriteImage(image, str(written), useCompression=True)
            check_data(read_text_header(written))
        except (RuntimeError, DataError, FileNotFoundError) as error:
            raise EnvironmentFault("IO-WRITE", f"{path} was not stored completely. Is the disk full?") from error
        data = [other for other in work.iterdir() if other != written]
        if data:
            path.unlink(missing_ok=True)  # so that no old header vouches for new data
        for file in (*data, written):
            file.replace(path.with_name(file.name))
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _read(path: Path) -> Any:
    check_data(read_text_header(path))
    with _in_our_words(path):
        return _simpleitk().ReadImage(str(path))


@contextlib.contextmanager
def _in_our_words(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise DataError("IO-FORMAT", f"{path} cannot be read: {reason}. Convert it to .nii.gz.") from error


def _simpleitk() -> Any:
    import SimpleITK  # takes a third of a second, which who has NIfTI files need not wait for

    return SimpleITK
