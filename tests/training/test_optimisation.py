"""Learning rate, clipping and moving average against closed forms."""

import pytest
import torch
from torch import nn

from nnanomaly.plans import TrainingPlan
from nnanomaly.training.optimisation import build_optimizer, clip_and_step, learning_rate_factor, moving_average

PLAN = TrainingPlan(num_iterations=1000, batch_size=1, learning_rate=0.1, warmup_iterations=50, decay="cosine")


def test_the_learning_rate_warms_up_linearly_and_falls_as_a_cosine_to_a_tenth() -> None:
    assert learning_rate_factor(PLAN, 0) == pytest.approx(1 / 50)
    assert learning_rate_factor(PLAN, 49) == 1.0
    assert learning_rate_factor(PLAN, 50) == pytest.approx(1.0)
    assert learning_rate_factor(PLAN, 525) == pytest.approx(0.55)
    assert learning_rate_factor(PLAN, 1000) == pytest.approx(0.1)


def test_a_short_run_spends_at_most_a_tenth_on_warming_up() -> None:
    short = TrainingPlan(num_iterations=100, batch_size=1, learning_rate=0.1, warmup_iterations=5000)
    assert learning_rate_factor(short, 10) == 1.0


def test_clipping_reports_the_norm_before_and_applies_the_limit() -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_and_step(optimizer, 1.0) == pytest.approx(5.0)
    assert before - layer.weight.detach() == pytest.approx(torch.tensor([[0.6, 0.8]]), abs=1e-5)
    assert layer.weight.grad is None


def test_without_weight_decay_the_optimiser_is_adam() -> None:
    layers = [nn.Linear(3, 1) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    plan = TrainingPlan(num_iterations=1, batch_size=1, learning_rate=0.01)
    optimizers = [
        build_optimizer(layers[0].parameters(), plan, 0.01),
        torch.optim.Adam(layers[1].parameters(), lr=0.01),
    ]
    for _ in range(3):
        for layer, optimizer in zip(layers, optimizers, strict=True):
            optimizer.zero_grad()
            layer(torch.ones(2, 3)).square().sum().backward()
            optimizer.step()
    assert torch.allclose(layers[0].weight, layers[1].weight)


def test_the_moving_average_warms_up_and_copies_buffers() -> None:
    module = nn.BatchNorm1d(1)
    average = moving_average(module, 0.5)
    average.update_parameters(module)
    module.weight.data.fill_(3.0)
    module.running_mean.fill_(7.0)
    average.update_parameters(module)
    decay = 2 / 11  # (1 + n) / (10 + n) after one update, below 0.5
    assert average.module.weight.item() == pytest.approx(decay * 1.0 + (1 - decay) * 3.0)
    assert float(average.module.running_mean) == 7.0
