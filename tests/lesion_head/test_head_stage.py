"""The head's stage: it learns what it is shown, and measures kinds that it was never shown by themselves."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nnanomaly.lesion_head.examples import LESION, WEIGHT, flipped
from nnanomaly.lesion_head.head_stage import HELD_OUT, SEEN, HeadStage
from nnanomaly.networks.lesion_head import LesionHead
from nnanomaly.plans import HEAD_INPUTS, HeadPlan
from nnanomaly.training.optimisation import Batch

PLAN = HeadPlan(widths=(4, 8))
PLAN = replace(PLAN, training=replace(PLAN.training, learning_rate=1e-2, precision="fp32", warmup_iterations=0))
CPU = torch.device("cpu")


def batch(seed: int, label: int = SEEN) -> Batch:
    """Two examples whose lesion is where the z-score is high."""
    generator = torch.Generator().manual_seed(seed)
    patch = torch.randn(2, 6, 8, 8, 8, generator=generator)
    patch[:, LESION] = (patch[:, HEAD_INPUTS.index("zscore")] > 0.8).float()
    patch[:, WEIGHT] = 1
    return {"patch": patch, "label": torch.full((2,), label)}


def test_it_learns_what_the_channels_show() -> None:
    torch.manual_seed(0)
    stage = HeadStage(LesionHead(PLAN), PLAN, device=CPU)
    losses = [stage.step(batch(k), torch.Generator())["loss"] for k in range(60)]
    assert np.mean(losses[-5:]) < 0.6 * losses[0]
    assert stage.validate([batch(99)], stage.network.eval(), torch.Generator())["dice"] > 0.7


class _Zscore(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 2:3] - 0.8


def test_validation_keeps_kinds_that_were_held_out_apart() -> None:
    stage = HeadStage(LesionHead(PLAN), PLAN, device=CPU)
    unseen = batch(1, HELD_OUT)
    unseen["patch"][:, LESION] = 1 - unseen["patch"][:, LESION]
    result = stage.validate([batch(0), unseen], _Zscore(), torch.Generator())
    assert result["dice"] == pytest.approx(1)
    assert result["dice_held_out"] == pytest.approx(0)
    assert result["error"] == pytest.approx(0.5)


def test_validation_without_a_held_out_kind_is_that_of_the_others() -> None:
    stage = HeadStage(LesionHead(PLAN), PLAN, device=CPU)
    assert stage.validate([batch(0)], _Zscore(), torch.Generator())["error"] == pytest.approx(0)


def test_only_the_planned_channels_reach_the_network() -> None:
    plan = replace(PLAN, inputs=("image", "distance"))
    stage = HeadStage(LesionHead(plan), plan, device=CPU)
    changed = batch(0)
    before = stage.validate([changed], stage.network.eval(), torch.Generator())
    changed["patch"][:, 1:3] += 100
    assert stage.validate([changed], stage.network.eval(), torch.Generator()) == before


def test_flips_move_all_channels_alike() -> None:
    example = np.arange(6 * 27, dtype=np.float32).reshape(6, 3, 3, 3)
    flips = [flipped(example, np.random.default_rng(seed)) for seed in range(12)]
    assert len({flip.tobytes() for flip in flips}) > 3
    for flip in flips:
        np.testing.assert_array_equal(flip[1:] - flip[:-1], 27)
