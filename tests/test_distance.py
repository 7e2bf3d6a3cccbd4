"""Distances on lines of a few voxels."""

import numpy as np

from nnanomaly.distance import signed_distance_mm


def test_distance_is_in_millimetres_positive_outside_and_negative_inside() -> None:
    mask = np.zeros((1, 1, 7), dtype=bool)
    mask[0, 0, 2:5] = True
    distance = signed_distance_mm(mask, (1.0, 1.0, 2.0))
    assert distance[0, 0].tolist() == [4.0, 2.0, -2.0, -4.0, -2.0, 2.0, 4.0]


def test_without_an_organ_everything_is_far_away() -> None:
    assert (signed_distance_mm(np.zeros((2, 2, 2), dtype=bool), (1, 1, 1)) >= 1000).all()
