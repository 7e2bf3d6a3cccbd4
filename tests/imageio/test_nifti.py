"""Voxels in, voxels out: values, types and geometry survive, and what cannot be trusted is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from nnanomaly.imageio import nifti
from nnanomaly.imageio.nifti import read_grid, read_labels, read_volume, write_like, write_volume
from nnanomaly.utilities.errors import DataError, EnvironmentFault
from nnanomaly.volume import Grid, Volume

SHARED = Path(__file__).resolve().parents[3] / "shared"
SHAPE = (12, 10, 9)


def _save(path: Path, array: np.ndarray, **header: object) -> Path:
    image = nibabel.Nifti1Image(array, np.eye(4))
    for field, value in header.items():
        image.header[field] = value
    nibabel.save(image, path)
    return path


def test_array_axes_are_the_axes_of_the_file_reversed(good_file: Path) -> None:
    volume = read_volume(good_file)
    assert volume.array.shape == (1, 9, 10, 12) and volume.array.dtype == np.float32
    assert volume.array[0, 2, 3, 5] == 5 + 20 * 3 + 400 * 2
    assert read_grid(good_file) == volume.grid


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_every_allowed_type_is_read_exactly(dtype: str, byte_order: str, tmp_path: Path) -> None:
    array = np.arange(12 * 10 * 9).reshape(SHAPE) % 120
    header = nibabel.Nifti1Header(endianness=byte_order)
    header.set_data_dtype(np.dtype(dtype))
    path = tmp_path / "image.nii.gz"
    nibabel.save(nibabel.Nifti1Image(array.astype(dtype), np.eye(4), header), path)
    np.testing.assert_array_equal(read_volume(path).array[0], array.T)
    labels = read_labels(path).array
    np.testing.assert_array_equal(labels[0], array.T)
    assert labels.dtype == (np.dtype(dtype) if "int" in dtype else np.int32)


def test_scaling_of_the_header_is_applied(patched: Callable[..., Path]) -> None:
    path = patched((112, "2f", (0.5, -1000.0)))
    assert read_volume(path).array[0, 2, 3, 5] == 0.5 * 865 - 1000
    with pytest.raises(DataError, match=r"INT-LABELS.* -999\.5"):
        read_labels(path)
    assert read_labels(patched((112, "2f", (2.0, 1.0)))).array[0, 2, 3, 5] == 2 * 865 + 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_and_located(bad: float, tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[3, 2, 1] = array[4, 5, 6] = bad
    with pytest.raises(DataError, match=r"INT-NONFINITE.* 2 voxels .* at \[z, y, x\] = \(1, 2, 3\)"):
        read_volume(_save(tmp_path / "image.nii.gz", array))


def test_values_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    array = np.zeros(SHAPE)
    array[0, 0, 1] = 1e300
    with pytest.raises(DataError, match=r"INT-RANGE.* 1 voxels .*1e\+300"):
        read_volume(_save(tmp_path / "image.nii.gz", array))


def test_labels_near_whole_numbers_are_rounded_and_others_listed(tmp_path: Path) -> None:
    array = np.zeros(SHAPE, np.float32)
    array[1], array[2] = 0.9999, 2.0004
    np.testing.assert_array_equal(np.unique(read_labels(_save(tmp_path / "a.nii.gz", array)).array), [0, 1, 2])
    array[3], array[4], array[5] = 0.4, np.nan, 1e12
    with pytest.raises(DataError, match=r"INT-LABELS.* 0\.4, .*Store whole numbers"):
        read_labels(_save(tmp_path / "b.nii.gz", array))


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (2, 4)])
@pytest.mark.parametrize("letters", ["RAS", "IPL", "LAS"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_write_like_keeps_affines_codes_units_and_type(
    codes: tuple[int, int], letters: str, kind: type, ras_matrix: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    affine = ras_matrix(letters, (0.7, 1.5, 4.0), tilt_degrees=15.0 if letters != "IPL" else 0.0)
    image = kind(np.zeros(SHAPE, np.int16), affine)
    image.set_qform(affine, code=codes[0])
    image.set_sform(affine, code=codes[1])
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "reference.nii.gz")
    rng = np.random.default_rng(0)
    for dtype in (np.uint8, np.uint16, np.int16, np.float32):
        array = rng.integers(0, 200, SHAPE[::-1]).astype(dtype)
        write_like(tmp_path / "out.nii.gz", array, tmp_path / "reference.nii.gz")
        reference, written = nibabel.load(tmp_path / "reference.nii.gz"), nibabel.load(tmp_path / "out.nii.gz")
        assert written.shape == SHAPE and written.get_data_dtype() == dtype
        np.testing.assert_array_equal(np.asarray(written.dataobj), array.T)
        np.testing.assert_array_equal(written.affine, reference.affine)
        for field in ("qform_code", "sform_code", "xyzt_units"):
            assert written.header[field] == reference.header[field]
        np.testing.assert_array_equal(written.header["pixdim"][:4], reference.header["pixdim"][:4])
        np.testing.assert_allclose(written.get_sform(coded=False), affine, atol=1e-4)
        np.testing.assert_allclose(written.header.get_qform(coded=False), affine, atol=1e-4)
        assert np.isnan(written.header["scl_slope"])
        assert read_grid(tmp_path / "out.nii.gz") == read_grid(tmp_path / "reference.nii.gz")


def test_itk_sees_a_written_mask_on_the_grid_of_its_image(
    ras_matrix: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    affine = ras_matrix("PIR", (0.7, 1.5, 4.0), tilt_degrees=15.0)
    nibabel.save(nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), affine), tmp_path / "reference.nii.gz")
    write_like(tmp_path / "out.nii.gz", np.ones(SHAPE[::-1], bool), tmp_path / "reference.nii.gz")
    image, mask = sitk.ReadImage(str(tmp_path / "reference.nii.gz")), sitk.ReadImage(str(tmp_path / "out.nii.gz"))
    assert mask.GetPixelID() == sitk.sitkUInt8 and sitk.GetArrayFromImage(mask).min() == 1
    assert (mask.GetSize(), mask.GetSpacing(), mask.GetDirection()) == (
        image.GetSize(),
        image.GetSpacing(),
        image.GetDirection(),
    )
    assert mask.GetOrigin() == image.GetOrigin()


def test_write_refuses_what_could_not_be_read_again(good_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.nii.gz"
    with pytest.raises(DataError, match=r"GEO-PAIR.*\(9, 10, 11\).*\(9, 10, 12\)"):
        write_like(path, np.zeros((9, 10, 11), np.uint8), good_file)
    with pytest.raises(DataError, match=r"IO-DTYPE.*int64"):
        write_like(path, np.zeros((9, 10, 12), np.int64), good_file)
    with pytest.raises(DataError, match="INT-NONFINITE"):
        write_like(path, np.full((9, 10, 12), np.nan, np.float32), good_file)
    with pytest.raises(DataError, match="IO-SHAPE"):
        write_volume(path, Volume(np.zeros((2, 9, 10, 12), np.uint8), read_grid(good_file)))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [good_file.name]


def test_a_file_that_the_disk_did_not_keep_never_gets_its_name(
    good_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = nifti.stream

    def lose_the_end(path: Path) -> Iterator[bytes]:
        if path.name.startswith(".tmp"):
            path.write_bytes(path.read_bytes()[:-20])
        return real(path)

    monkeypatch.setattr(nifti, "stream", lose_the_end)
    with pytest.raises(EnvironmentFault, match="IO-WRITE"):
        write_like(tmp_path / "out.nii.gz", np.zeros((9, 10, 12), np.uint8), good_file)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [good_file.name]


def test_the_same_array_gives_the_same_bytes(good_file: Path, tmp_path: Path) -> None:
    array = read_volume(good_file).array[0]
    for name in ("first.nii.gz", "second.nii.gz"):
        write_like(tmp_path / name, array, good_file)
    assert (tmp_path / "first.nii.gz").read_bytes() == (tmp_path / "second.nii.gz").read_bytes()


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_volume_without_a_file_comes_back_on_its_grid(ending: str, tmp_path: Path) -> None:
    turn = ((0.0, 0.6, 0.8), (0.0, -0.8, 0.6), (1.0, 0.0, 0.0))
    grid = Grid((9, 10, 12), (1.0, 0.5, 2.5), (100.0, -20.0, 3.5), turn)
    array = np.random.default_rng(1).normal(size=(1, 9, 10, 12)).astype(np.float32)
    path = tmp_path / f"volume{ending}"
    write_volume(path, Volume(array, grid))
    found = read_volume(path)
    np.testing.assert_array_equal(found.array, array)
    np.testing.assert_allclose(found.grid.affine, grid.affine, atol=1e-5)
    header = nibabel.load(path).header
    assert (header["qform_code"], header["sform_code"], header.get_xyzt_units()[0]) == (1, 1, "mm")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared development data are not here")
def test_real_and_kits_files_read_as_itk_reads_them() -> None:
    files = sorted((SHARED / "data").glob("*_pack/**/*.nii.gz"))[::40]
    assert len(files) > 5
    for path in files:
        volume, image = read_volume(path), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(volume.array[0], sitk.GetArrayFromImage(image))
        corner = image.TransformIndexToPhysicalPoint([size - 1 for size in image.GetSize()])
        found = volume.grid.to_world(np.array(volume.grid.shape) - 1.0)
        np.testing.assert_allclose(found, corner[::-1], atol=1e-3)
