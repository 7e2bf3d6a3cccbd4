"""Images that are in memory already, as SimpleITK, nibabel or numpy hold them, checked like a file.

The geometry of all of them goes through a NIfTI header, which rounds it as a file does: an image and the file that
holds it lie on the same grid to the last bit, whichever library read it. SimpleITK is not imported: who holds one of
its images has done so.
"""

import sys
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import nibabel
import numpy as np
from numpy.typing import ArrayLike, NDArray

from nnanomaly.imageio.nifti_geometry import grid_from_header
from nnanomaly.imageio.voxel_values import RAS_FROM_LPS, refuse_labels, refuse_value, whole_numbers
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Grid, Shape, Volume

InMemory: TypeAlias = Any
"""A SimpleITK image, a nibabel image, or `(array [i, j, k], affine to RAS mm)` as nibabel has them."""


def grid_of_itk(image: Any, shape: Shape, source: Path) -> Grid:
    """The grid of `shape` `[Z, Y, X]` of a SimpleITK image, or of a reader that has its header.

    Raises the codes of `grid_from_header`.
    """
    return grid_from_header(_itk_header(image, source), shape, source)


class _Stored(NamedTuple):
    """Voxels `[Z, Y, X]`, which is (k, j, i), and a header that says where they lie."""

    array: NDArray[Any]
    header: nibabel.Nifti1Header


def image_in_memory(image: InMemory, source: Path) -> Volume:
    """An image as float32 `[1, Z, Y, X]` (HU for a CT); `source` is what an error calls it.

    Raises `ConfigurationError` (CFG-IMAGE) for another object and `DataError` for what a file would be refused for:
    IO-DTYPE, IO-SHAPE, INT-NONFINITE, INT-RANGE and the codes of `grid_from_header`.
    """
    stored = _stored(image, source)
    with np.errstate(over="ignore", invalid="ignore"):
        array = np.ascontiguousarray(stored.array, dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(array))
    if wrong.size:
        first = int(wrong[0])
        value = float(stored.array[np.unravel_index(first, array.shape)])
        refuse_value(source, array.shape, (first, value), int(wrong.size))
    return Volume(array[None], grid_from_header(stored.header, array.shape, source))


def labels_in_memory(image: InMemory, source: Path) -> Volume:
    """A label map or mask as integers `[1, Z, Y, X]`. Raises as `image_in_memory`, and INT-LABELS for fractions."""
    stored = _stored(image, source)
    array = np.ascontiguousarray(stored.array)
    if array.dtype.kind == "f":
        array, others = whole_numbers(array)
        refuse_labels(source, others)
    elif array.dtype.kind == "b":
        array = array.astype(np.uint8)
    return Volume(array[None], grid_from_header(stored.header, array.shape, source))


def _stored(image: InMemory, source: Path) -> _Stored:
    if isinstance(image, nibabel.spatialimages.SpatialImage):
        own = image.header
        header = own if isinstance(own, nibabel.Nifti1Header) else _header(image.affine, source)
        stored = _Stored(_volume_of(np.asanyarray(image.dataobj), source).T, header)
    elif _is_simpleitk(image):
        stored = _Stored(_volume_of(_simpleitk().GetArrayFromImage(image), source), _simpleitk_header(image, source))
    elif isinstance(image, tuple) and len(image) == 2:
        stored = _Stored(_volume_of(np.asarray(image[0]), source).T, _header(image[1], source))
    else:
        raise ConfigurationError(
            "CFG-IMAGE",
            f"{source} is a {type(image).__name__}. Give a path, a SimpleITK image, a nibabel image or a tuple "
            "(array, affine).",
        )
    return stored


def _volume_of(array: NDArray[Any], source: Path) -> NDArray[Any]:
    """The array without axes of length 1 behind the third."""
    if array.dtype.kind not in "biuf":
        raise DataError("IO-DTYPE", f"{source} has values of type {array.dtype}. Give it numbers.")
    if array.ndim > 3 and array.size == np.prod(array.shape[:3]):
        array = array.reshape(array.shape[:3])
    if array.ndim != 3 or array.size == 0:
        raise DataError("IO-SHAPE", f"{source} has the shape {array.shape}, but one volume of three axes is needed.")
    return array


def _header(affine: ArrayLike, source: Path) -> nibabel.Nifti1Header:
    """A header of an affine (i, j, k) -> RAS mm, as a file of it would have."""
    matrix = np.asarray(affine, dtype=float)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise DataError(
            "GEO-SPACING", f"{source} has an affine of shape {matrix.shape} that is no finite 4 x 4 matrix."
        )
    header = nibabel.Nifti1Header()
    header.set_sform(matrix, code=1)
    header["pixdim"][1:4] = np.linalg.norm(matrix[:3, :3], axis=0)
    return header


def _simpleitk_header(image: Any, source: Path) -> nibabel.Nifti1Header:
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise DataError(
            "IO-SHAPE",
            f"{source} has {image.GetDimension()} axes and {image.GetNumberOfComponentsPerPixel()} values a voxel, but "
            "needs 3 axes and one value.",
        )
    return _itk_header(image, source)


def _itk_header(image: Any, source: Path) -> nibabel.Nifti1Header:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return _header(RAS_FROM_LPS @ affine, source)


def _is_simpleitk(value: object) -> bool:
    return "SimpleITK" in sys.modules and isinstance(value, _simpleitk().Image)


def _simpleitk() -> Any:
    return sys.modules["SimpleITK"]
