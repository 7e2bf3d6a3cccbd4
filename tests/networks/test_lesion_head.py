"""The lesion head and its loss against closed forms."""

from dataclasses import replace

import pytest
import torch

from nnanomaly.networks.lesion_head import LesionHead, lesion_loss
from nnanomaly.plans import HeadPlan

PLAN = HeadPlan(widths=(4, 8, 8))


def test_a_logit_per_voxel_also_where_the_levels_do_not_divide_the_patch() -> None:
    torch.manual_seed(0)
    head = LesionHead(replace(PLAN, inputs=("image", "distance"))).eval()
    for size in ((8, 8, 8), (9, 10, 11)):
        assert head(torch.randn(2, 2, *size)).shape == (2, 1, *size)


def test_a_batch_of_two_equals_two_batches_of_one() -> None:
    torch.manual_seed(0)
    head, x = LesionHead(PLAN), torch.randn(2, 4, 8, 8, 8)
    torch.testing.assert_close(head(x), torch.cat([head(x[:1]), head(x[1:])]), rtol=1e-4, atol=1e-5)


def test_the_loss_of_a_certain_right_answer_is_nought_and_of_no_answer_is_known() -> None:
    target = torch.zeros(1, 1, 2, 2, 2)
    target[..., 0] = 1
    ones = torch.ones_like(target)
    assert float(lesion_loss(40 * (2 * target - 1), target, ones)) == pytest.approx(0, abs=1e-6)
    # logit 0: cross-entropy ln 2; p = 1/2 everywhere: dice = (2 * 4 * 0.5 + 1) / (4 + 4 + 1)
    expected = 0.6931472 + 1 - 5 / 9
    assert float(lesion_loss(torch.zeros_like(target), target, ones)) == pytest.approx(expected, abs=1e-6)


def test_a_weight_shared_by_all_voxels_changes_nothing_but_the_smoothing_of_dice() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 12, 12, 12, generator=generator)
    target = (torch.rand(2, 1, 12, 12, 12, generator=generator) > 0.7).float()
    ones = torch.ones_like(target)
    torch.testing.assert_close(
        lesion_loss(logits, target, 7 * ones), lesion_loss(logits, target, ones), atol=1e-3, rtol=0
    )
    certain = lesion_loss(40 * (2 * target - 1), target, 1 + 19 * target)
    assert float(certain) == pytest.approx(0, abs=1e-6)  # Dice is never above 1


def test_voxels_without_weight_do_not_count() -> None:
    target, weight = torch.ones(1, 1, 2, 2, 2), torch.ones(1, 1, 2, 2, 2)
    weight[..., 1] = 0
    right, wrong = torch.full_like(target, 9.0), torch.full_like(target, 9.0)
    wrong[..., 1] = -9
    torch.testing.assert_close(lesion_loss(right, target, weight), lesion_loss(wrong, target, weight))
    assert float(lesion_loss(right, target, torch.zeros_like(weight))) == pytest.approx(0)
