"""Sides and weak labels from drawn label maps: blocks in boxes of soft tissue, in every order of the axes."""

from collections.abc import Callable

import numpy as np
import pytest

from nnanomaly.dataset_conversion.drawn_organs import find_body_middle_mm, organ_label, split_sides
from nnanomaly.volume import Grid, Volume

SPACING = (5.0, 5.0, 5.0)
SHAPE = (20, 30, 80)
CENTRE = (50.0, 0.0, 100.0)
DIRECTIONS = {
    "canonical": ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)),
    "IPL as in KiTS": ((-1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)),
    "right first": ((0, 0, 1.0), (0, 1.0, 0), (-1.0, 0, 0)),
}


def volume(name: str, *boxes: tuple[float, float], value: float = 1.0, background: float = 0.0) -> Volume:
    """Blocks 50 mm high and deep between two world x, measured from the middle of the grid."""
    direction = np.asarray(DIRECTIONS[name])
    shape = tuple(np.abs(direction.T @ np.asarray(SHAPE)).astype(int).tolist())
    origin = np.asarray(CENTRE) - (direction * np.asarray(SPACING)) @ ((np.asarray(shape) - 1) / 2)
    grid = Grid(shape, SPACING, tuple(origin.tolist()), tuple(map(tuple, direction.tolist())))
    z, y, x = np.moveaxis(grid.to_world(np.moveaxis(np.indices(shape), 0, -1).astype(float)), -1, 0)
    inside = np.zeros(shape, bool)
    for low, high in boxes:
        near = (np.abs(z - CENTRE[0]) < 25) & (np.abs(y - CENTRE[1]) < 25)
        inside |= near & (x - CENTRE[2] > low) & (x - CENTRE[2] < high)
    return Volume(np.where(inside, value, background)[None].astype(np.float32), grid)


def body(name: str, low: float = -150.0, high: float = 150.0) -> Volume:
    return volume(name, (low, high), value=40.0, background=-1000.0)


def middle(name: str, low: float = -150.0, high: float = 150.0) -> Callable[[], float]:
    return lambda: find_body_middle_mm(body(name, low, high))


def unknown() -> float:
    raise AssertionError("the scan need not be read for a pair")


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_pair_is_split_by_the_side_of_the_patient(name: str) -> None:
    left, right = split_sides(volume(name, (40, 90), (-90, -40)), unknown)
    np.testing.assert_array_equal(left.array, volume(name, (40, 90)).array)
    np.testing.assert_array_equal(right.array, volume(name, (-90, -40)).array)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_pair_beside_the_middle_of_the_scan_and_of_the_body_is_still_a_pair(name: str) -> None:
    left, right = split_sides(volume(name, (110, 160), (10, 60)), unknown)
    np.testing.assert_array_equal(left.array, volume(name, (110, 160)).array)
    np.testing.assert_array_equal(right.array, volume(name, (10, 60)).array)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_single_organ_lies_on_its_side_of_the_body(name: str) -> None:
    # The body fills the left half of the scan: its middle is at +75 mm, and what lies at +40 is right of it.
    left, right = split_sides(volume(name, (20, 60)), middle(name, 0.0, 150.0))
    assert not left.array.any()
    np.testing.assert_array_equal(right.array, volume(name, (20, 60)).array)


@pytest.mark.parametrize("name", DIRECTIONS)
def test_a_horseshoe_is_cut_at_the_middle_of_the_body(name: str) -> None:
    left, right = split_sides(volume(name, (-90, 90)), middle(name))
    np.testing.assert_array_equal(left.array + right.array, volume(name, (-90, 90)).array)
    assert (left.array >= volume(name, (10, 90)).array).all(), "the middle is known to two voxels"
    assert (right.array >= volume(name, (-90, -10)).array).all()


def test_a_large_mass_over_the_middle_stays_with_its_kidney() -> None:
    left, right = split_sides(volume("canonical", (-20, 120), (-90, -60)), middle("canonical"))
    np.testing.assert_array_equal(left.array, volume("canonical", (-20, 120)).array)
    np.testing.assert_array_equal(right.array, volume("canonical", (-90, -60)).array)


def test_an_empty_mask_has_two_empty_sides() -> None:
    left, right = split_sides(volume("canonical"), middle("canonical"))
    assert not left.array.any()
    assert not right.array.any()


def test_the_middle_of_a_scan_of_air_is_that_of_its_grid() -> None:
    assert find_body_middle_mm(body("canonical", 0, 0)) == pytest.approx(CENTRE[2])


@pytest.mark.parametrize(
    ("voxels", "label"), [(0, "healthy"), (8, "uncertain"), (9, "unhealthy")], ids=["none", "64 mm3", "72 mm3"]
)
def test_the_label_follows_the_largest_lesion_of_the_organ(voxels: int, label: str) -> None:
    grid = Grid((10, 10, 10), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    organ = np.zeros((1, 10, 10, 10), np.uint8)
    organ[0, :, :, :6] = 1
    lesions = np.zeros((10, 10, 10), bool)
    lesions[:, :, 8:] = True  # in the other organ
    lesions[2, 2, :3], lesions[2, 3, :3], lesions[2, 4, :3] = True, True, True
    lesions[2, 2:5, :3] = np.arange(9).reshape(3, 3) < voxels
    assert organ_label(Volume(organ, grid), lesions) == label


def test_specks_do_not_add_up_and_an_absent_organ_is_excluded() -> None:
    grid = Grid((10, 10, 10), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    specks = np.zeros((10, 10, 10), bool)
    specks[::2, ::2, ::2] = True
    assert organ_label(Volume(np.ones((1, 10, 10, 10), np.uint8), grid), specks) == "uncertain"
    assert organ_label(Volume(np.zeros((1, 10, 10, 10), np.uint8), grid), specks) == "excluded"
