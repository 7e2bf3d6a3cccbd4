"""What a map of an unhealthy organ is taken to mean: certain lesions, doubt, and the best guess."""

import numpy as np

from nnanomaly.lesion_head.self_training import guess_lesions


def cube(value: float, start: int, size: int = 3) -> np.ndarray:
    array = np.zeros((12, 12, 12), np.float32)
    array[4 : 4 + size, 4 : 4 + size, start : start + size] = value
    return array


def test_certain_lesions_grow_and_doubtful_voxels_do_not_count() -> None:
    probability = cube(0.6, 2, 4)
    probability[5, 5, 3] = 0.9
    probability += cube(0.4, 8)
    lesions, counts = guess_lesions(probability)
    np.testing.assert_array_equal(lesions, cube(1, 2, 4) > 0)
    np.testing.assert_array_equal(counts, ~(cube(1, 8) > 0))


def test_of_an_organ_without_anything_certain_the_best_guess_alone_is_taken() -> None:
    probability = np.maximum(cube(0.45, 2), cube(0.4, 8))
    lesions, counts = guess_lesions(probability)
    np.testing.assert_array_equal(lesions, cube(1, 2) > 0)
    assert not counts[5, 5, 9]  # the other guess is doubtful
    assert counts[0, 0, 0]


def test_a_map_that_shows_nothing_teaches_nothing() -> None:
    lesions, counts = guess_lesions(cube(0.2, 2))
    assert not lesions.any()
    assert not counts.any()
