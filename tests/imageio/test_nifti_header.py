"""One row per header fault: the bytes that are overwritten, and the code that the user gets."""

import gzip
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.imageio import nifti_header
from nnanomaly.imageio.nifti import read_grid, read_volume
from nnanomaly.utilities.errors import DataError, UserError

NAN = float("nan")
DIM, DATATYPE, PIXDIM, VOX_OFFSET, SLOPE, INTERCEPT = 40, 70, 76, 108, 112, 116
UNITS, QFORM_CODE, SFORM_CODE, QUATERN, QOFFSET, SROW_X = 123, 252, 254, 256, 268, 280

FAULTS = {
    "no NIfTI header": ("IO-FORMAT", (0, "i", 349)),
    "magic of a header without voxels": ("IO-FORMAT", (344, "4s", b"ni1\0")),
    "voxels inside the header": ("IO-FORMAT", (VOX_OFFSET, "f", 100.0)),
    "voxels at no byte": ("IO-FORMAT", (VOX_OFFSET, "f", NAN)),
    "bits": ("IO-DTYPE", (DATATYPE, "h", 1)),
    "complex64": ("IO-DTYPE", (DATATYPE, "h", 32)),
    "RGB": ("IO-DTYPE", (DATATYPE, "h", 128)),
    "long double": ("IO-DTYPE", (DATATYPE, "h", 1536)),
    "int64": ("IO-DTYPE", (DATATYPE, "h", 1024)),
    "type that does not exist": ("IO-DTYPE", (DATATYPE, "h", 77)),
    "eight dimensions": ("IO-SHAPE", (DIM, "h", 8)),
    "negative axis": ("IO-SHAPE", (DIM + 2, "h", -12)),
    "empty axis": ("IO-SHAPE", (DIM + 4, "h", 0)),
    "two dimensions": ("GEO-THIN", (DIM, "h", 2)),
    "two volumes": ("GEO-4D", (DIM, "5h", (4, 12, 10, 9, 2))),
    "more voxels than fit into memory": ("IO-TOOBIG", (DIM + 2, "3h", (32000, 32000, 32000))),
    "more voxels than in the file": ("IO-LENGTH", (DIM + 2, "h", 2000)),
    "fewer voxels than in the file": ("IO-LENGTH", (DIM + 2, "h", 11)),
    "slope without intercept": ("INT-RANGE", (SLOPE, "2f", (2.0, NAN))),
    "zero pixdim": ("GEO-SPACING", (PIXDIM + 4, "f", 0.0)),
    "negative pixdim": ("GEO-SPACING", (PIXDIM + 4, "f", -1.0)),
    "NaN pixdim": ("GEO-SPACING", (PIXDIM + 8, "f", NAN)),
    "NaN in the sform": ("GEO-SPACING", (SROW_X + 12, "f", NAN)),
    "NaN in the qform": ("GEO-SPACING", (QOFFSET, "f", NAN)),
    "quaternion longer than 1": ("GEO-SPACING", (QUATERN, "f", 1.5)),
    "singular sform": ("GEO-SPACING", (SROW_X, "f", 0.0)),
    "neither qform nor sform": ("GEO-SPACING", (QFORM_CODE, "2h", (0, 0))),
    "unknown units": ("GEO-UNITS", (UNITS, "B", 5)),
    "shear": ("GEO-SHEAR", (SROW_X + 4, "f", 0.6)),
    "origins 1 cm apart": ("GEO-FORMS", (QOFFSET, "f", 5.0)),
    "origins 0.02 mm apart": ("GEO-FORMS", (QOFFSET, "f", -4.98)),
    "voxel sizes differ": ("GEO-FORMS", (PIXDIM + 4, "f", 2.0)),
    "mirrored qform": ("GEO-FORMS", (PIXDIM, "f", -1.0)),
    "sform alone against pixdim": ("GEO-FORMS", (PIXDIM + 4, "f", 2.0), (QFORM_CODE, "h", 0)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_header_fault_gets_its_code(fault: str, patched: Callable[..., Path]) -> None:
    code, *changes = FAULTS[fault]
    path = patched(*changes)
    with pytest.raises(DataError) as caught:
        read_volume(path)
    assert caught.value.code == code
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_shape_dtype_and_scaling_come_from_the_header(good_file: Path) -> None:
    layout = nifti_header.parse_layout(gzip.decompress(good_file.read_bytes()), good_file)
    assert (layout.grid.shape, layout.dtype, layout.data_offset) == ((9, 10, 12), np.dtype("<i2"), 352)
    assert (layout.num_bytes, layout.scaled) == (352 + 2 * 9 * 10 * 12, False)


def test_four_dimensions_with_one_volume_are_accepted(patched: Callable[..., Path], good_file: Path) -> None:
    path = patched((DIM, "5h", (4, 12, 10, 9, 1)))
    np.testing.assert_array_equal(read_volume(path).array, read_volume(good_file).array)


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 7.0), (NAN, NAN), (NAN, 3.0)])
def test_a_slope_of_zero_or_nan_means_no_scaling(patched: Callable[..., Path], slope: float, intercept: float) -> None:
    assert read_volume(patched((SLOPE, "2f", (slope, intercept)))).array[0, 1, 1, 1] == 421


def test_size_limit_is_checked_before_the_voxels_are_looked_for(
    patched: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nifti_header, "available_memory_bytes", lambda: 3000.0)
    path = patched((DIM + 2, "h", 11))  # 1980 of the 1800 bytes allowed; the wrong length would be found later
    with pytest.raises(DataError, match="IO-TOOBIG"):
        read_grid(path)


def test_a_file_that_inflates_a_thousandfold_to_gigabytes_is_refused(
    patched: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nifti_header, "available_memory_bytes", lambda: 1e12)
    with pytest.raises(DataError, match=re.escape("[NNA-IO-BOMB]")):
        read_volume(patched((DIM + 2, "3h", (1200, 1200, 1200))))


@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
@pytest.mark.parametrize("endianness", ["<", ">"])
def test_both_versions_and_byte_orders_read_alike(kind: type, endianness: str, good_file: Path, tmp_path: Path) -> None:
    stored = nibabel.load(good_file)
    image_kind = nibabel.Nifti1Image if kind is nibabel.Nifti1Header else nibabel.Nifti2Image
    image = image_kind(np.asarray(stored.dataobj), stored.affine, kind(endianness=endianness))
    image.set_data_dtype(np.int16)
    nibabel.save(image, tmp_path / "other.nii")
    expected, found = read_volume(good_file), read_volume(tmp_path / "other.nii")
    np.testing.assert_array_equal(found.array, expected.array)
    assert found.grid == expected.grid


def test_random_header_bytes_never_cause_anything_but_an_error_with_a_code(
    patched: Callable[..., Path], good_file: Path
) -> None:
    random_numbers = random.Random(7)
    refused = 0
    for _ in range(300):
        offsets = random_numbers.sample(range(352), random_numbers.choice([1, 2, 4]))
        path = patched(*((offset, "B", random_numbers.randrange(256)) for offset in offsets))
        try:
            volume = read_volume(path)
            assert volume.array.dtype == np.float32 and np.isfinite(volume.array).all()
        except UserError as error:
            refused += 1
            assert re.match(r"\[NNA-[A-Z]+-[A-Z0-9]+\] ", str(error))
    assert 20 < refused < 280


def test_header_of_the_other_byte_order_is_not_mistaken(good_file: Path, tmp_path: Path) -> None:
    content = bytearray(gzip.decompress(good_file.read_bytes()))
    content[:4] = struct.pack(">i", 348)
    path = tmp_path / "mixed.nii"
    path.write_bytes(content)
    with pytest.raises(DataError, match="NNA-"):
        read_volume(path)
