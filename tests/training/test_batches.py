"""Batches follow from (seed, iteration) alone."""

import numpy as np
import torch

from nnanomaly.training.augmentation import augment_patch
from nnanomaly.training.batches import PatchBatches, batch_source, fixed_batches, unchanged

PATCHES = [np.full((1, 2, 2, 2), value, dtype=np.float16) for value in range(10)]


def dataset(**changes: object) -> PatchBatches:
    values = {
        "load": PATCHES.__getitem__,
        "labels": [0] * 8 + [1] * 2,
        "batch_size": 4,
        "seed": 7,
        "augment": unchanged,
    }
    return PatchBatches(**{**values, **changes})


def test_a_run_that_starts_later_sees_the_same_batches() -> None:
    whole = list(batch_source(dataset(), num_workers=0)(0, 6))
    rest = list(batch_source(dataset(), num_workers=0)(4, 6))
    assert [int(batch["iteration"]) for batch in rest] == [4, 5]
    for late, early in zip(rest, whole[4:], strict=True):
        assert torch.equal(late["patch"], early["patch"])


def test_another_seed_and_another_iteration_draw_other_patches() -> None:
    first = [dataset()[k]["patch"][:, 0, 0, 0, 0].tolist() for k in range(8)]
    other = [dataset(seed=8)[k]["patch"][:, 0, 0, 0, 0].tolist() for k in range(8)]
    assert len({tuple(batch) for batch in first}) > 1
    assert first != other


def test_balanced_batches_hold_both_classes_equally_often() -> None:
    for iteration in range(5):
        assert sorted(dataset(balanced=True)[iteration]["label"].tolist()) == [0, 0, 1, 1]


def test_validation_sees_every_patch_once_in_order() -> None:
    batches = fixed_batches(dataset(), num_batches=8)
    assert torch.cat([batch["patch"][:, 0, 0, 0, 0] for batch in batches]).tolist() == list(range(10))
    assert [len(batch["label"]) for batch in batches] == [4, 4, 2]


def test_augmentation_is_repeatable_keeps_the_range_and_moves_the_mask_with_the_image() -> None:
    patch = np.full((3, 24, 24, 24), -1.0, dtype=np.float32)
    patch[1], patch[2] = 0.0, 1.0
    patch[0, 6:18, 6:18, 6:18] = 0.5
    patch[1, 6:18, 6:18, 6:18] = 1.0
    first, second = (augment_patch(patch, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, augment_patch(patch, np.random.default_rng(4)))
    assert first.min() >= -1 and first.max() <= 1
    inside, outside = first[0][first[1] == 1], first[0][(first[1] == 0) & (first[2] == 1)]
    assert np.median(inside) > 0.3
    assert np.median(outside) < -0.8
    assert set(np.unique(first[1:])) <= {0.0, 1.0}
    assert (first[0][first[2] == 0] == -1).all()
