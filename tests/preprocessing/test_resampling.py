"""Closed forms (ramps, hand-written rows, balls), scipy on the whole volume as oracle, and the way out and back."""

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from nnanomaly.imageio.nifti import read_grid, read_volume, write_like
from nnanomaly.preprocessing.resampling import (
    paste_onto_grid,
    sample_labels_on_grid,
    sample_mask_on_grid,
    sample_on_grid,
)
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.volume import Box, Grid, Shape, Triple, Volume, canonical_grid

SIGNED_PERMUTATIONS = [
    np.eye(3)[:, order] * signs for order in permutations(range(3)) for signs in product((1.0, -1.0), repeat=3)
]
TILT = Rotation.from_euler("zyx", (20, -10, 15), degrees=True).as_matrix()


def _grid(direction: np.ndarray, shape: Shape, spacing: Triple, center_mm: Triple = (5.0, -7.0, 11.0)) -> Grid:
    half = direction @ ((np.asarray(shape) - 1) / 2 * np.asarray(spacing))
    origin = np.asarray(center_mm) - half
    return Grid(shape, spacing, tuple(origin.tolist()), tuple(tuple(row) for row in direction.tolist()))


def _world(grid: Grid) -> np.ndarray:
    """World positions `[3, *shape]` of all voxel centres."""
    index = np.stack(np.meshgrid(*(np.arange(size) for size in grid.shape), indexing="ij"), axis=-1)
    return np.moveaxis(grid.to_world(index), -1, 0)


def _oracle(volume: Volume, grid: Grid, *, order: int) -> np.ndarray:
    """scipy's spline of the whole volume at every voxel centre of the target."""
    index = volume.grid.to_index(np.moveaxis(_world(grid), 0, -1))
    return ndimage.map_coordinates(volume.array[0], np.moveaxis(index, -1, 0), order=order, mode="nearest")


def _noise(grid: Grid, seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).normal(0, 300, (1, *grid.shape)).astype(np.float32), grid)


def _line(values: list[float], spacing: float = 1.0, start: float = 0.0) -> Volume:
    array = np.array(values, dtype=np.float32).reshape(1, 1, 1, -1)
    return Volume(array, Grid((1, 1, len(values)), (1.0, 1.0, spacing), (0.0, 0.0, start)))


def test_linear_interpolation_by_hand() -> None:
    target = Grid((1, 1, 7), (1.0, 1.0, 1.0), (0.0, 0.0, -2.0))  # at -2, -1, 0 ... 4; samples at 0, 2 and 4
    values, covered = sample_on_grid(_line([10, 20, 60], 2.0), target, order=1, antialiasing=False, fill=-5.0)
    np.testing.assert_allclose(values[0, 0, 0], [-5, 10, 10, 15, 20, 40, 60], rtol=1e-6)
    assert covered[0, 0].tolist() == [False, True, True, True, True, True, True]  # the face of the volume lies at -1


@pytest.mark.parametrize("order", [1, 3])
@pytest.mark.parametrize("tilt", [np.eye(3), TILT], ids=["parallel", "oblique"])
def test_ramp_in_world_coordinates_is_reproduced(order: int, tilt: np.ndarray) -> None:
    slope = np.array([3.0, -2.0, 0.5])
    target = canonical_grid((5.0, -7.0, 11.0), (12, 10, 14), (1.0, 1.0, 1.0))
    for direction in SIGNED_PERMUTATIONS[::7]:
        source = _grid(tilt @ direction, (60, 64, 62), (0.7, 0.9, 0.8))
        ramp = np.tensordot(slope, _world(source), axes=1)[None].astype(np.float32)
        values, covered = sample_on_grid(Volume(ramp, source), target, order=order, antialiasing=False, fill=0.0)
        assert covered.all()
        np.testing.assert_allclose(values[0], np.tensordot(slope, _world(target), axes=1), atol=2e-4)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize("number", range(0, 48, 9))
def test_separable_matrices_equal_the_spline_of_the_whole_volume(order: int, number: int) -> None:
    volume = _noise(_grid(SIGNED_PERMUTATIONS[number], (50, 44, 61), (0.7, 1.3, 0.9)))
    target = canonical_grid((4.3217, -6.1139, 12.2471), (9, 11, 13), (1.1, 0.8, 1.0))
    values, _ = sample_on_grid(volume, target, order=order, antialiasing=False, fill=0.0)
    np.testing.assert_allclose(values[0], _oracle(volume, target, order=order), atol=2e-3)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_oblique_grids_equal_the_spline_of_the_whole_volume(order: int) -> None:
    volume = _noise(_grid(TILT @ SIGNED_PERMUTATIONS[11], (50, 44, 61), (0.7, 1.3, 0.9)))
    target = canonical_grid((4.3217, -6.1139, 12.2471), (9, 11, 13), (1.1, 0.8, 1.0))
    values, _ = sample_on_grid(volume, target, order=order, antialiasing=False, fill=0.0)
    np.testing.assert_allclose(values[0], _oracle(volume, target, order=order), atol=2e-3)


@pytest.mark.parametrize("order", [1, 3])
def test_border_of_the_volume_is_handled_as_scipy_does(order: int) -> None:
    volume = _noise(canonical_grid((0.0, 0.0, 0.0), (8, 9, 10), (1.5, 1.0, 2.0)))
    target = canonical_grid((4.0, -4.0, 8.0), (12, 12, 12), (1.0, 1.0, 1.0))
    values, covered = sample_on_grid(volume, target, order=order, antialiasing=False, fill=-1024.0)
    assert 0 < covered.sum() < covered.size
    np.testing.assert_allclose(values[0][covered], _oracle(volume, target, order=order)[covered], atol=2e-3)
    assert (values[0][~covered] == -1024).all()


def test_grids_tilted_by_less_than_the_tolerance_are_still_sampled_in_place() -> None:
    tilt = Rotation.from_euler("x", 0.9e-4).as_matrix()
    volume = _noise(_grid(tilt, (40, 200, 200), (1.0, 0.8, 0.8)))
    target = canonical_grid((5.0, 50.0, 60.0), (9, 40, 40), (1.0, 1.0, 1.0))
    values, _ = sample_on_grid(volume, target, order=1, antialiasing=False, fill=0.0)
    difference = values[0] - _oracle(volume, target, order=1)
    assert np.abs(difference).max() < 300 * 0.02  # 0.002 voxels at the rim of the patch, wherever the patch lies


def test_target_beside_the_volume_is_filled() -> None:
    volume = _noise(canonical_grid((0.0, 0.0, 0.0), (8, 8, 8), (1.0, 1.0, 1.0)))
    target = canonical_grid((500.0, 0.0, 0.0), (8, 8, 8), (1.0, 1.0, 1.0))
    for direction in (np.eye(3), TILT):
        oblique = _grid(direction, target.shape, target.spacing_mm, (500.0, 0.0, 0.0))
        values, covered = sample_on_grid(volume, oblique, order=3, antialiasing=True, fill=7.0)
        assert (values == 7).all() and not covered.any()


def test_channels_are_sampled_one_by_one() -> None:
    source = _grid(np.eye(3), (20, 21, 22), (1.0, 1.2, 0.9))
    first, second = _noise(source, 1), _noise(source, 2)
    both = Volume(np.concatenate([first.array, second.array]), source)
    for target in (_grid(np.eye(3), (6, 7, 8), (1.5, 1.5, 1.5)), _grid(TILT, (6, 7, 8), (1.5, 1.5, 1.5))):
        values, _ = sample_on_grid(both, target, order=3, antialiasing=True, fill=0.0)
        for channel, single in enumerate((first, second)):
            alone, _ = sample_on_grid(single, target, order=3, antialiasing=True, fill=0.0)
            np.testing.assert_allclose(values[channel], alone[0], atol=1e-3)


@pytest.mark.parametrize("direction", [SIGNED_PERMUTATIONS[20], TILT], ids=["parallel", "oblique"])
def test_antialiasing_is_a_gaussian_along_the_axes_that_become_coarser(direction: np.ndarray) -> None:
    source = canonical_grid((5.0, -7.0, 11.0), (50, 60, 70), (0.5, 0.8, 4.0))
    volume = _noise(source)
    target = _grid(direction, (8, 9, 10), (2.0, 2.0, 2.0))
    found, _ = sample_on_grid(volume, target, order=3, antialiasing=True, fill=0.0)
    sigma = ((2.0 / 0.5 - 1) / 2, (2.0 / 0.8 - 1) / 2, 0.0)
    smoothed = Volume(ndimage.gaussian_filter(volume.array[0], sigma, mode="nearest")[None], source)
    np.testing.assert_allclose(found[0], _oracle(smoothed, target, order=3), atol=2e-3)


def test_integer_scans_are_accepted() -> None:
    volume = _line([-1000, 0, 1000], 2.0)
    whole = Volume(volume.array.astype(np.int16), volume.grid)
    values, _ = sample_on_grid(whole, volume.grid, order=3, antialiasing=False, fill=0.0)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, volume.array, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32])
@pytest.mark.parametrize("direction", [SIGNED_PERMUTATIONS[13], TILT], ids=["parallel", "oblique"])
def test_labels_take_the_nearest_voxel_in_their_own_type(dtype: type, direction: np.ndarray) -> None:
    source = canonical_grid((0.0, 0.0, 0.0), (9, 10, 11), (3.0, 3.0, 3.0))
    labels = Volume(np.random.default_rng(3).integers(0, 200, (1, *source.shape)).astype(dtype), source)
    target = _grid(direction, (40, 41, 42), (1.0, 1.0, 1.0), (0.3, 0.2, 0.1))
    found = sample_labels_on_grid(labels, target)
    index = source.to_index(np.moveaxis(_world(target), 0, -1))
    nearest = np.rint(index).astype(int)
    inside = ((nearest >= 0) & (nearest < source.shape)).all(axis=-1)
    expected = np.where(inside, labels.array[0][tuple(np.moveaxis(nearest * inside[..., None], -1, 0))], 0)
    assert found.dtype == dtype and 0 < inside.mean() < 1
    np.testing.assert_array_equal(found[0], expected)


def test_positions_between_two_labels_all_fall_the_same_way() -> None:
    labels = _line([1, 2, 3, 4], 3.0)
    found = sample_labels_on_grid(labels, Grid((1, 1, 7), (1.0, 1.0, 1.5), (0.0, 0.0, 0.0)))
    assert found[0, 0, 0].tolist() == [1, 2, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("order", [-1, 6])
def test_an_order_without_a_spline_is_refused(order: int) -> None:
    volume = _line([1, 2], 3.0)
    with pytest.raises(ConfigurationError, match=f"CFG-PLAN.* {order}, "):
        sample_on_grid(volume, volume.grid, order=order, antialiasing=False, fill=0.0)


def _ball(grid: Grid, radius_mm: float) -> np.ndarray:
    distance = np.linalg.norm(_world(grid) - np.array([5.0, -7.0, 11.0]).reshape(3, 1, 1, 1), axis=0)
    return distance <= radius_mm


def test_a_blocky_mask_becomes_smooth_and_keeps_its_volume() -> None:
    coarse = _grid(np.eye(3), (24, 24, 24), (3.0, 3.0, 3.0), (5.3, -7.4, 11.2))
    fine = _grid(np.eye(3), (64, 64, 64), (1.0, 1.0, 1.0))
    mask = Volume(_ball(coarse, 20.0)[None], coarse)
    truth = _ball(fine, 20.0)
    smooth, blocky = sample_mask_on_grid(mask, fine)[0], sample_labels_on_grid(mask, fine)[0]
    assert smooth.dtype == np.bool_
    assert abs(smooth.sum() / truth.sum() - 1) < 0.02
    assert (smooth ^ truth).sum() < 0.75 * (blocky ^ truth).sum()


def test_a_voxel_half_covered_by_the_mask_belongs_to_it() -> None:
    mask = _line([0, 1, 1, 0], 2.0)
    found = sample_mask_on_grid(mask, Grid((1, 1, 9), (1.0, 1.0, 1.0), (0.0, 0.0, -1.0)))
    assert found[0, 0, 0].tolist() == [False, False, True, True, True, True, True, False, False]


def test_paste_by_hand() -> None:
    patch = np.array([10.0, 20.0, 30.0]).reshape(1, 1, 3)
    patch_grid = Grid((1, 1, 3), (1.0, 1.0, 2.0), (0.0, 0.0, 1.0))  # at 1, 3, 5; faces at 0 and 6
    target = Grid((1, 1, 9), (1.0, 1.0, 1.0), (0.0, 0.0, -1.5))  # at -1.5, -0.5, 0.5 ... 6.5
    box, values, covered = paste_onto_grid(patch, patch_grid, target)
    assert box == Box((0, 0, 2), (1, 1, 8))
    np.testing.assert_allclose(values[0, 0], [10, 12.5, 17.5, 22.5, 27.5, 30])
    assert covered.all()


def test_an_oblique_patch_covers_its_own_voxels_only() -> None:
    target = canonical_grid((0.0, 0.0, 0.0), (60, 60, 60), (1.0, 1.0, 1.0))
    patch_grid = _grid(TILT, (20, 24, 28), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    box, values, covered = paste_onto_grid(np.ones(patch_grid.shape), patch_grid, target)
    index = patch_grid.to_index(np.moveaxis(_world(target), 0, -1))
    expected = ((index >= -0.5) & (index <= np.array(patch_grid.shape) - 0.5)).all(axis=-1)
    assert expected.sum() == expected[box.slices].sum() == covered.sum()
    np.testing.assert_array_equal(covered, expected[box.slices])
    np.testing.assert_allclose(values, covered, atol=1e-6)
    assert covered.mean() < 0.8


@pytest.mark.parametrize("distance", [300.0, -300.0])
def test_a_patch_beside_the_scan_gives_an_empty_box(distance: float) -> None:
    target = canonical_grid((0.0, 0.0, 0.0), (20, 20, 20), (1.0, 1.0, 1.0))
    patch_grid = canonical_grid((0.0, distance, 0.0), (8, 8, 8), (1.0, 1.0, 1.0))
    box, values, covered = paste_onto_grid(np.ones((8, 8, 8)), patch_grid, target)
    assert values.size == covered.size == 0 and values.shape == box.shape
    np.zeros(target.shape)[box.slices] += values


FILES = {
    "RAS": ("RAS", (0.8, 0.8, 1.0), np.eye(3)),
    "LPS": ("LPS", (0.8, 0.8, 1.0), np.eye(3)),
    "PIR": ("PIR", (0.9, 1.1, 0.8), np.eye(3)),
    "IPL as in KiTS": ("IPL", (3.0, 0.8, 0.8), np.eye(3)),
    "LAS": ("LAS", (0.8, 0.8, 2.0), np.eye(3)),
    "oblique": ("LPS", (0.8, 0.8, 1.5), Rotation.from_euler("xz", (15, 5), degrees=True).as_matrix()),
    "anisotropic": ("RAS", (0.6, 0.6, 5.0), np.eye(3)),
}
LETTERS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@pytest.mark.parametrize("name", FILES)
def test_a_marker_stays_where_it_is_from_file_to_patch_and_back_to_a_file(name: str, tmp_path: Path) -> None:
    letters, spacing, tilt = FILES[name]
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.stack([np.eye(3)[LETTERS[a][0]] * LETTERS[a][1] for a in letters], axis=1) * spacing
    affine[:3, 3] = (-20.0, 35.0, 110.0)
    shape = tuple(int(48 / size) for size in spacing)
    marker = tuple(int(0.6 * size) for size in shape)
    array = np.full(shape, -100, np.int16)
    array[marker] = 2000
    image = nibabel.Nifti1Image(array, affine)
    image.set_qform(affine, 1)
    nibabel.save(image, tmp_path / "scan.nii.gz")

    x, y, z = affine[:3, :3] @ marker + affine[:3, 3]  # RAS, by nibabel's definition
    world = np.array([z, -y, -x])
    patch_grid = canonical_grid(tuple((world + (3.2, -4.1, 5.3)).tolist()), (32, 32, 32), (1.0, 1.0, 1.0))
    patch, _ = sample_on_grid(read_volume(tmp_path / "scan.nii.gz"), patch_grid, order=3, antialiasing=True, fill=-100)
    brightest = np.array(np.unravel_index(np.argmax(patch[0]), patch_grid.shape), dtype=float)
    assert np.abs(patch_grid.to_world(brightest) - world).max() <= max(1.0, max(spacing) / 2)

    target = read_grid(tmp_path / "scan.nii.gz")
    box, values, covered = paste_onto_grid(patch[0], patch_grid, target)
    result = np.full(target.shape, -100, np.float32)
    result[box.slices][covered] = values[covered]
    write_like(tmp_path / "result.nii.gz", result, tmp_path / "scan.nii.gz")
    found = np.asarray(nibabel.load(tmp_path / "result.nii.gz").dataobj)
    assert np.abs(np.subtract(np.unravel_index(np.argmax(found), shape), marker)).max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_smooth_images_and_masks_survive_the_way_to_a_patch_and_back_on_any_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    direction = SIGNED_PERMUTATIONS[rng.integers(48)]
    if seed % 2:
        direction = Rotation.from_rotvec(rng.normal(0, 0.2, 3)).as_matrix() @ direction
    spacing = tuple(rng.uniform(0.7, 3.0, 3).tolist())
    source = _grid(direction, tuple((60 / np.array(spacing)).astype(int).tolist()), spacing)
    z, y, x = _world(source)
    smooth = (np.sin(z / 8) + np.cos(y / 9) * np.sin(x / 10)).astype(np.float32)
    ball = np.linalg.norm(_world(source) - np.array([5.0, -7.0, 11.0]).reshape(3, 1, 1, 1), axis=0) < 18
    patch_grid = canonical_grid((5.0, -7.0, 11.0), (40, 40, 40), (1.0, 1.0, 1.0))

    patch, inside = sample_on_grid(Volume(smooth[None], source), patch_grid, order=3, antialiasing=False, fill=0.0)
    box, values, covered = paste_onto_grid(patch[0], patch_grid, source)
    assert covered.sum() > 0.9 * 40**3 / source.voxel_volume_mm3 * inside.mean() - 1
    interior = ndimage.binary_erosion(covered)
    assert np.abs(values - smooth[box.slices])[interior].max() < 0.02 * np.ptp(smooth)

    mask = sample_mask_on_grid(Volume(ball[None], source), patch_grid)
    assert abs(mask.sum() / (ball.sum() * source.voxel_volume_mm3) - 1) < 0.02
