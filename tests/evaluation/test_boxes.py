"""nnDetection's box convention, at borders too; overlap and size of boxes."""

import numpy as np
import pytest

from nnanomaly.evaluation.boxes import ScoredBoxes, box_iou, boxes_of, measure_boxes, overlapping
from nnanomaly.roi.components import find_components
from nnanomaly.volume import Grid

AXIAL_FIRST = Grid((40, 40, 40), (5.0, 2.0, 1.0), (0.0, 0.0, 0.0))
AXIAL_LAST = Grid((40, 40, 40), (1.0, 2.0, 5.0), (0.0, 0.0, 0.0), ((0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))


def _boxes(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, dtype=float).reshape(-1, 6)


def test_a_box_ends_one_voxel_outside_its_mask() -> None:
    mask = np.zeros((10, 12, 30), dtype=bool)
    mask[2:5, 7, 11:21] = True
    assert boxes_of(find_components(mask)).tolist() == [[1, 6, 10, 5, 8, 21]]


def test_at_the_borders_of_the_volume_a_box_reaches_beyond_it() -> None:
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[0, 0, 0] = mask[3, 4, 5] = True
    assert boxes_of(find_components(mask)).tolist() == [[-1, -1, -1, 1, 1, 1], [2, 3, 4, 4, 5, 6]]


def test_iou_counts_the_difference_of_the_ends_as_side() -> None:
    # Single neighbouring voxels share nothing, but their boxes of side 2 share 1 x 2 x 2 of 8 + 8 - 4.
    iou = box_iou(_boxes((0, 0, 0, 2, 2, 2)), _boxes((1, 0, 0, 3, 2, 2), (0, 0, 0, 2, 2, 2), (2, 0, 0, 4, 2, 2)))
    assert iou == pytest.approx(np.array([[4 / 12, 1.0, 0.0]]))


def test_only_pairs_that_overlap_are_listed() -> None:
    first, second = _boxes((0, 0, 0, 2, 2, 2), (8, 8, 8, 9, 9, 9)), _boxes((9, 9, 9, 10, 10, 10), (0, 0, 0, 2, 2, 4))
    assert overlapping(first, second) == {(0, 1): 0.5}
    assert overlapping(first, _boxes()) == {}


@pytest.mark.parametrize(("grid", "diameter_mm"), [(AXIAL_FIRST, 8.0), (AXIAL_LAST, 8.0)])
def test_the_diameter_is_the_longer_side_in_the_axial_plane(grid: Grid, diameter_mm: float) -> None:
    # 3, 4 and 3 voxels inside: 5 mm x 3 counts on neither grid, 2 mm x 4 and 1 mm x 3 lie in the plane.
    (region,) = measure_boxes(ScoredBoxes(boxes=_boxes((0, 0, 0, 4, 5, 4)), scores=np.array([0.5])), grid)
    assert region.axial_diameter_mm == diameter_mm
    assert (region.num_voxels, region.volume_mm3, region.score) == (36, 360.0, 0.5)
    assert region.center_mm == tuple(grid.to_world(np.array([2.0, 2.5, 2.0])))


def test_a_box_without_a_voxel_inside_has_no_size() -> None:
    (region,) = measure_boxes(ScoredBoxes(boxes=_boxes((0, 0, 0, 0.5, 0.5, 0.5)), scores=None), AXIAL_FIRST)
    assert (region.axial_diameter_mm, region.num_voxels, region.score) == (0.0, 0, None)
