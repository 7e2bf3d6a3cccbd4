from pathlib import Path

import numpy as np
import pytest

from nnanomaly.imageio.nifti import write_volume
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

SHAPE, SPACING, ORIGIN = (8, 9, 10), (3.0, 2.0, 2.0), (10.0, 20.0, 30.0)
GRID = Grid(SHAPE, SPACING, ORIGIN)
IMAGE = Path("imagesTr/a_0000.nii.gz")


def put(folder, grid=GRID):
    labels = np.zeros((1, *grid.shape), np.uint8)
    labels[0, 1, 2, 3:6] = 2, 3, 3
    write_volume(folder / "mask.nii.gz", Volume(labels, grid))
    return folder / "mask.nii.gz"


def test_without_a_label_every_voxel_but_zero_is_organ(tmp_path):
    mask = load_organ_mask(put(tmp_path), None, grid=GRID, image=IMAGE)
    assert mask.grid == GRID
    assert mask.array.dtype == np.uint8
    np.testing.assert_array_equal(np.argwhere(mask.array[0]), [[1, 2, 3], [1, 2, 4], [1, 2, 5]])
    assert mask.array.max() == 1


def test_with_a_label_only_its_voxels_are_organ(tmp_path):
    mask = load_organ_mask(put(tmp_path), 3, grid=GRID, image=IMAGE)
    np.testing.assert_array_equal(np.argwhere(mask.array[0]), [[1, 2, 4], [1, 2, 5]])


def test_an_organ_that_is_not_in_the_map_is_empty(tmp_path):
    assert not load_organ_mask(put(tmp_path), 7, grid=GRID, image=IMAGE).array.any()


def test_rounding_of_headers_is_accepted(tmp_path):
    path = put(tmp_path, Grid(SHAPE, SPACING, (10.0, 20.0001, 30.0)))
    assert load_organ_mask(path, None, grid=GRID, image=IMAGE).grid == GRID


@pytest.mark.parametrize(
    ("grid", "named"),
    [
        (Grid((8, 9, 12), SPACING, ORIGIN), r"its shape is \(8, 9, 12\), not \(8, 9, 10\)"),
        (Grid(SHAPE, SPACING, (10.0, 25.0, 30.0)), "shifted by 5 mm"),
        (Grid(SHAPE, SPACING, (10.0, 20.0, 30.0), ((1, 0, 0), (0, 1, 0), (0, 0, -1))), "shifted by 18 mm"),
    ],
)
def test_a_mask_of_other_voxels_is_refused_with_the_cause(tmp_path, grid, named):
    with pytest.raises(DataError, match=f"GEO-PAIR.*a_0000.nii.gz: .*{named}"):
        load_organ_mask(put(tmp_path, grid), None, grid=GRID, image=IMAGE)


def test_a_mask_in_another_order_is_the_mask_in_that_of_the_image(tmp_path):
    own = load_organ_mask(put(tmp_path), 3, grid=GRID, image=IMAGE)
    labels = np.zeros((1, *SHAPE), np.uint8)
    labels[0, 1, 2, 3:6] = 2, 3, 3
    turned = Grid((10, 9, 8), (2.0, 2.0, 3.0), (10.0, 20.0, 48.0), ((0, 0, 1), (0, 1, 0), (-1, 0, 0)))
    write_volume(tmp_path / "mask.nii.gz", Volume(labels[:, :, :, ::-1].transpose(0, 3, 2, 1), turned))
    other = load_organ_mask(tmp_path / "mask.nii.gz", 3, grid=GRID, image=IMAGE)
    assert other.grid == GRID and other.array.flags.c_contiguous
    np.testing.assert_array_equal(other.array, own.array)
