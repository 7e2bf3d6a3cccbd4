"""Denoisers and losses against the formulas they stand for."""

import math

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.denoiser import (
    clamped,
    edm_denoiser,
    edm_loss,
    eps_denoiser,
    eps_loss,
)
from nnanomaly.diffusion.schedule import NoiseSchedule, cosine_schedule, per_item


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_eps_network_gives_back_the_clean_image() -> None:
    schedule, t = cosine_schedule(1000), torch.tensor([3, 400])
    x0, eps = _random(2, 1, 4), _random(2, 1, 4, seed=1)
    prediction = eps_denoiser(lambda x, t: eps, schedule)(schedule.add_noise(x0, eps, t), t)
    torch.testing.assert_close(prediction.x0, x0, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(prediction.eps, eps)


def test_a_clamped_prediction_stays_in_range_and_consistent_with_its_input() -> None:
    schedule, t = cosine_schedule(1000), torch.tensor([500, 900])
    x_t = 3 * _random(2, 1, 50)
    prediction = clamped(eps_denoiser(lambda x, t: torch.zeros_like(x), schedule), schedule, limit=1.0)(x_t, t)
    assert float(prediction.x0.abs().max()) == 1.0
    torch.testing.assert_close(schedule.add_noise(prediction.x0, prediction.eps, t), x_t)


@pytest.mark.parametrize("make", [lambda n: eps_denoiser(n, cosine_schedule(10)), edm_denoiser])
def test_a_bf16_network_still_gives_a_float32_prediction(make: type) -> None:
    layer = nn.Linear(4, 4)

    def network(x: Tensor, level: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output: Tensor = layer(x)
        assert output.dtype == torch.bfloat16
        return output

    prediction = make(network)(_random(2, 1, 4), torch.tensor([1, 2]))
    assert prediction.x0.dtype == prediction.eps.dtype == torch.float32


@pytest.mark.parametrize("sigma", [1e-4, 0.3, 1.0, 30.0])
@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_edm_with_a_silent_network_is_the_best_linear_denoiser(sigma: float, sigma_data: float) -> None:
    x, level = _random(3, 1, 5), torch.full((3,), sigma)
    prediction = edm_denoiser(lambda x, c: torch.zeros_like(x), sigma_data)(x, level)
    torch.testing.assert_close(prediction.x0, x * sigma_data**2 / (sigma_data**2 + sigma**2))
    torch.testing.assert_close(prediction.eps, x * sigma / (sigma_data**2 + sigma**2))


def test_edm_prediction_is_preconditioned_and_consistent_with_its_input() -> None:
    x, sigma = _random(2, 1, 5), torch.tensor([0.5, 2.0])
    seen: list[Tensor] = []

    def network(x: Tensor, condition: Tensor) -> Tensor:
        seen.extend([x, condition])
        return torch.ones_like(x)

    prediction = edm_denoiser(network)(x, sigma)
    for item, s in enumerate(sigma.tolist()):
        torch.testing.assert_close(seen[0][item], x[item] / math.sqrt(s**2 + 1))
        assert float(seen[1][item]) == pytest.approx(math.log(s) / 4)
        torch.testing.assert_close(prediction.x0[item], x[item] / (s**2 + 1) + s / math.sqrt(s**2 + 1))
    torch.testing.assert_close(prediction.x0 + per_item(sigma, x) * prediction.eps, x)


def test_eps_loss_is_the_mean_absolute_error_of_the_noise_at_the_noisy_image() -> None:
    schedule = NoiseSchedule(torch.tensor([0.36, 0.5]))  # sqrt(alpha_bar_0) = 0.8
    x0, noise = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[0.5, 2.0]]])
    loss = eps_loss(lambda x, t: x, x0, torch.tensor([0]), noise=noise, schedule=schedule)
    # x_t = (0.8 + 0.3, -0.8 + 1.2) = (1.1, 0.4); |0.5 - 1.1| = 0.6, |2 - 0.4| = 1.6
    assert float(loss) == pytest.approx(1.1)


@pytest.mark.parametrize("sigma_data", [1.0, 0.5])
def test_edm_loss_is_the_weighted_square_error_of_its_denoiser(sigma_data: float) -> None:
    def network(x: Tensor, condition: Tensor) -> Tensor:
        return torch.sin(3 * x) + per_item(condition, x)

    x0, noise, sigma = _random(4, 2, 6), _random(4, 2, 6, seed=1), torch.tensor([0.05, 0.3, 1.0, 4.0])
    level = per_item(sigma, x0)
    weight = (level**2 + sigma_data**2) / (level * sigma_data) ** 2
    denoised = edm_denoiser(network, sigma_data)(x0 + level * noise, sigma).x0
    expected = (weight * (denoised - x0) ** 2).mean()
    loss = edm_loss(network, x0, sigma, noise=noise, sigma_data=sigma_data)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=0)


def test_losses_reach_the_network_by_their_gradient() -> None:
    layer = nn.Linear(3, 3)
    x0, noise = _random(2, 1, 3), _random(2, 1, 3, seed=1)
    eps_loss(lambda x, t: layer(x), x0, torch.tensor([1, 5]), noise=noise, schedule=cosine_schedule(10)).backward()
    assert layer.weight.grad is not None and float(layer.weight.grad.abs().sum()) > 0
    layer.zero_grad()
    edm_loss(lambda x, c: layer(x), x0, torch.tensor([0.1, 1.0]), noise=noise).backward()
    assert layer.weight.grad is not None and float(layer.weight.grad.abs().sum()) > 0
