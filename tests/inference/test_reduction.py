"""Candidates seen on patches, scored by hand-written reducers."""

import numpy as np
import pytest

from nnanomaly.inference.candidate_features import FEATURES, Mapped
from nnanomaly.inference.postprocessing import Candidate, Found
from nnanomaly.inference.reducer import LARGEST_DEVIATION, Reducer, probabilities
from nnanomaly.inference.reduction import (
    component_on_grid,
    features_on_own_grid,
    features_on_patches,
    mean_probabilities,
    scored,
)
from nnanomaly.roi.components import find_components
from nnanomaly.volume import Grid, canonical_grid

PATCH = canonical_grid((0.0, 0.0, 0.0), (20, 20, 20), (2.0, 2.0, 2.0))
TURNED = Grid((30, 60, 60), (1.5, 0.8, 0.8), (22.0, -24.0, 24.0), ((-1, 0, 0), (0, 1, 0), (0, 0, -1)))
"""A scan whose first and last axes run against those of the patch."""


def ball(grid: Grid, radius_mm: float, center_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    indices = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    return np.linalg.norm(grid.to_world(indices) - np.asarray(center_mm), axis=-1) < radius_mm


def region(mask: np.ndarray, score: float = 1.0) -> Found:
    (component,) = find_components(mask)
    candidate = Candidate(
        box=component.box,
        center_mm=(0.0, 0.0, 0.0),
        num_voxels=component.num_voxels,
        volume_mm3=1.0,
        equivalent_diameter_mm=1.0,
        axial_diameter_mm=1.0,
        score=score,
        score_max=score,
        score_mean=score,
    )
    return Found(candidate, component)


def scene(grid: Grid, hu: float = 0.0) -> Mapped:
    constant = np.full(grid.shape, hu, dtype=np.float32)
    return Mapped(
        anomaly=np.where(ball(grid, 8), 2.0, 0.0).astype(np.float32),
        image_hu=constant,
        healthy_hu=constant,
        distance_mm=-np.ones(grid.shape, dtype=np.float32),
        covered=np.ones(grid.shape, dtype=bool),
        spacing_mm=grid.spacing_mm,
    )


def reducer_of(name: str, weight: float, bias: float = 0.0) -> Reducer:
    """p = sigmoid(weight * tanh(feature) + bias)."""
    return Reducer(
        features=(name,),
        center=(0.0,),
        scale=(1.0,),
        hidden_weights=((1.0,),),
        hidden_bias=(0.0,),
        output_weights=(weight,),
        output_bias=bias,
    )


def test_a_component_of_a_turned_finer_scan_covers_the_same_place_on_the_patch() -> None:
    center = (4.0, -6.0, 2.0)
    on_patch = component_on_grid(region(ball(TURNED, 7, center)).component, TURNED, PATCH)
    expected = ball(PATCH, 7, center)
    overlap = np.count_nonzero(on_patch & expected) / np.count_nonzero(on_patch | expected)
    assert overlap > 0.85


def test_a_component_between_all_centres_of_a_coarse_grid_takes_the_nearest() -> None:
    mask = np.zeros(TURNED.shape, dtype=bool)
    mask[10, 20, 30] = True
    on_patch = component_on_grid(region(mask).component, TURNED, PATCH)
    assert np.count_nonzero(on_patch) == 1
    world = TURNED.to_world(np.array([10.0, 20.0, 30.0]))
    assert np.abs(PATCH.to_world(np.argwhere(on_patch)[0].astype(float)) - world).max() <= 1.0 + 1e-9


def test_a_component_elsewhere_is_nowhere_on_a_patch() -> None:
    far = canonical_grid((500.0, 0.0, 0.0), (20, 20, 20), (2.0, 2.0, 2.0))
    assert not component_on_grid(region(ball(TURNED, 7)).component, TURNED, far).any()


def test_the_scan_and_the_patch_give_the_same_features() -> None:
    of_scan = features_on_patches([region(ball(TURNED, 8))], TURNED, [(PATCH, scene(PATCH))])[0]
    of_patch = features_on_own_grid([region(ball(PATCH, 8))], scene(PATCH))[0]
    own = features_on_own_grid([region(ball(TURNED, 8))], scene(TURNED))[0]
    for number, name in enumerate(FEATURES):
        tolerance = 0.1 if name != "map_mean" else 0.3  # a voxel more at the rim
        assert of_scan[number] == pytest.approx(of_patch[number], abs=tolerance), name
        assert own[number] == pytest.approx(of_patch[number], abs=tolerance), name


def test_the_patch_that_holds_most_of_a_candidate_describes_it() -> None:
    beside = canonical_grid((0.0, 0.0, 30.0), (20, 20, 20), (2.0, 2.0, 2.0))
    patches = [(beside, scene(beside, hu=-50.0)), (PATCH, scene(PATCH, hu=70.0))]
    features = features_on_patches([region(ball(TURNED, 7, (0.0, 0.0, 6.0)))], TURNED, patches)
    assert features[0, FEATURES.index("mean_hu")] == 70


def test_a_patch_further_out_describes_only_what_lies_in_no_other() -> None:
    beside = canonical_grid((0.0, 0.0, 30.0), (20, 20, 20), (2.0, 2.0, 2.0))
    wide = canonical_grid((0.0, 0.0, 0.0), (30, 60, 60), (1.5, 1.5, 1.5))
    cut_off, away = region(ball(wide, 7, (0.0, 0.0, 18.0))), region(ball(wide, 7, (0.0, 0.0, 36.0)))
    own, further = [(PATCH, scene(PATCH, hu=70.0))], [(beside, scene(beside, hu=-50.0))]
    features = features_on_patches([cut_off, away], wide, own, further)
    assert features[:, FEATURES.index("mean_hu")].tolist() == [70, -50]


def test_the_probability_is_that_of_the_formula_and_clips_what_is_far_away() -> None:
    features = np.zeros((3, len(FEATURES)))
    features[:, FEATURES.index("mean_hu")] = [0.0, 0.5, 1e6]
    expected = 1 / (1 + np.exp(-(2 * np.tanh([0, 0.5, LARGEST_DEVIATION]) - 1)))
    assert probabilities(reducer_of("mean_hu", 2.0, -1.0), features) == pytest.approx(expected)


def test_folds_are_averaged() -> None:
    features = np.zeros((1, len(FEATURES)))
    low, high = reducer_of("mean_hu", 0.0, -20.0), reducer_of("mean_hu", 0.0, 20.0)
    assert mean_probabilities([low, high], features) == pytest.approx([0.5])


def test_candidates_above_the_threshold_stay_best_first_with_their_probability() -> None:
    regions = [region(ball(PATCH, 5), score=9.0), region(ball(PATCH, 6), score=8.0), region(ball(PATCH, 7), score=7.0)]
    kept = scored(regions, np.array([0.2, 0.5, 0.9]), 0.2)
    assert [r.candidate.score for r in kept] == [0.9, 0.5]
    assert [r.candidate.score_max for r in kept] == [7.0, 8.0]


def test_no_candidates_have_no_features() -> None:
    assert features_on_own_grid([], scene(PATCH)).shape == (0, len(FEATURES))
