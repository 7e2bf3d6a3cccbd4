"""What is remembered of a map is what `find_candidates` finds in it."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy import ndimage

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.inference.calibration import choose_threshold
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.tuning.best_configuration.map_masks import MaskMemory
from nnanomaly.volume import Grid

SHAPE = (20, 24, 28)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (5.0, 0.0, 0.0))
PLANS = [
    replace(DEFAULT.inference, hysteresis=share, morphology=clean, min_voxels=voxels, min_diameter_mm=diameter)
    for share, clean, (voxels, diameter) in product((1.0, 0.5), (False, True), ((20, 3.0), (1, 5.0), (1, 9.0)))
]


def blobs(seed: int) -> np.ndarray:
    """Smooth noise with unit variance: blobs of many sizes, some cut by the border, some hollow."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 1.5, mode="constant")
    field /= field.std()
    return np.abs(field).astype(np.float32) if seed % 2 else field.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1])
def test_masks_and_counts_are_those_of_the_candidates(seed: int) -> None:
    anomaly, memory, sizes = blobs(seed), MaskMemory(), set()
    for threshold, plan in product((-0.2, 1.0, 2.0, 99.0, float("inf")), PLANS):
        mask, candidates = find_candidates(anomaly, threshold, GRID, plan)
        assert memory.count(anomaly, threshold, GRID, plan) == len(candidates)
        np.testing.assert_array_equal(memory.mask(anomaly, threshold, GRID, plan), mask)
        sizes.add(int(mask.sum()))
    assert len(sizes) > 10


def test_a_threshold_is_the_same_with_and_without_memory() -> None:
    maps, memory = [(blobs(seed), GRID) for seed in range(2)], MaskMemory()
    for plan, target in product(PLANS[:6:3], (0.5, 4.0)):
        wanted = replace(plan, false_candidates_per_organ=target)
        assert choose_threshold(maps, 2, wanted, count=memory.count) == choose_threshold(maps, 2, wanted)
