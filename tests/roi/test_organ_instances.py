import itertools
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nnanomaly.roi.organ_instances import locate_organ
from nnanomaly.volume import Grid, Volume

SUPERIOR, POSTERIOR, LEFT = np.eye(3)
AXIS_CODES = {"S": SUPERIOR, "I": -SUPERIOR, "P": POSTERIOR, "A": -POSTERIOR, "L": LEFT, "R": -LEFT}
ORIENTATIONS = [
    "".join(sides)
    for pairs in itertools.permutations((("S", "I"), ("P", "A"), ("L", "R")))
    for sides in itertools.product(*pairs)
]


def direction_of(code):
    """Column k points where array axis k runs, such as "IPL"."""
    return np.stack([AXIS_CODES[letter] for letter in code], axis=1)


def grid_around(centre_mm, shape, spacing_mm, direction):
    affine = direction * np.asarray(spacing_mm)
    origin = np.asarray(centre_mm) - affine @ ((np.asarray(shape) - 1) / 2)
    return Grid(tuple(shape), tuple(spacing_mm), tuple(origin), tuple(map(tuple, direction.tolist())))


def mask_on(grid, inside):
    """Mask `[1, Z, Y, X]` of the voxels whose centres (z, y, x) in mm `inside` accepts."""
    index = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    return Volume(inside(grid.to_world(index))[None].astype(np.uint8), grid)


def ellipsoid(centre, radii):
    return lambda world: (((world - centre) / radii) ** 2).sum(-1) <= 1


def box(shape, *ranges):
    array = np.zeros((1, *shape), np.uint8)
    array[(0, *(slice(*r) for r in ranges))] = 1
    return array


def test_the_box_reaches_to_the_outer_faces_of_its_voxels():
    grid = Grid((10, 10, 10), (3.0, 2.0, 1.0), (100.0, -50.0, 7.0))
    organ = locate_organ(Volume(box(grid.shape, (2, 4), (5, 6), (1, 8)), grid))
    assert organ.low_mm == (104.5, -41.0, 7.5)
    assert organ.high_mm == (110.5, -39.0, 14.5)
    assert organ.centre_mm == (107.5, -40.0, 11.0)
    assert organ.extent_mm == (6.0, 2.0, 7.0)
    assert organ.volume_ml == pytest.approx(2 * 1 * 7 * 6 / 1000)
    assert (organ.num_components, organ.stray_ml, organ.touches_border) == (1, 0.0, ())


def test_any_value_but_zero_is_organ():
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = box(grid.shape, (1, 2), (1, 2), (1, 3)).astype(np.int16)
    array[0, 1, 1, 2] = -7
    assert locate_organ(Volume(array, grid)).extent_mm == (1.0, 1.0, 2.0)


def test_an_empty_mask_has_no_organ():
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert locate_organ(Volume(np.zeros((1, 4, 4, 4), np.uint8), grid)) is None


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_every_axis_order_and_direction_gives_the_same_organ(code):
    spacing = {"S": 3.0, "I": 3.0, "P": 1.5, "A": 1.5, "L": 1.0, "R": 1.0}
    size = {"S": 20, "I": 20, "P": 30, "A": 30, "L": 40, "R": 40}
    grid = grid_around((10.0, -20.0, 30.0), [size[c] for c in code], [spacing[c] for c in code], direction_of(code))
    organ = locate_organ(mask_on(grid, ellipsoid((12.5, -24.0, 33.0), (13.0, 7.0, 8.0))))
    reference_grid = grid_around((10.0, -20.0, 30.0), (20, 30, 40), (3.0, 1.5, 1.0), np.eye(3))
    reference = locate_organ(mask_on(reference_grid, ellipsoid((12.5, -24.0, 33.0), (13.0, 7.0, 8.0))))
    np.testing.assert_allclose(organ.low_mm, reference.low_mm, atol=1e-9)
    np.testing.assert_allclose(organ.high_mm, reference.high_mm, atol=1e-9)
    assert organ.volume_ml == pytest.approx(reference.volume_ml)


def test_a_single_tilted_voxel_has_the_box_of_its_corners():
    direction = Rotation.from_euler("z", 30, degrees=True).as_matrix()  # turns about the third axis, x
    grid = grid_around((0.0, 0.0, 0.0), (9, 9, 9), (2.0, 2.0, 2.0), direction)
    organ = locate_organ(Volume(box(grid.shape, (4, 5), (4, 5), (4, 5)), grid))
    across = 2 * (np.cos(np.pi / 6) + np.sin(np.pi / 6))
    np.testing.assert_allclose(organ.extent_mm, (across, across, 2.0))
    np.testing.assert_allclose(organ.centre_mm, (0.0, 0.0, 0.0), atol=1e-12)


def test_an_oblique_grid_finds_the_organ_where_it_is_and_not_the_box_of_its_box():
    direction = Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix()
    grid = grid_around((0.0, 0.0, 0.0), (60, 60, 60), (1.5, 1.0, 1.0), direction)
    organ = locate_organ(mask_on(grid, ellipsoid((2.0, -3.0, 4.0), (20.0, 10.0, 12.0))))
    np.testing.assert_allclose(organ.centre_mm, (2.0, -3.0, 4.0), atol=0.75)
    np.testing.assert_allclose(organ.extent_mm, (40.0, 20.0, 24.0), atol=2.5)
    assert organ.volume_ml == pytest.approx(4 / 3 * np.pi * 20 * 10 * 12 / 1000, rel=0.02)


def test_stray_voxels_do_not_move_the_box():
    grid = Grid((20, 20, 20), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = box(grid.shape, (5, 9), (5, 9), (5, 9))
    array[0, 19, 0, 19] = array[0, 0, 19, 0] = 1
    organ = locate_organ(Volume(array, grid))
    assert organ.low_mm == (4.5, 4.5, 4.5)
    assert organ.high_mm == (8.5, 8.5, 8.5)
    assert organ.num_components == 3
    assert organ.volume_ml == pytest.approx(0.064)
    assert organ.volume_total_ml == pytest.approx(0.066)
    assert organ.stray_ml == pytest.approx(0.002)
    assert organ.touches_border == ()


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)], ids=str)
@pytest.mark.parametrize(
    ("num_voxels", "gap_mm", "belongs"),
    [
        (120, 80, True),  # 5.7 % of the mask: the organ, wherever it lies
        (100, 80, False),  # 4.8 %
        (100, 24, False),  # 1.6 ml, but not near enough
        (100, 20, True),
        (32, 20, True),  # 0.512 ml
        (31, 20, False),  # 0.496 ml: a speck
        (31, 8, False),
        (1, 8, False),
    ],
)
def test_pieces_that_are_large_or_near_belong_to_the_organ(axes, num_voxels, gap_mm, belongs):
    array = np.zeros((30, 20, 20), np.uint8)  # of voxels of 4 x 2 x 2 mm
    array[0:5] = 1  # 2000 voxels, 32 ml
    plane = 4 + gap_mm // 4
    array[plane].reshape(-1)[:num_voxels] = 1
    spacing = np.array([4.0, 2.0, 2.0])
    grid = Grid(tuple(np.array(array.shape)[list(axes)]), tuple(spacing[list(axes)]), (0.0, 0.0, 0.0))
    organ = locate_organ(Volume(array.transpose(axes)[None], grid))
    volume_ml = num_voxels * 0.016
    assert organ.num_components == 2
    assert organ.volume_ml == pytest.approx(32 + (volume_ml if belongs else 0))
    assert organ.stray_ml == pytest.approx(0 if belongs else volume_ml)
    assert organ.high_mm[axes.index(0)] == ((plane + 0.5) * 4 if belongs else 18)


def test_a_kidney_that_a_tumour_pushed_apart_is_one_organ():
    """Two poles 70 mm apart, and a voxel in the other half of the body."""
    grid = Grid((50, 30, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    array = box(grid.shape, (0, 5), (0, 10), (0, 10)) | box(grid.shape, (40, 45), (4, 12), (0, 10))
    array[0, 0, 29, 59] = 1
    organ = locate_organ(Volume(array, grid))
    assert (organ.low_mm, organ.high_mm) == ((-1.0, -1.0, -1.0), (89.0, 23.0, 19.0))
    assert organ.num_components == 3
    assert organ.stray_ml == pytest.approx(0.008)
    assert organ.touches_border == ("inferior", "anterior", "right")


def test_voxels_that_touch_at_a_corner_are_one_component():
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    array = np.zeros((1, 4, 4, 4), np.uint8)
    array[0, 1, 1, 1] = array[0, 2, 2, 2] = 1
    assert locate_organ(Volume(array, grid)).num_components == 1


@pytest.mark.parametrize(
    ("code", "axis", "end", "side"),
    [
        ("SPL", 0, 0, "inferior"),
        ("SPL", 0, -1, "superior"),
        ("SPL", 1, 0, "anterior"),
        ("SPL", 1, -1, "posterior"),
        ("SPL", 2, 0, "right"),
        ("SPL", 2, -1, "left"),
        ("IPL", 0, 0, "superior"),
        ("IPL", 0, -1, "inferior"),
        ("SAR", 1, 0, "posterior"),
        ("SAR", 2, -1, "right"),
        ("LPS", 0, 0, "right"),
        ("LPS", 2, -1, "superior"),
    ],
)
def test_border_contact_is_named_by_the_side_of_the_body(code, axis, end, side):
    grid = grid_around((0.0, 0.0, 0.0), (6, 6, 6), (1.0, 1.0, 1.0), direction_of(code))
    array = box(grid.shape, (2, 4), (2, 4), (2, 4))
    np.moveaxis(array[0], axis, 0)[slice(0, 3) if end == 0 else slice(3, 6), 2:4, 2:4] = 1
    assert locate_organ(Volume(array, grid)).touches_border == (side,)


def test_an_organ_that_fills_the_scan_touches_all_sides():
    grid = grid_around((0.0, 0.0, 0.0), (3, 4, 5), (1.0, 1.0, 1.0), direction_of("LAI"))
    organ = locate_organ(Volume(np.ones((1, 3, 4, 5), np.uint8), grid))
    assert organ.touches_border == ("inferior", "superior", "anterior", "posterior", "right", "left")


def test_a_kits_sized_mask_is_located_in_half_a_second():
    grid = Grid((57, 512, 512), (5.0, 0.7, 0.7), (0.0, 0.0, 0.0))
    mask = mask_on(
        Grid((30, 180, 180), grid.spacing_mm, grid.origin_mm), ellipsoid((60.0, 60.0, 60.0), (55.0, 30.0, 30.0))
    )
    array = np.zeros((1, *grid.shape), np.uint8)
    array[:, 10:40, 200:380, 100:280] = mask.array
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        organ = locate_organ(Volume(array, grid))
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5
    assert organ.volume_ml == pytest.approx(4 / 3 * np.pi * 55 * 30 * 30 / 1000, rel=0.02)
