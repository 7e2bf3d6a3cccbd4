import base64
from pathlib import Path

import numpy as np

from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.report.crops import coarse_grid, coarsen, coarsening_steps
from nnanomaly.report.embedding import OrganVolumes, embed_under, encode_nifti
from nnanomaly.report.orientation import to_nearest_canonical
from nnanomaly.volume import Grid, Volume

GRID = Grid((16, 18, 20), (3.0, 1.0, 1.5), (5.0, -7.0, 11.0))


def _read(text: str, path: Path) -> Volume:
    path.write_bytes(base64.b64decode(text))
    return reader_writer_for(path).read_volume(path)


def test_an_embedded_image_reads_back_with_its_values_and_its_place(tmp_path: Path) -> None:
    array = np.arange(16 * 18 * 20, dtype=np.int16).reshape(GRID.shape) - 1000
    volume = _read(encode_nifti(array, GRID), tmp_path / "image.nii.gz")
    np.testing.assert_array_equal(volume.array[0], array)
    assert volume.grid.largest_corner_distance_mm(GRID) < 1e-3


def test_an_embedded_map_is_off_by_half_a_step_at_most(tmp_path: Path) -> None:
    array = np.linspace(0, 5.1, 16 * 18 * 20, dtype=np.float32).reshape(GRID.shape)
    volume = _read(encode_nifti(array, GRID), tmp_path / "map.nii.gz")
    assert np.abs(volume.array[0] - array).max() <= 5.1 / 255 / 2 + 1e-6


def test_blocks_double_along_the_finest_axis() -> None:
    grid = Grid((64, 64, 64), (4.0, 1.0, 1.5), (0.0, 0.0, 0.0))
    assert coarsening_steps(grid, fewest_voxels=16) == [
        (1, 1, 1),
        (1, 2, 1),
        (1, 2, 2),
        (1, 4, 2),
        (1, 4, 4),
        (2, 4, 4),
    ]


def test_the_mean_of_a_block_lies_where_its_voxels_lie() -> None:
    array = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    grid = Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert coarsen(array, (2, 2, 2), "mean").tolist() == [[[3.5]]]
    assert coarsen(array, (2, 2, 2), "max").tolist() == [[[7.0]]]
    assert coarse_grid(grid, (2, 2, 2)).origin_mm == (0.5, 0.5, 0.5)


def test_a_limit_is_kept_by_larger_voxels_and_a_hopeless_one_gives_nothing() -> None:
    grid = Grid((48, 48, 48), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    noise = np.random.default_rng(0).integers(-500, 500, grid.shape).astype(np.int16)
    empty = np.zeros(grid.shape, np.uint8)
    volumes = OrganVolumes(
        image=noise,
        autoencoded=None,
        reconstruction=noise,
        anomaly=empty.astype(np.float32),
        candidates=empty,
        reference=None,
    )
    embedded = embed_under(volumes, grid, max_bytes=200_000)
    assert embedded is not None
    assert embedded.coarsened
    assert sum(map(len, embedded.texts.values())) <= 200_000
    assert embed_under(volumes, grid, max_bytes=1_000) is None


def test_axes_are_turned_without_moving_a_voxel() -> None:
    direction = ((0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0))
    grid = Grid((3, 4, 5), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0), direction)
    array = np.arange(60).reshape(1, 3, 4, 5)
    turned = to_nearest_canonical(Volume(array, grid))
    assert turned.grid.direction == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    for index in ((0, 0, 0), (2, 1, 4), (1, 3, 2)):
        place = turned.grid.to_index(grid.to_world(np.array(index, dtype=float)))
        k, j, i = np.rint(place).astype(int)
        assert turned.array[0, k, j, i] == array[0][index]
