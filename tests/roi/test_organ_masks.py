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
        (Grid((8, 9, 12), SPACING, ORIGIN), r"\(8, 9, 12\).*\(8, 9, 10\).* 4 mm apart"),
        (Grid(SHAPE, SPACING, (10.0, 25.0, 30.0)), " 5 mm apart"),
        (Grid(SHAPE, SPACING, (10.0, 20.0, 48.0), ((1, 0, 0), (0, 1, 0), (0, 0, -1))), " 20 mm apart"),
    ],
)
def test_a_mask_on_another_grid_is_refused_with_distance_and_shapes(tmp_path, grid, named):
    with pytest.raises(DataError, match="GEO-PAIR.*a_0000.nii.gz.*" if not named.startswith(r"\(") else named) as error:
        load_organ_mask(put(tmp_path, grid), None, grid=GRID, image=IMAGE)
    assert "mm apart" in str(error.value)
    assert error.match(named)
