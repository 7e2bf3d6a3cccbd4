"""A hash of voxels knows their values, their shape and nothing of how they are stored."""

import numpy as np
import pytest

from nnanomaly.utilities.voxel_hash import voxel_hash

ARRAY = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
RECORDED = "881617cd10f9777e3b1f2d941b1a9f925d32e0fd4899cb00a93449a98545639e"


def test_the_hash_is_the_recorded_one_on_every_machine() -> None:
    assert voxel_hash(ARRAY, "kidney_left") == RECORDED


@pytest.mark.parametrize(
    "same",
    [
        ARRAY.astype(">f2"),
        np.asfortranarray(ARRAY),
        np.repeat(ARRAY, 2, axis=2)[..., ::2],
        np.where(ARRAY == 0, np.float16(-0.0), ARRAY),
    ],
    ids=["byte order", "axes", "strides", "negative zero"],
)
def test_how_values_are_stored_does_not_count(same: np.ndarray) -> None:
    assert voxel_hash(same, "kidney_left") == RECORDED


@pytest.mark.parametrize(
    ("array", "keys"),
    [
        (ARRAY, ("kidney_right",)),
        (ARRAY, ("kidney", "left")),
        (ARRAY.reshape(2, 4, 3), ("kidney_left",)),
        (ARRAY.astype(np.float32), ("kidney_left",)),
        (np.where(ARRAY == 23, np.float16(23.02), ARRAY), ("kidney_left",)),
    ],
    ids=["organ", "split keys", "shape", "type", "one value"],
)
def test_what_they_are_counts(array: np.ndarray, keys: tuple[str, ...]) -> None:
    assert voxel_hash(array, *keys) != RECORDED
