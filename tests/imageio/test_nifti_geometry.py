"""What a header says about space, against affines written by hand, nibabel's and ITK's."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnanomaly.imageio.nifti import read_grid
from nnanomaly.imageio.nifti_geometry import grid_from_header, ras_affine
from nnanomaly.utilities.errors import DataError

ORIENTATIONS = ["RAS", "LPS", "PIR", "IPL", "LAS", "SLA", "RAI"]
LPS_REVERSED = np.array([[0.0, 0.0, 1.0], [0.0, -1.0, 0.0], [-1.0, 0.0, 0.0]])
QOFFSET_X, SROW_X, SFORM_CODE, UNITS = 268, 280, 254, 123


def _save(path: Path, affine: np.ndarray, *, qform_code: int = 1, sform_code: int = 1) -> Path:
    image = nibabel.Nifti1Image(np.zeros((12, 10, 9), np.uint8), affine)
    image.set_qform(affine, code=qform_code)
    image.set_sform(affine, code=sform_code)
    nibabel.save(image, path)
    return path


def test_kits_header_reads_as_its_affine_says(tmp_path: Path) -> None:
    affine = np.array([[0, 0, -0.8, 0], [0, -0.8, 0, 0], [-3.0, 0, 0, 0], [0, 0, 0, 1]])
    grid = read_grid(_save(tmp_path / "kits.nii.gz", affine, qform_code=0, sform_code=2))
    assert grid.shape == (9, 10, 12)
    # Array axes are (k, j, i) = (left, posterior, inferior); world axes (superior, posterior, left).
    assert grid.direction == ((0, 0, -1), (0, 1, 0), (1, 0, 0))
    np.testing.assert_allclose(grid.spacing_mm, (0.8, 0.8, 3.0), rtol=1e-6)
    assert grid.origin_mm == (0, 0, 0)


@pytest.mark.parametrize("letters", ORIENTATIONS)
@pytest.mark.parametrize("tilt_degrees", [0.0, 15.0])
@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0)])
def test_every_voxel_lies_where_nibabel_and_itk_put_it(
    letters: str, tilt_degrees: float, codes: tuple[int, int], ras_matrix: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    affine = ras_matrix(letters, (0.75, 1.5, 4.0), tilt_degrees=tilt_degrees)
    path = _save(tmp_path / "image.nii.gz", affine, qform_code=codes[0], sform_code=codes[1])
    grid = read_grid(path)
    ijk = np.array([11, 3, 7])
    found = grid.to_world(ijk[::-1].astype(float))
    np.testing.assert_allclose(found, LPS_REVERSED @ (affine[:3, :3] @ ijk + affine[:3, 3]), atol=1e-4)
    itk = sitk.ReadImage(str(path)).TransformIndexToPhysicalPoint([int(i) for i in ijk])
    np.testing.assert_allclose(found, itk[::-1], atol=1e-4)
    np.testing.assert_allclose(ras_affine(grid), affine, atol=1e-4)
    np.testing.assert_allclose(np.asarray(grid.direction).T @ grid.direction, np.eye(3), atol=1e-12)


def test_tiny_tilts_of_half_turned_axes_are_not_taken_for_two_geometries(
    ras_matrix: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    """The component of the quaternion that is not stored is nearly 0 here, and rounding moves it a lot."""
    for degrees in np.geomspace(1e-4, 1.0, 40):
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        affine = ras_matrix("LPS", (0.8, 0.8, 2.0))
        affine[:3, :3] = turn @ affine[:3, :3]
        image = nibabel.Nifti1Image(np.zeros((512, 512, 9), np.uint8), affine)
        image.set_qform(affine, code=1)
        nibabel.save(image, tmp_path / "tilted.nii.gz")
        np.testing.assert_allclose(ras_affine(read_grid(tmp_path / "tilted.nii.gz")), affine, atol=1e-5)


def test_two_origins_are_noticed_in_half_turned_axes_too(ras_matrix: Callable[..., np.ndarray], tmp_path: Path) -> None:
    affine = ras_matrix("LPS", (0.8, 0.8, 2.0))
    image = nibabel.Nifti1Image(np.zeros((12, 10, 9), np.uint8), affine)
    image.set_qform(affine, code=1)
    image.header["qoffset_y"] += 0.02
    nibabel.save(image, tmp_path / "two.nii.gz")
    with pytest.raises(DataError, match=r"GEO-FORMS.* 0\.02 mm apart: qform .* axes LPS, sform .* axes LPS"):
        read_grid(tmp_path / "two.nii.gz")


def test_forms_that_differ_by_rounding_agree(patched: Callable[..., Path], good_file: Path) -> None:
    assert read_grid(patched((QOFFSET_X, "f", -5.0001))) == read_grid(good_file)


def test_small_shear_is_projected_aloud(patched: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    grid = read_grid(patched((SROW_X + 4, "f", 0.001), (SFORM_CODE - 2, "h", 0)))  # 0.001 mm on 2 mm: cosine 0.0005
    np.testing.assert_allclose(np.asarray(grid.direction).T @ grid.direction, np.eye(3), atol=1e-12)
    assert "move voxels by up to 0.00" in caplog.text
    assert caplog.records[0].levelname == "WARNING"


def test_smaller_shear_is_projected_silently(patched: Callable[..., Path], caplog: pytest.LogCaptureFixture) -> None:
    grid = read_grid(patched((SROW_X + 4, "f", 0.0001)))
    np.testing.assert_allclose(np.asarray(grid.direction).T @ grid.direction, np.eye(3), atol=1e-12)
    assert not caplog.records


@pytest.mark.parametrize(("units", "factor"), [(1, 0.001), (3, 1000.0), (2, 1.0), (0, 1.0), (2 + 8, 1.0)])
def test_metres_and_micrometres_become_millimetres(
    units: int, factor: float, patched: Callable[..., Path], good_file: Path
) -> None:
    rows = tuple(value * factor for value in (1, 0, 0, -5, 0, 2, 0, 6, 0, 0, 3, 7))
    sizes, offsets = (factor, 2 * factor, 3 * factor), (-5 * factor, 6 * factor, 7 * factor)
    grid = read_grid(patched((UNITS, "B", units), (SROW_X, "12f", rows), (80, "3f", sizes), (QOFFSET_X, "3f", offsets)))
    np.testing.assert_allclose(grid.affine, read_grid(good_file).affine, atol=1e-5)


@pytest.mark.parametrize("size", [0.0008, 800.0])
def test_sizes_that_are_in_another_unit_than_the_header_says_are_refused(
    size: float, ras_matrix: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    path = _save(tmp_path / "image.nii.gz", ras_matrix("RAS", (size, size, size)))
    with pytest.raises(DataError, match="GEO-UNITS"):
        read_grid(path)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("origin_mm", [1e30, -2e5])
def test_an_origin_far_beyond_every_scanner_is_refused(axis: int, origin_mm: float) -> None:
    header = nibabel.Nifti1Header()
    affine = np.eye(4)
    affine[axis, 3] = origin_mm
    header.set_sform(affine, code=1)
    header["pixdim"][1:4] = 1
    with pytest.raises(DataError, match="NNA-GEO-ORIGIN"):
        grid_from_header(header, (9, 9, 9), Path("scan.nii.gz"))
