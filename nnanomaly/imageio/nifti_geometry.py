"""From the two affines of a NIfTI header (qform and sform, in RAS) to a grid, and back.

The format allows two geometries, and readers differ in which one they take. Here both must say the same, to 0.01 mm
over the whole grid, or the file is refused. Affines in this module map (i, j, k) of the file to RAS millimetres; a
`Grid` has array axes (k, j, i) and the world axes (superior, posterior, left).
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Shape, Triple

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 20.0
FORM_TOLERANCE_MM = 0.01
LARGEST_ORIGIN_MM = 1e5
"""No scanner is so long; beyond it, float32 no longer tells the voxels of a header apart."""
ORTHONORMAL_TOLERANCE = 1e-4
LARGEST_PROJECTED_SHEAR = 1e-3
_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
_FLOAT32_ROUNDING = 2.4e-7
_WORLD_FROM_RAS = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])

Matrix = NDArray[np.float64]
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Form:
    """One geometry of a header, in RAS and mm."""

    spacing: NDArray[np.float64]
    rotation: Matrix
    origin: NDArray[np.float64]

    @property
    def affine(self) -> Matrix:
        return _affine(self.rotation * self.spacing, self.origin)


@np.errstate(invalid="ignore")  # a signalling NaN warns when it is widened; the checks below name it
def grid_from_header(header: nibabel.Nifti1Header, shape: Shape, path: Path) -> Grid:
    """The grid of `shape` [Z, Y, X] that both forms of the header describe.

    The sform counts where both have a code above 0, for it is stored more precisely; a form with code 0 is ignored.
    Raises `DataError`: GEO-SPACING (no form, or sizes that are no sizes), GEO-UNITS (implausible sizes), GEO-ORIGIN,
    GEO-SHEAR (axes not at right angles) and GEO-FORMS (two geometries).
    """
    scale = _mm_per_unit(header, path)
    pixdim = np.asarray(header["pixdim"][1:4], dtype=float) * scale
    _check_sizes(pixdim, path)
    has_qform, has_sform = int(header["qform_code"]) > 0, int(header["sform_code"]) > 0
    if not has_qform and not has_sform:
        raise DataError("GEO-SPACING", f"{path} has neither qform nor sform (both codes are 0). Store its geometry.")
    form = _sform(header, scale, shape, path) if has_sform else _qform(header, scale, path)
    _check_spacing(form.spacing, path)
    _check_origin(form.origin, path)
    if has_sform:
        stored = _qform(header, scale, path) if has_qform else _Form(pixdim, form.rotation, form.origin)
        if has_qform and _angle(stored.rotation, form.rotation) <= _quaternion_uncertainty(header):
            stored = _Form(stored.spacing, form.rotation, stored.origin)
        _check_agreement(stored, form, shape, path)
    matrix = _WORLD_FROM_RAS @ form.rotation[:, ::-1]
    rows = [_triple(row + 0.0) for row in matrix]
    return Grid(shape, _triple(form.spacing[::-1]), _triple(_WORLD_FROM_RAS @ form.origin), (rows[0], rows[1], rows[2]))


def ras_affine(grid: Grid) -> Matrix:
    """4 x 4 matrix from file indices (i, j, k) to RAS mm for a grid."""
    return _affine(_WORLD_FROM_RAS.T @ grid.affine[:3, :3][:, ::-1], _WORLD_FROM_RAS.T @ np.asarray(grid.origin_mm))


def copy_geometry(source: nibabel.Nifti1Header, target: nibabel.Nifti1Header) -> None:
    """Give `target` the forms, codes and units of `source`; a form that `source` leaves out is filled, with code 0.

    `source` must have passed `grid_from_header`.
    """
    fields = [
        "quatern_b",
        "quatern_c",
        "quatern_d",
        "qoffset_x",
        "qoffset_y",
        "qoffset_z",
        "srow_x",
        "srow_y",
        "srow_z",
    ]
    for field in (*fields, "qform_code", "sform_code", "xyzt_units"):
        target[field] = source[field]
    target["pixdim"][:4] = source["pixdim"][:4]
    if int(source["sform_code"]) <= 0:
        target.set_sform(_quaternion_form(source).affine, code=0)
    elif int(source["qform_code"]) <= 0:
        target.set_qform(source.get_sform(coded=False), code=0)
        target["pixdim"][1:4] = source["pixdim"][1:4]  # set_qform rounds them anew


def _mm_per_unit(header: nibabel.Nifti1Header, path: Path) -> float:
    code = int(header["xyzt_units"]) & 7
    if code not in _MM_PER_UNIT:
        raise DataError("GEO-UNITS", f"{path} has the unknown unit code {code}. Set xyzt_units to 2 (mm).")
    return _MM_PER_UNIT[code]


def _check_sizes(spacing: NDArray[np.float64], path: Path) -> None:
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise DataError("GEO-SPACING", f"{path} has the voxel size {_text(spacing)} mm. Correct its header.")


def _check_spacing(spacing: NDArray[np.float64], path: Path) -> None:
    _check_sizes(spacing, path)
    if spacing.min() < SMALLEST_SPACING_MM or spacing.max() > LARGEST_SPACING_MM:
        raise DataError(
            "GEO-UNITS",
            f"{path} has voxels of {_text(spacing)} mm, outside {SMALLEST_SPACING_MM}..{LARGEST_SPACING_MM} mm. "
            "Is the header in another unit? Correct spacing or xyzt_units.",
        )


def _check_origin(origin: NDArray[np.float64], path: Path) -> None:
    if np.abs(origin).max() > LARGEST_ORIGIN_MM:
        raise DataError(
            "GEO-ORIGIN",
            f"{path} has its first voxel at {_text(origin)} mm, beyond {LARGEST_ORIGIN_MM:g} mm. Correct its header.",
        )


def _sform(header: nibabel.Nifti1Header, scale: float, shape: Shape, path: Path) -> _Form:
    affine = np.array([header["srow_x"], header["srow_y"], header["srow_z"]], dtype=float) * scale
    if not np.isfinite(affine).all():
        raise DataError("GEO-SPACING", f"{path} has an sform that is not finite. Correct its header.")
    spacing = np.linalg.norm(affine[:, :3], axis=0)
    _check_sizes(spacing, path)
    axes = affine[:, :3] / spacing
    left, _, right = np.linalg.svd(axes)
    form = _Form(spacing, left @ right, affine[:, 3])
    shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if shear > LARGEST_PROJECTED_SHEAR:
        raise DataError(
            "GEO-SHEAR",
            f"{path} has axes that are not at right angles (cosine {shear:.2g}). Resample it to a regular grid.",
        )
    if shear > ORTHONORMAL_TOLERANCE:
        change = _largest_corner_distance(form.affine, _affine(affine[:, :3], affine[:, 3]), shape)
        _LOGGER.warning(
            "%s has slightly skewed axes; the nearest right angles move voxels by up to %.3g mm", path, change
        )
    return form


def _qform(header: nibabel.Nifti1Header, scale: float, path: Path) -> _Form:
    values = [float(header[f"quatern_{letter}"]) for letter in "bcd"] + [
        float(header[f"qoffset_{letter}"]) for letter in "xyz"
    ]
    if not np.isfinite(values).all() or np.square(values[:3]).sum() > 1 + 1e-5:
        raise DataError("GEO-SPACING", f"{path} has a qform that is no rotation ({values}). Correct its header.")
    form = _quaternion_form(header)
    return _Form(form.spacing * scale, form.rotation, form.origin * scale)


def _quaternion_form(header: nibabel.Nifti1Header) -> _Form:
    """The qform in the units of the file; the fourth component of the quaternion follows from its unit length."""
    vector, scalar_squared = _quaternion(header)
    rotation = Rotation.from_quat([*vector, np.sqrt(scalar_squared)]).as_matrix()
    if float(header["pixdim"][0]) < 0:
        rotation = rotation * [1.0, 1.0, -1.0]
    origin = np.array([float(header[f"qoffset_{letter}"]) for letter in "xyz"])
    return _Form(np.asarray(header["pixdim"][1:4], dtype=float), rotation, origin)


def _quaternion(header: nibabel.Nifti1Header) -> tuple[NDArray[np.float64], float]:
    """The stored components, and the square of the fourth; it is 0 where only rounding kept it from being so."""
    vector = np.array([float(header[f"quatern_{letter}"]) for letter in "bcd"])
    remainder = 1 - float(vector @ vector)
    return vector, remainder if remainder > _FLOAT32_ROUNDING / 2 else 0.0


def _quaternion_uncertainty(header: nibabel.Nifti1Header) -> float:
    """Angle (rad) that rounding to float32 can hide: large near half turns, where the missing component is nearly 0."""
    square = _quaternion(header)[1]
    above = np.sqrt(square + _FLOAT32_ROUNDING) - np.sqrt(square)
    below = np.sqrt(square) - np.sqrt(max(0.0, square - _FLOAT32_ROUNDING))
    return float(2 * max(above, below))


def _check_agreement(qform: _Form, sform: _Form, shape: Shape, path: Path) -> None:
    distance = _largest_corner_distance(qform.affine, sform.affine, shape)
    if distance > FORM_TOLERANCE_MM:
        raise DataError(
            "GEO-FORMS",
            f"{path} has two geometries, up to {distance:.3g} mm apart: qform and pixdim say {_describe(qform)}, "
            f"sform says {_describe(sform)}. Delete the wrong one.",
        )


def _largest_corner_distance(first: Matrix, second: Matrix, shape: Shape) -> float:
    ends = np.array(np.meshgrid(*([0, size - 1] for size in shape[::-1]), indexing="ij")).reshape(3, 8)
    difference = (first - second)[:3]
    return float(np.linalg.norm(difference[:, :3] @ ends + difference[:, 3:], axis=0).max())


def _angle(first: Matrix, second: Matrix) -> float:
    """Angle (rad) of the rotation between two orientations; accurate for small ones, pi between mirror images."""
    return 2 * float(np.arcsin(min(1.0, np.linalg.norm(first - second) / np.sqrt(8))))


def _affine(matrix: Matrix, origin: NDArray[np.float64]) -> Matrix:
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = origin
    return affine


def _describe(form: _Form) -> str:
    axes = "".join(nibabel.aff2axcodes(form.affine))
    return f"voxels of {_text(form.spacing)} mm, origin {_text(form.origin)} mm, axes {axes}"


def _text(values: NDArray[np.float64]) -> str:
    return " x ".join(f"{value:.6g}" for value in values)


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
