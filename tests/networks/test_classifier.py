import dataclasses
import math
import sys

import pytest
import torch

from nnanomaly.diffusion.schedule import condition_of
from nnanomaly.networks.classifier import (
    AttentionPool,
    AveragePool,
    LatentClassifier,
    LogSumExpPool,
    OrganState,
    pad_to_multiple,
)
from nnanomaly.plans import ClassifierPlan, TrainingPlan

TRAINING = TrainingPlan(num_iterations=1, batch_size=1, learning_rate=1e-3)
SMALL = ClassifierPlan(widths=(8, 16), training=TRAINING)
POOLS = ["average", "attention", "logsumexp"]


def classifier(pool: str = "average", plan: ClassifierPlan = SMALL) -> LatentClassifier:
    torch.manual_seed(0)
    return LatentClassifier(dataclasses.replace(plan, pool=pool), 2)


def latent(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def log_healthy(net: LatentClassifier, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
    return net(x, time).log_softmax(dim=1)[:, OrganState.HEALTHY]


def two_classes(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise; the unhealthy half has a bright cube of 2 voxels somewhere."""
    x = latent(count, 2, 6, 6, 6, seed=seed)
    label = torch.arange(count) % 2
    starts = torch.randint(0, 5, (count, 3), generator=torch.Generator().manual_seed(seed))
    for item in range(OrganState.UNHEALTHY, count, 2):
        z, y, left = starts[item].tolist()
        x[item, 0, z : z + 2, y : y + 2, left : left + 2] += 4
    return x, label


def test_labels_of_the_weak_supervision_are_fixed() -> None:
    assert (OrganState.HEALTHY, OrganState.UNHEALTHY) == (0, 1)
    assert len(OrganState) == 2


def test_paper_widths_have_two_to_four_million_parameters() -> None:
    net = LatentClassifier(dataclasses.replace(SMALL, widths=(32, 64, 128), blocks_per_level=2), 8)
    assert sum(p.numel() for p in net.parameters()) == 2_120_290


@pytest.mark.parametrize("pool", POOLS)
def test_two_synthetic_classes_are_separated_after_a_few_steps(pool: str) -> None:
    net = classifier(pool)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-2)
    for step in range(20):
        x, label = two_classes(16, seed=step)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(net(x, torch.zeros(16)), label).backward()
        optimiser.step()
    x, label = two_classes(64, seed=1000)
    correct = net(x, torch.zeros(64)).argmax(dim=1) == label
    assert correct.float().mean() > 0.9


@pytest.mark.parametrize("pool", POOLS)
def test_gradient_of_log_p_healthy_is_finite_and_not_zero(pool: str) -> None:
    net = classifier(pool)
    x = latent(2, 2, 6, 6, 6).requires_grad_()
    (gradient,) = torch.autograd.grad(log_healthy(net, x, torch.tensor([-1.7, 0.0])).sum(), x)
    assert gradient.isfinite().all()
    assert (gradient.flatten(1).norm(dim=1) > 1e-6).all()


def test_step_along_the_gradient_makes_the_organ_healthier() -> None:
    net = classifier()
    x, time = latent(4, 2, 6, 6, 6).requires_grad_(), torch.zeros(4)
    before = log_healthy(net, x, time)
    (gradient,) = torch.autograd.grad(before.sum(), x)
    assert (log_healthy(net, x + 0.05 * gradient / gradient.norm(), time) > before).all()


def test_noise_level_changes_the_logits() -> None:
    net, x = classifier(), latent(1, 2, 4, 4, 4)
    low, high = (net(x, condition_of(torch.tensor([sigma]))) for sigma in (0.1, 1.0))
    assert not torch.allclose(low, high, atol=1e-3)


@pytest.mark.parametrize("pool", POOLS)
def test_batch_of_four_equals_four_batches_of_one(pool: str) -> None:
    net = classifier(pool)  # in training mode: batch statistics would show
    x, time = latent(4, 2, 4, 6, 4), torch.tensor([-1.0, -0.3, 0.0, 0.3])
    single = torch.cat([net(x[i : i + 1], time[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(net(x, time), single, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("size", [(5, 7, 3), (1, 1, 1), (6, 5, 4)])
def test_odd_latents_are_classified(size: tuple[int, int, int]) -> None:
    plan = dataclasses.replace(SMALL, widths=(8, 8, 16))
    x = latent(2, 2, *size).requires_grad_()
    logits = classifier(plan=plan)(x, torch.zeros(2))
    assert logits.shape == (2, 2)
    (gradient,) = torch.autograd.grad(logits.sum(), x)
    assert gradient.isfinite().all()


def test_padding_repeats_the_last_plane_of_each_axis() -> None:
    x = torch.arange(6.0).view(1, 1, 1, 2, 3)
    expected = [[0.0, 1, 2, 2], [3, 4, 5, 5]]
    assert pad_to_multiple(x, 2)[0, 0].tolist() == [expected, expected]
    assert pad_to_multiple(x[..., :2].expand(1, 1, 2, 2, 2), 2).shape == (1, 1, 2, 2, 2)


def test_average_pool_is_the_linear_head_on_the_mean() -> None:
    pool = AveragePool(2)
    with torch.no_grad():
        pool.head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
        pool.head.bias.copy_(torch.tensor([10.0, 20.0]))
    features = torch.tensor([[0.0, 4.0], [1.0, 3.0]]).view(1, 2, 1, 1, 2)
    assert pool(features).tolist() == [[12.0, 24.0]]


def test_attention_pool_weighs_voxels_by_query_and_key() -> None:
    pool = AttentionPool(1)
    with torch.no_grad():
        pool.key.weight.fill_(1)
        pool.key.bias.zero_()
        pool.query.fill_(math.log(3))  # voxel 1 has a key larger by 1: three times the weight of voxel 0
        pool.head.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        pool.head.bias.zero_()
    features = torch.tensor([0.0, 1.0]).view(1, 1, 1, 1, 2)
    torch.testing.assert_close(pool(features), torch.tensor([[0.75, -0.75]]))


def test_logsumexp_pool_is_the_log_mean_exp_of_the_margins() -> None:
    pool = LogSumExpPool(1)
    with torch.no_grad():
        pool.head.weight.copy_(torch.tensor([[-1.0], [1.0]]))  # margin: twice the feature
        pool.head.bias.zero_()
    features = torch.tensor([0.0, math.log(7) / 2]).view(1, 1, 1, 2, 1)
    torch.testing.assert_close(pool.margins(features), torch.tensor([[0.0, math.log(7)]]))
    torch.testing.assert_close(pool(features), torch.tensor([[0.0, math.log(4)]]))  # log((1 + 7) / 2)


@pytest.mark.parametrize("pool", POOLS)
def test_bfloat16_stays_close_to_float32(pool: str) -> None:
    net, x, time = classifier(pool), latent(4, 2, 8, 8, 8), torch.zeros(4)
    expected = net(x, time)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(x, time)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, expected, atol=0.05, rtol=0.05)


def test_transformer_parts_of_the_library_are_not_loaded() -> None:
    library = [name for name in sys.modules if name.startswith("dynamic_network_architectures.")]
    assert "dynamic_network_architectures.building_blocks.residual_encoders" in library
    assert [name for name in library if name.endswith(("eva", "primus"))] == []
