"""NRRD and MetaImage files: the same voxels on the same grid as NIfTI, and the same refusals."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnanomaly.imageio import itk, nifti
from nnanomaly.imageio.reader_writer import READER_WRITERS, reader_writer_for, write_like
from nnanomaly.utilities.errors import DataError, EnvironmentFault
from nnanomaly.volume import Volume

ENDINGS = (".nrrd", ".mha", ".mhd")
Z, Y, X = np.ogrid[:9, :10, :12]
VOXELS = (X + 20 * Y + 400 * Z).astype(np.int16)


def saved(path: Path, array: np.ndarray = VOXELS, *, compress: bool = False) -> Path:
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 3.0)[: array.ndim])
    image.SetOrigin((-5.0, 6.0, 7.0)[: array.ndim])
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    return path


def data_of(path: Path) -> Path:
    """The file that holds the voxels."""
    return next(iter(sorted(path.parent.glob(f"{path.stem}.*raw"))), path) if path.suffix == ".mhd" else path


@pytest.mark.parametrize("compress", [False, True], ids=["raw", "compressed"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_voxels_and_grid_are_those_of_the_same_image_as_nifti(ending: str, compress: bool, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{ending}", compress=compress)
    reference = nifti.read_volume(saved(tmp_path / "a.nii.gz"))
    for read in (itk.read_volume, itk.read_labels):
        volume = read(path)
        assert volume.grid == reference.grid
        assert np.array_equal(volume.array, reference.array)
    assert itk.read_grid(path) == reference.grid
    assert itk.read_volume(path).array.dtype == np.float32
    assert itk.read_labels(path).array.dtype == np.int16


@pytest.mark.parametrize("letters", ["RAS", "LPS", "IPL"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_an_image_that_was_written_comes_back_on_its_grid_however_its_axes_point(
    ending: str, letters: str, tmp_path: Path, ras_matrix: Callable[..., np.ndarray]
) -> None:
    affine = ras_matrix(letters, (1.5, 2.0, 3.0), tilt_degrees=10.0)
    image = nibabel.Nifti1Image(VOXELS.transpose(2, 1, 0), affine)
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = nifti.read_volume(tmp_path / "a.nii.gz")
    itk.write_volume(tmp_path / f"b{ending}", volume)
    back = itk.read_volume(tmp_path / f"b{ending}")
    assert np.array_equal(back.array, volume.array)
    assert back.grid.largest_corner_distance_mm(volume.grid) < 1e-4
    write_like(tmp_path / f"c{ending}", VOXELS > 100, tmp_path / "a.nii.gz")
    mask = itk.read_labels(tmp_path / f"c{ending}")
    assert mask.array.dtype == np.uint8 and np.array_equal(mask.array[0] != 0, VOXELS > 100)
    assert [path.name for path in tmp_path.glob(".tmp*")] == []


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("compress", [False, True], ids=["raw", "compressed"])
@pytest.mark.parametrize("cut", [1, 8, 700])
def test_a_file_that_ends_early_is_refused(ending: str, compress: bool, cut: int, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{ending}", compress=compress)
    data = data_of(path)
    data.write_bytes(data.read_bytes()[:-cut])
    for read in (itk.read_volume, itk.read_labels):
        with pytest.raises(DataError, match="IO-TRUNCATED"):
            read(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_that_are_too_many_are_refused(ending: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{ending}")
    data = data_of(path)
    data.write_bytes(data.read_bytes() + b"x")
    with pytest.raises(DataError, match="IO-LENGTH"):
        itk.read_volume(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_changed_byte_of_compressed_data_gives_other_voxels(ending: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{ending}", compress=True)
    data, rng = data_of(path), np.random.default_rng(0)
    sound = data.read_bytes()
    begin = len(sound) - 500 if ending != ".mhd" else 0
    for place in rng.integers(begin, len(sound), 40):
        content = bytearray(sound)
        content[place] ^= 0xFF
        data.write_bytes(bytes(content))
        try:
            assert np.array_equal(itk.read_volume(path).array[0], VOXELS), place  # such as the gzip header's time
        except DataError as error:
            assert error.code in {"IO-CRC", "IO-TRUNCATED", "IO-LENGTH", "IO-FORMAT"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((b"sizes: 12 10 9", b"sizes: 12 10 90000000"), "IO-"),
        ((b"sizes: 12 10 9", b"sizes: 12 10 -9"), "IO-SHAPE"),
        ((b"dimension: 3", b"dimension: 4"), "IO-FORMAT"),
        ((b"sizes: 12 10 9", b"sizes: 12 10 3 3"), "GEO-4D"),
        ((b"type: short", b"type: block"), "IO-DTYPE"),
        ((b"encoding: raw", b"encoding: hex"), "IO-FORMAT"),
        ((b"encoding: raw", b"encoding: raw\ndata file: ../secret"), "IO-FORMAT"),
        ((b"encoding: raw", b"encoding: raw\ndata file: other.raw"), "IO-MISSING"),
        ((b"encoding: raw", b"encoding: raw\nbyte skip: -1"), "IO-FORMAT"),
        ((b"(1,0,0)", b"(nan,0,0)"), "GEO-|IO-FORMAT"),
        ((b"(1,0,0)", b"(1,1,0)"), "GEO-|IO-FORMAT"),
        ((b"space directions", b"spice directions"), "GEO-SPACING"),
    ],
)
def test_a_damaged_nrrd_header_is_named(change: tuple[bytes, bytes], code: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.nrrd")
    content = path.read_bytes()
    assert change[0] in content
    path.write_bytes(content.replace(*change))
    with pytest.raises((DataError, FileNotFoundError), match=code):
        itk.read_volume(path)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ((b"DimSize = 12 10 9", b"DimSize = 12 10 90000000"), "IO-"),
        ((b"ElementSpacing = 1 2 3\n", b""), "GEO-SPACING"),
        ((b"ElementSpacing = 1 2 3", b"ElementSpacing = 0 2 3"), "GEO-|IO-FORMAT"),
        ((b"ElementType = MET_SHORT", b"ElementType = MET_STRING"), "IO-DTYPE"),
        ((b"ElementDataFile = LOCAL", b"ElementDataFile = /etc/passwd"), "IO-FORMAT"),
        ((b"ElementDataFile = LOCAL", b"ElementDataFile = LIST"), "IO-FORMAT"),
        ((b"ElementDataFile = LOCAL", b"Data = LOCAL"), "IO-FORMAT"),
        ((b"BinaryData = True", b"BinaryData = False"), "IO-FORMAT"),
        ((b"NDims = 3", b"NDims = 3\nElementNumberOfChannels = 2"), "IO-SHAPE"),
    ],
)
def test_a_damaged_metaimage_header_is_named(change: tuple[bytes, bytes], code: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "a.mha")
    content = path.read_bytes()
    assert change[0] in content
    path.write_bytes(content.replace(*change))
    with pytest.raises(DataError, match=code):
        itk.read_volume(path)


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_random_byte_of_a_header_ends_in_a_foreign_error(ending: str, tmp_path: Path) -> None:
    path = saved(tmp_path / f"a{ending}")
    sound, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(150):
        content = bytearray(sound)
        content[int(rng.integers(0, min(300, len(content))))] = int(rng.integers(0, 256))
        path.write_bytes(bytes(content))
        try:
            itk.read_volume(path)
        except (DataError, FileNotFoundError) as error:
            assert "[NNA-" in str(error)


def test_values_that_are_not_finite_and_labels_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    values = VOXELS.astype(np.float32)
    values[1, 2, 3] = np.nan
    with pytest.raises(DataError, match=r"INT-NONFINITE.*1 voxels.*\(1, 2, 3\)"):
        itk.read_volume(saved(tmp_path / "a.nrrd", values))
    with pytest.raises(DataError, match=r"INT-LABELS.*0\.5"):
        itk.read_labels(saved(tmp_path / "b.mha", np.full((9, 10, 12), 0.5, np.float32)))


def test_an_image_of_two_axes_is_no_volume(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="GEO-THIN"):
        itk.read_grid(saved(tmp_path / "a.mha", VOXELS[0]))


def test_names_and_values_of_slicers_segments_are_read(tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray((VOXELS % 3).astype(np.uint8))
    for key, value in {"Segment0_Name": "kidney_left", "Segment0_LabelValue": "2", "Segment1_Name": "liver"}.items():
        image.SetMetaData(key, value)
    SimpleITK.WriteImage(image, str(tmp_path / "a.seg.nrrd"))
    assert reader_writer_for(tmp_path / "a.seg.nrrd").read_label_table(tmp_path / "a.seg.nrrd") == {"kidney_left": 2}
    assert itk.read_label_table(saved(tmp_path / "b.mha")) == {}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_the_disk_did_not_keep_never_gets_its_name(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{ending}"
    volume = itk.read_volume(saved(tmp_path / f"b{ending}"))
    itk.write_volume(path, volume)
    write = SimpleITK.WriteImage

    def cut(image: SimpleITK.Image, name: str, **options: bool) -> None:
        write(image, name, **options)
        data = data_of(Path(name))
        data.write_bytes(data.read_bytes()[:-20])

    monkeypatch.setattr(SimpleITK, "WriteImage", cut)
    with pytest.raises(EnvironmentFault, match="IO-WRITE"):
        itk.write_volume(path, Volume(volume.array + 1, volume.grid))
    assert np.array_equal(itk.read_volume(path).array, volume.array)
    assert list(tmp_path.glob(".tmp*")) == []


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_cannot_be_read_again_is_not_written(ending: str, tmp_path: Path) -> None:
    volume = itk.read_volume(saved(tmp_path / f"a{ending}"))
    with pytest.raises(DataError, match="IO-DTYPE"):
        itk.write_volume(tmp_path / f"b{ending}", Volume(volume.array.astype(np.float64), volume.grid))
    with pytest.raises(DataError, match="INT-NONFINITE"):
        itk.write_volume(tmp_path / f"b{ending}", Volume(np.full_like(volume.array, np.inf), volume.grid))
    with pytest.raises(DataError, match="IO-SHAPE"):
        itk.write_volume(tmp_path / f"b{ending}", Volume(np.concatenate([volume.array] * 2), volume.grid))
    with pytest.raises(DataError, match="GEO-PAIR"):
        itk.write_like(tmp_path / f"b{ending}", volume.array[0, 1:], tmp_path / f"a{ending}")
    assert set(ENDINGS) < set(READER_WRITERS)
