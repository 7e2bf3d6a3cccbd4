"""Crops and weights of training examples against closed forms."""

import numpy as np
import pytest

from nnanomaly.lesion_head.crops import LARGEST_WEIGHT, lesion_weights, training_crop
from nnanomaly.lesion_head.examples import LESION, WEIGHT
from nnanomaly.roi.components import find_components
from nnanomaly.synthesis.shapes import distance_from

SHAPE, SPACING = (40, 40, 40), (2.0, 2.0, 2.0)


def sphere(center: tuple[int, int, int], diameter_mm: float) -> np.ndarray:
    return distance_from(center, SHAPE, SPACING) <= diameter_mm / 2


def example(*lesions: np.ndarray) -> np.ndarray:
    array = np.zeros((6, *SHAPE), np.float32)
    array[0] = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    array[LESION] = np.any(lesions, axis=0) if lesions else 0
    array[WEIGHT] = 1
    array[WEIGHT, :2] = 0
    return array


def test_weights_fall_with_the_square_of_the_diameter_and_are_bounded() -> None:
    lesions = sphere((10, 10, 10), 28.0) | sphere((30, 30, 20), 40.0) | sphere((30, 6, 32), 4.0)
    weights = lesion_weights(find_components(lesions), SHAPE, SPACING)
    assert weights[10, 10, 10] == pytest.approx((40 / 28) ** 2, rel=0.1)
    assert weights[30, 30, 20] == pytest.approx(1.0, abs=0.1)
    assert weights[30, 6, 32] == LARGEST_WEIGHT
    assert weights[0, 0, 0] == 1


def test_most_crops_of_an_example_hold_some_of_its_lesion_and_all_crops_have_their_size() -> None:
    array = example(sphere((8, 30, 30), 8.0))
    crops = [
        training_crop(array, np.random.default_rng(seed), spacing_mm=SPACING, crop_size=(16, 16, 16))
        for seed in range(60)
    ]
    assert {crop.shape for crop in crops} == {(6, 16, 16, 16)}
    share = np.mean([crop[LESION].any() for crop in crops])
    assert 0.3 < share < 0.75


def test_large_and_small_lesions_are_chosen_equally_often() -> None:
    array = example(sphere((10, 10, 10), 24.0), sphere((32, 32, 32), 6.0))
    small = array[0][sphere((32, 32, 32), 6.0)]
    hits = []
    for seed in range(120):
        crop = training_crop(array, np.random.default_rng(seed), spacing_mm=SPACING, crop_size=(12, 12, 12))
        hits.append(np.isin(small, crop[0]).any())
    assert np.mean(hits) > 0.15  # by volume it would be one in sixty


def test_uncovered_voxels_keep_no_weight_and_a_whole_patch_stays_whole() -> None:
    array = example(sphere((10, 10, 10), 24.0))
    whole = training_crop(array, np.random.default_rng(0), spacing_mm=SPACING, crop_size=None)
    assert whole.shape == array.shape
    assert (whole[WEIGHT] == 0).sum() == 2 * 40 * 40
    assert whole[LESION].sum() == array[LESION].sum()


def test_a_crop_is_no_larger_than_the_patch_and_follows_from_its_generator() -> None:
    array = example(sphere((10, 10, 10), 24.0))
    first, again = (
        training_crop(array, np.random.default_rng(5), spacing_mm=SPACING, crop_size=(64, 24, 24)) for _ in range(2)
    )
    assert first.shape == (6, 40, 24, 24)
    np.testing.assert_array_equal(first, again)
    assert array[WEIGHT].max() == 1  # the example itself is left as it was
