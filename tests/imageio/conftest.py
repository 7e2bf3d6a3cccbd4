"""Small NIfTI files with known voxels, and ways to break them."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@pytest.fixture
def ras_matrix() -> Callable[..., np.ndarray]:
    """Affine (RAS mm) of a file whose axes point to the given letters, tilted about an axis of the world."""

    def build(letters: str, spacing: tuple[float, float, float], *, tilt_degrees: float = 0.0) -> np.ndarray:
        affine = np.eye(4)
        affine[:3, :3] = 0
        for column, letter in enumerate(letters):
            row, sign = AXES[letter]
            affine[row, column] = sign * spacing[column]
        angle = np.deg2rad(tilt_degrees)
        rotation = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
        affine[:3, :3] = rotation @ affine[:3, :3]
        affine[:3, 3] = (-31.5, 12.25, 104.0)
        return affine

    return build


@pytest.fixture
def good_file(tmp_path: Path) -> Path:
    """A little-endian int16 file of 12 x 10 x 9 voxels, 1 x 2 x 3 mm, voxel (i, j, k) holding i + 20 j + 400 k."""
    i, j, k = np.ogrid[:12, :10, :9]
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-5.0, 6.0, 7.0)
    image = nibabel.Nifti1Image((i + 20 * j + 400 * k).astype(np.int16), affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm")
    path = tmp_path / "good.nii.gz"
    nibabel.save(image, path)
    return path


@pytest.fixture
def patched(good_file: Path) -> Callable[..., Path]:
    """Copies of the good file with values written over its header: `patched((offset, struct format, value), ...)`."""

    def patch(*changes: tuple[int, str, object]) -> Path:
        content = bytearray(gzip.decompress(good_file.read_bytes()))
        for offset, kind, value in changes:
            values = value if isinstance(value, tuple) else (value,)
            struct.pack_into(f"<{kind}", content, offset, *values)
        path = good_file.with_name("patched.nii.gz")
        path.write_bytes(gzip.compress(bytes(content), 1))
        return path

    return patch
