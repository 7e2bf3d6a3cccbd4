"""What is measured of one component: size, place, share outside the patches, common voxels."""

import numpy as np
import pytest

from nnanomaly.evaluation.regions import SizeFloor, common_voxels, measure_candidate, measure_lesion, outside_fraction
from nnanomaly.roi.components import Component, find_components
from nnanomaly.volume import Grid

GRID = Grid((10, 10, 10), (2.0, 1.0, 1.0), (100.0, 0.0, 0.0))


def block(*ranges: tuple[int, int]) -> Component:
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[tuple(slice(lo, hi) for lo, hi in ranges)] = True
    return find_components(mask)[0]


def test_a_region_has_its_volume_diameter_and_centre_in_the_world() -> None:
    region = measure_candidate(block((2, 4), (3, 4), (5, 8)), GRID, number=4, score=0.5)
    assert (region.id, region.num_voxels, region.volume_mm3, region.score) == (4, 6, 12.0, 0.5)
    assert region.axial_diameter_mm == 3.0  # 3 voxels in a row
    assert region.center_mm == pytest.approx((100 + 2 * 2.5, 3.0, 6.0))


def test_the_centre_is_that_of_the_voxels_not_of_the_box() -> None:
    mask = np.zeros((10, 10, 10), dtype=bool)
    mask[0, 0, :4] = mask[0, 1, 0] = True  # an L: mean x = (0+1+2+3+0)/5, mean y = 1/5
    region = measure_candidate(find_components(mask)[0], GRID, number=1, score=None)
    assert region.center_mm == pytest.approx((100.0, 0.2, 1.2))


def test_the_size_floor_admits_its_edges() -> None:
    floor = SizeFloor(min_voxels=6, min_diameter_mm=3.0)
    assert floor.admits(measure_candidate(block((2, 4), (3, 4), (5, 8)), GRID, number=1, score=None))
    assert not floor.admits(measure_candidate(block((2, 3), (3, 4), (4, 9)), GRID, number=1, score=None))  # 5 voxels
    assert not floor.admits(measure_candidate(block((1, 9), (3, 4), (5, 7)), GRID, number=1, score=None))  # 2 mm


def test_the_size_floor_uses_the_stored_spacing() -> None:
    # 64 voxels of 0.2 mm are 1.05 mm across: the same voxels of 1 mm would pass.
    fine = Grid((10, 10, 10), (0.2, 0.2, 0.2), (0.0, 0.0, 0.0))
    assert not SizeFloor().admits(measure_candidate(block((0, 4), (0, 4), (0, 4)), fine, number=1, score=None))
    coarse = Grid((10, 10, 10), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    assert SizeFloor().admits(measure_candidate(block((0, 4), (0, 4), (0, 4)), coarse, number=1, score=None))


def test_the_share_outside_all_patches_is_counted_by_voxel_centres() -> None:
    lesion = block((0, 10), (5, 6), (5, 6))  # z from 100 to 118 mm, every 2 mm
    # The patch has voxels centred at z = 100 ... 109 mm and so reaches to 109.5 mm: 5 of 10 centres lie inside.
    patch = Grid((10, 20, 20), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0))
    assert outside_fraction(lesion, GRID, [patch]) == 0.5
    # A second patch that overlaps the first and reaches to 113.5 mm: two more.
    other = Grid((8, 20, 20), (1.0, 1.0, 1.0), (106.0, 0.0, 0.0))
    assert outside_fraction(lesion, GRID, [patch, other]) == pytest.approx(0.3)
    assert outside_fraction(lesion, GRID, []) == 1.0


def test_a_patch_along_other_axes_covers_the_same_world() -> None:
    lesion = block((0, 10), (5, 6), (5, 6))
    # Array axis 2 of this patch runs from superior to inferior, from 109 mm down to 100 mm.
    direction = ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    patch = Grid((20, 20, 10), (1.0, 1.0, 1.0), (109.0, 0.0, 0.0), direction)
    assert outside_fraction(lesion, GRID, [patch]) == 0.5


def test_without_patches_nothing_is_known_of_the_outside() -> None:
    lesion = block((0, 10), (5, 6), (5, 6))
    assert measure_lesion(lesion, GRID, number=1, patches=None).outside_roi_fraction is None
    assert measure_lesion(lesion, GRID, number=1, patches=[]).outside_roi_fraction == 1.0


def test_common_voxels_are_those_of_a_joint_histogram() -> None:
    rng = np.random.default_rng(3)
    lesions, candidates = (find_components(rng.random((30, 31, 32)) < 0.05) for _ in range(2))
    maps = []
    for components in (lesions, candidates):
        labels = np.zeros((30, 31, 32), dtype=int)
        for number, component in enumerate(components, start=1):
            labels[component.box.slices][component.mask] = number
        maps.append(labels)
    pairs, counts = np.unique(
        np.stack([maps[0], maps[1]])[:, (maps[0] > 0) & (maps[1] > 0)], axis=1, return_counts=True
    )
    expected = {(int(i) - 1, int(j) - 1): int(n) for (i, j), n in zip(pairs.T, counts, strict=True)}
    assert len(expected) > 10
    assert common_voxels(lesions, candidates) == expected
