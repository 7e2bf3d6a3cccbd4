"""Components of sparse masks against scipy's labelling and drawn cases."""

import numpy as np
import pytest
from scipy import ndimage

from nnanomaly.roi.components import find_components

STRUCTURES = {6: 1, 18: 2, 26: 3}


def test_two_voxels_that_touch_by_a_corner_are_one_component_at_26_only() -> None:
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = True
    assert [len(find_components(mask, connectivity=c)) for c in (6, 18, 26)] == [2, 2, 1]


def test_two_voxels_that_touch_by_an_edge_are_one_component_at_18() -> None:
    mask = np.zeros((2, 2, 2), dtype=bool)
    mask[0, 0, 0] = mask[0, 1, 1] = True
    assert [len(find_components(mask, connectivity=c)) for c in (6, 18, 26)] == [2, 1, 1]


def test_a_component_has_its_tight_box_and_its_voxels() -> None:
    mask = np.zeros((5, 6, 40), dtype=np.uint8)
    mask[2, 3, 14:18] = 7  # across the border of two blocks
    mask[3, 4, 18] = 9  # touches by a corner; another value does not separate
    (component,) = find_components(mask)
    assert (component.box.start, component.box.stop) == ((2, 3, 14), (4, 5, 19))
    assert component.num_voxels == 5
    assert component.voxel_indices().tolist() == [[2, 3, 14], [2, 3, 15], [2, 3, 16], [2, 3, 17], [3, 4, 18]]


def test_an_empty_mask_has_no_components() -> None:
    assert find_components(np.zeros((20, 20, 20), dtype=np.uint8)) == []


@pytest.mark.parametrize("connectivity", [6, 18, 26])
@pytest.mark.parametrize("density", [0.0005, 0.02, 0.3])
@pytest.mark.parametrize("layout", ["c", "fortran", "flipped", "transposed"])
def test_components_are_those_of_scipy_in_the_same_order(connectivity: int, density: float, layout: str) -> None:
    # 33 x 40 x 50 is no multiple of the block; the three densities give lone islands, islands whose boxes overlap,
    # and one island that is the whole array.
    rng = np.random.default_rng(5)
    mask = rng.random((33, 40, 50)) < density
    views = {
        "c": mask,
        "fortran": np.asfortranarray(mask),
        "flipped": mask[::-1, :, ::-1],
        "transposed": mask.transpose(2, 0, 1),
    }
    view = views[layout]
    labels, count = ndimage.label(view, ndimage.generate_binary_structure(3, STRUCTURES[connectivity]))
    found = find_components(view, connectivity=connectivity)
    ours = np.zeros(view.shape, dtype=int)
    for number, component in enumerate(found, start=1):
        ours[component.box.slices][component.mask] = number
    assert len(found) == count
    np.testing.assert_array_equal(ours, labels)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3, 3), (3, 3, 3), (1, 1, 48), (3, 17, 65), (65, 17, 3)], ids=str)
def test_lone_voxels_are_as_many_components_whatever_the_shape(shape: tuple[int, int, int]) -> None:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[::2, ::2, ::2] = 1
    assert len(find_components(mask)) == np.count_nonzero(mask)


def test_two_far_lesions_in_a_thin_mask_are_two() -> None:
    # Their blocks of 16 voxels are 1, 0, 1: an array on which cc3d fails.
    mask = np.zeros((16, 16, 48), dtype=np.uint8)
    mask[4:8, 4:8, 4:8] = mask[4:8, 4:8, 40:44] = 1
    assert [component.num_voxels for component in find_components(mask)] == [64, 64]


@pytest.mark.parametrize("connectivity", [6, 26])
def test_thousands_of_specks_in_one_large_island_are_those_of_scipy(connectivity: int) -> None:
    # More than a million voxels in which every coarse block is occupied: the island is split by finer blocks.
    rng = np.random.default_rng(6)
    mask = rng.random((101, 102, 103)) < 0.004
    labels, count = ndimage.label(mask, ndimage.generate_binary_structure(3, STRUCTURES[connectivity]))
    found = find_components(mask, connectivity=connectivity)
    ours = np.zeros(mask.shape, dtype=int)
    for number, component in enumerate(found, start=1):
        ours[component.box.slices][component.mask] = number
    assert len(found) == count > 3000
    np.testing.assert_array_equal(ours, labels)


def test_a_ring_around_another_island_stays_whole_and_apart() -> None:
    # The box of the ring holds the dot: the dot must not be found twice.
    mask = np.zeros((3, 200, 200), dtype=bool)
    mask[1, 10, 10:190] = mask[1, 189, 10:190] = mask[1, 10:190, 10] = mask[1, 10:190, 189] = True
    mask[1, 100, 100] = True
    assert [component.num_voxels for component in find_components(mask)] == [4 * 179, 1]
