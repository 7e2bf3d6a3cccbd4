"""Lesions in a patch of a healthy organ."""

import numpy as np

from nnanomaly.patch import Patch
from nnanomaly.synthesis.patch_editing import edit_patch
from nnanomaly.volume import Grid


def test_lesions_beyond_the_scan_are_neither_painted_nor_asked_for() -> None:
    array = np.full((3, 20, 20, 20), 0.4, np.float32)
    array[1:] = 1
    array[1:, :8] = 0
    array[0, :8] = -1
    grid = Grid((20, 20, 20), (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
    patch = Patch(name="a", case="a", organ="a", array=array, grid=grid)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        edited = edit_patch(patch, window_hu=(-200.0, 300.0), kinds=["solid_dark"], rng=rng)
        np.testing.assert_array_equal(edited.patch.array[0, :8], -1)
        assert not edited.lesions[:8].any()
        assert not edited.patch.array[1, :8].any()
