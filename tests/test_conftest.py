"""The oracle writer of the fixtures agrees with the convention that volume.py states."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np


def test_oracle_writer_puts_a_voxel_where_the_convention_says(write_nifti: Callable[..., Path], tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    array[1, 2, 3] = 7
    image = nibabel.load(write_nifti(tmp_path / "a.nii.gz", array, spacing_mm=(2, 3, 4), origin_mm=(10, 20, 30)))
    index = np.argwhere(np.asarray(image.dataobj) == 7)[0]
    right, anterior, superior = nibabel.affines.apply_affine(image.affine, index)
    assert (superior, -anterior, -right) == (10 + 1 * 2, 20 + 2 * 3, 30 + 3 * 4)
