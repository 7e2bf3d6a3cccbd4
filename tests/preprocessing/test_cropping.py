import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nnanomaly.experiment_planning.planner_rules import smallest_patch
from nnanomaly.plans import PreprocessingPlan
from nnanomaly.preprocessing.cropping import ROUNDING_MM, excess_mm, mirrored, organ_patches
from nnanomaly.roi.organ_instances import OrganInstance
from nnanomaly.volume import canonical_grid


def organ(extent, centre=(0.0, 0.0, 0.0)):
    centre, half = np.asarray(centre), np.asarray(extent) / 2
    return OrganInstance(
        low_mm=tuple(centre - half),
        high_mm=tuple(centre + half),
        volume_ml=1.0,
        volume_total_ml=1.0,
        num_components=1,
        touches_border=(),
    )


def plan(**changes):
    settings = {"spacing_mm": (1.0, 1.0, 1.0), "patch_size": (100, 80, 80), "margin_mm": 10.0, "tiling": True}
    return PreprocessingPlan(**{**settings, **changes})


def centres(grids):
    return [tuple(float(v) for v in np.round(grid.corners_mm().mean(axis=0), 6)) for grid in grids]


def test_an_organ_that_fits_has_one_patch_around_the_middle_of_its_box():
    (grid,) = organ_patches(organ((60, 40, 40), centre=(5.0, -7.5, 11.25)), plan())
    assert centres([grid]) == [(5.0, -7.5, 11.25)]
    assert grid.shape == (100, 80, 80)
    assert grid.spacing_mm == (1.0, 1.0, 1.0)
    assert grid.direction == ((1, 0, 0), (0, 1, 0), (0, 0, 1))


def test_a_box_of_exactly_a_patch_with_its_margin_needs_no_tiles():
    assert len(organ_patches(organ((80, 60, 60), centre=(0.1, 0.2, 0.3)), plan())) == 1


def test_the_margin_decides_about_tiles_but_only_where_there_is_tiling():
    slightly_larger = organ((81, 60, 60))
    assert centres(organ_patches(slightly_larger, plan())) == [(-0.5, 0.0, 0.0), (0.5, 0.0, 0.0)]
    assert centres(organ_patches(slightly_larger, plan(tiling=False))) == [(0.0, 0.0, 0.0)]
    assert centres(organ_patches(slightly_larger, plan(margin_mm=9.5))) == [(0.0, 0.0, 0.0)]


def test_without_tiling_even_a_huge_organ_has_one_patch():
    assert centres(organ_patches(organ((400, 300, 200), centre=(1.0, 2.0, 3.0)), plan(tiling=False))) == [
        (1.0, 2.0, 3.0)
    ]


@pytest.mark.parametrize(
    ("extent", "overlap", "expected"),
    [
        (130, 0.5, [-25, 25]),  # 150 mm to cover: two patches, 50 mm apart
        (131, 0.5, [-25.5, 0, 25.5]),  # 151 mm: two would have 49 mm in common
        (180, 0.5, [-50, 0, 50]),
        (180, 0.0, [-50, 50]),  # 200 mm: two patches side by side
        (181, 0.0, [-50.5, 0, 50.5]),
        (230, 0.25, [-75, 0, 75]),  # 250 mm: 150 mm of travel in steps of at most 75
    ],
)
def test_tiles_are_the_fewest_that_cover_and_overlap(extent, overlap, expected):
    grids = organ_patches(organ((extent, 10, 10)), plan(tile_overlap=overlap))
    assert centres(grids) == [(z, 0.0, 0.0) for z in expected]


def test_tiles_run_from_inferior_to_superior_then_anterior_then_right():
    grids = organ_patches(organ((100, 80, 10)), plan())
    assert centres(grids) == [(z, y, 0.0) for z, y in itertools.product((-10, 10), (-10, 10))]
    assert centres(organ_patches(organ((10, 80, 80)), plan())) == [
        (0.0, y, x) for y, x in itertools.product((-10, 10), (-10, 10))
    ]


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
@pytest.mark.parametrize("extent", [81.0, 99.9, 137.3, 260.0])
def test_tiles_cover_the_box_with_its_margin_exactly(extent, overlap):
    settings = plan(spacing_mm=(2.0, 1.0, 1.0), patch_size=(50, 80, 80), tile_overlap=overlap)
    grids = organ_patches(organ((extent, 20, 20), centre=(33.3, 0, 0)), settings)
    ends = [(grid.corners_mm()[:, 0].min(), grid.corners_mm()[:, 0].max()) for grid in grids]
    assert ends[0][0] == pytest.approx(33.3 - extent / 2 - 10)
    assert ends[-1][1] == pytest.approx(33.3 + extent / 2 + 10)
    shared = [before[1] - after[0] for before, after in itertools.pairwise(ends)]
    assert shared == pytest.approx([shared[0]] * len(shared))
    assert shared[0] >= 100 * overlap - 1e-4
    fewer = (extent + 20 - 100) / (len(grids) - 2) if len(grids) > 2 else np.inf
    assert fewer > 100 * (1 - overlap)


FLOAT_MM = 1e-9  # what sums of floats of a few hundred millimetres are wrong by, with room


@given(
    excess=st.one_of(
        st.floats(-1e-4, 1e-4),  # sizes that differ from the patch by what headers are rounded to
        st.floats(-60, 400),
        st.builds(lambda steps, bit: steps * 25.0 + bit, st.integers(1, 12), st.floats(-1e-5, 1e-5)),
    ),
    overlap=st.floats(0, 0.95),
    centre=st.floats(-500, 500),
)
@example(excess=3e-6, overlap=0.5, centre=0.0)  # larger than a patch by a few millionths of a millimetre
@example(excess=1.0000001e-6, overlap=0.0, centre=0.0)
def test_tiles_cover_any_organ_evenly_with_the_planned_overlap_and_are_the_fewest_that_do(excess, overlap, centre):
    margin, patch = 10.0, 100.0
    extent = patch + excess - 2 * margin
    settings = plan(tile_overlap=overlap, margin_mm=margin)
    grids = organ_patches(organ((extent, 20, 20), centre=(centre, 0, 0)), settings)
    low = np.array([grid.corners_mm()[:, 0].min() for grid in grids])
    ends, needed = (low[0], low[-1] + patch), extent / 2 + margin
    larger = extent + 2 * margin - patch > ROUNDING_MM + FLOAT_MM
    assert len(grids) >= 2 if larger else len(grids) == 1 or excess > 0
    assert ends[0] <= centre - needed + ROUNDING_MM
    assert ends[1] >= centre + needed - ROUNDING_MM
    assert sum(ends) / 2 == pytest.approx(centre, abs=FLOAT_MM * 1000)
    steps = np.diff(low)
    assert steps == pytest.approx(np.full(len(steps), steps.mean() if len(steps) else 0.0), abs=FLOAT_MM * 1000)
    assert np.all(steps <= patch * (1 - overlap) + ROUNDING_MM + FLOAT_MM)
    if len(grids) > 2:
        assert excess / (len(grids) - 2) > patch * (1 - overlap)  # one tile fewer would leave too little in common


def test_an_organ_exceeds_a_patch_only_beyond_what_rounding_makes_of_it():
    extents = [[80.0, 60.0, 60.0], [80.0 + 5e-7, 61.0, 59.0]]
    assert excess_mm(extents, 10.0, (100.0, 80.0, 80.0)).tolist() == [[0, 0, 0], [0, 1, 0]]


@given(spacing=st.sampled_from([0.7, 1.0, 1.3, 2.6]), voxels=st.integers(8, 64), bit=st.floats(-3e-6, 3e-6))
def test_a_patch_that_was_planned_for_an_organ_holds_it_in_one_piece(spacing, voxels, bit):
    extent = voxels * spacing + bit
    shape = smallest_patch(np.full((5, 3), extent), spacing_mm=spacing, margin_mm=0.0, multiple=1)
    settings = plan(spacing_mm=(spacing,) * 3, patch_size=shape, margin_mm=0.0)
    assert len(organ_patches(organ((extent,) * 3), settings)) == 1


def test_a_mirrored_patch_covers_the_same_voxels_from_left_to_right() -> None:
    grid = canonical_grid((10.0, 20.0, 30.0), (4, 6, 8), (1.0, 2.0, 3.0))
    flipped = mirrored(grid)
    assert flipped.to_world(np.array([1.0, 2.0, 0.0])) == pytest.approx(grid.to_world(np.array([1.0, 2.0, 7.0])))
    assert flipped.to_world(np.array([0.0, 0.0, 7.0])) == pytest.approx(grid.to_world(np.array([0.0, 0.0, 0.0])))
    assert sorted(map(tuple, flipped.corners_mm().round(6))) == sorted(map(tuple, grid.corners_mm().round(6)))
