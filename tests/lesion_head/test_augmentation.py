"""Varied crops: what is seen and what is known move together, and intensities keep their meaning."""

import numpy as np
import pytest

from nnanomaly.inference.head_input import ZSCORE_RANGE
from nnanomaly.lesion_head.augmentation import change_intensity, vary_crop
from nnanomaly.lesion_head.examples import LESION, WEIGHT
from nnanomaly.synthesis.shapes import distance_from

SHAPE = (24, 24, 24)
LESIONS = distance_from((10, 14, 12), SHAPE, (1.0, 1.0, 1.0)) < 6


def crop() -> np.ndarray:
    array = np.zeros((6, *SHAPE), np.float32)
    array[0], array[1] = np.where(LESIONS, 0.5, -0.5), -0.5
    array[2] = np.where(LESIONS, 1.0, 0.0)
    array[LESION], array[WEIGHT] = LESIONS, np.where(LESIONS, 4.0, 1.0)
    return array


def test_image_lesions_and_weights_move_together() -> None:
    moved = 0
    for seed in range(20):
        varied = vary_crop(crop(), np.random.default_rng(seed))
        counts = varied[WEIGHT] > 0
        bright = varied[2] > 0.375  # halfway, at any contrast
        lesions = varied[LESION] == 1
        assert set(np.unique(varied[LESION])) <= {0, 1}
        assert set(np.unique(varied[WEIGHT])) <= {0, 1, 4}
        np.testing.assert_array_equal(varied[WEIGHT][lesions], 4)
        assert np.sum(bright & lesions & counts) > 0.85 * np.sum((bright | lesions) & counts)
        moved += not np.array_equal(varied[LESION], LESIONS)
    assert 8 < moved < 20  # one in four is neither rotated nor scaled


def test_what_enters_from_beyond_a_crop_does_not_count() -> None:
    weights = [vary_crop(crop(), np.random.default_rng(seed))[WEIGHT] for seed in range(30)]
    assert 0 < np.mean([np.any(weight == 0) for weight in weights]) < 1
    assert min(np.mean(weight > 0) for weight in weights) > 0.4


def test_contrast_changes_image_reconstruction_and_their_difference_alike() -> None:
    array, lesion = crop(), (10, 14, 12)
    mean = float(array[0].mean())
    changed = change_intensity(array, contrast=0.8, brightness=0.05)
    assert changed[0][lesion] == pytest.approx((0.5 - mean) * 0.8 + mean + 0.05)
    assert changed[0][lesion] - changed[1][lesion] == pytest.approx(0.8 * (array[0][lesion] - array[1][lesion]))
    assert changed[2][lesion] == pytest.approx(0.8)
    np.testing.assert_array_equal(changed[3:], array[3:])


def test_changed_intensities_stay_in_their_ranges() -> None:
    array = crop()
    array[2] = np.where(LESIONS, ZSCORE_RANGE[1], ZSCORE_RANGE[0])
    changed = change_intensity(array, contrast=1.25, brightness=0.6)
    assert changed[:2].max() == 1
    assert (changed[2].min(), changed[2].max()) == ZSCORE_RANGE


def test_a_varied_crop_follows_from_its_generator() -> None:
    first, again, other = (vary_crop(crop(), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
