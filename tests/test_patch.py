"""What a patch knows of itself."""

import numpy as np
import pytest

from nnanomaly.patch import COVERAGE, IMAGE, ORGAN, Patch
from nnanomaly.volume import Grid


def patch_of(organ: list[float]) -> Patch:
    array = np.zeros((3, 1, 1, 5), np.float16)
    array[IMAGE, 0, 0] = [-1, -0.5, 0, 0.5, 1]
    array[ORGAN, 0, 0] = organ
    array[COVERAGE, 0, 0] = [0, 1, 1, 1, 1]
    return Patch(name="a__b", case="a", organ="b", array=array, grid=Grid((1, 1, 5), (9.0, 9.0, 2.0), (0.0, 0.0, 0.0)))


def test_half_a_voxel_is_not_organ_and_more_than_half_is() -> None:
    patch = patch_of([0, 0.5, 0.51, 1, 0])
    assert patch.inside.tolist() == [[[False, False, True, True, False]]]
    assert patch.covered.tolist() == [[[False, True, True, True, True]]]
    assert patch.image.dtype == np.float32
    assert patch.image.tolist() == [[[-1, -0.5, 0, 0.5, 1]]]


def test_the_distance_is_in_mm_negative_inside_and_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    patch = patch_of([0, 0, 1, 1, 0])
    assert patch.distance_mm.tolist() == [[[4, 2, -2, -2, 2]]]
    monkeypatch.setattr("nnanomaly.patch.signed_distance_mm", None)
    assert patch.distance_mm.tolist() == [[[4, 2, -2, -2, 2]]]


def test_other_voxels_at_the_same_place_have_a_distance_of_their_own() -> None:
    patch = patch_of([0, 0, 1, 1, 0])
    assert patch.distance_mm[0, 0, 0] == 4
    other = patch.with_array(patch_of([1, 0, 0, 0, 0]).array)
    assert (other.name, other.case, other.organ, other.grid) == (patch.name, patch.case, patch.organ, patch.grid)
    assert other.distance_mm.tolist() == [[[-2, 2, 4, 6, 8]]]
