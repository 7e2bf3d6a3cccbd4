"""Guidance: the published shifts by hand, the scale-free push, its state, and the sign."""

import math

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.denoiser import Denoised, Denoiser, eps_denoiser
from nnanomaly.diffusion.guidance import (
    LogProb,
    classifier_drift,
    classifier_free_guidance,
    classifier_guidance,
    relative_guidance,
)
from nnanomaly.diffusion.noise import gaussian, generator_for
from nnanomaly.diffusion.samplers import ddim_sample, heun
from nnanomaly.diffusion.schedule import NoiseSchedule, cosine_schedule, karras_sigmas, per_item, strided_times

SCHEDULE = NoiseSchedule(torch.tensor([0.36, 0.75]))  # alpha_bar 0.64, 0.16


def _ve(eps: Tensor) -> Denoiser:
    return lambda x, sigma: Denoised(x - per_item(sigma, x) * eps, eps)


def _linear(direction: Tensor) -> LogProb:
    """log p far below the confidence gate, with the gradient `direction`."""
    return lambda x, level: (x * direction).flatten(1).sum(dim=1) - 100.0


def _binary(axis: Tensor, wanted: int) -> LogProb:
    """A toy classifier: logit along `axis`; class 0 healthy, class 1 not."""

    def log_prob(x: Tensor, level: Tensor) -> Tensor:
        logit = (x * axis).flatten(1).sum(dim=1)
        return nn.functional.logsigmoid(logit if wanted == 0 else -logit)

    return log_prob


def test_the_eps_shift_is_the_published_one_and_x0_follows_it() -> None:
    x_t, t, eps = torch.tensor([[1.0, 2.0]]), torch.tensor([0]), torch.tensor([[0.5, -0.5]])
    guided = classifier_guidance(
        eps_denoiser(lambda x, t: eps, SCHEDULE), _linear(torch.tensor([[1.0, 3.0]])), schedule=SCHEDULE, scale=2.0
    )
    prediction = guided(x_t, t)  # eps - 2 * 0.6 * g
    torch.testing.assert_close(prediction.eps, torch.tensor([[0.5 - 1.2, -0.5 - 3.6]]))
    torch.testing.assert_close(0.8 * prediction.x0 + 0.6 * prediction.eps, x_t)


def test_the_drift_is_scale_times_the_gradient_at_the_state() -> None:
    drift = classifier_drift(lambda x, t: -(x**2).sum(dim=1) / 2, scale=3.0)
    torch.testing.assert_close(drift(torch.tensor([[1.0, -2.0]]), torch.tensor([0])), torch.tensor([[-3.0, 6.0]]))


def test_the_relative_push_is_rho_times_the_noise_estimate_for_each_item() -> None:
    eps = torch.tensor([[3.0, 4.0], [0.0, 1.0]])
    guided = relative_guidance(_ve(eps), _linear(torch.tensor([[0.0, 2.0], [1e-20, 0.0]])), rho=0.1)
    x, sigma = torch.zeros(2, 2), torch.tensor([2.0, 0.5])
    prediction = guided(x, sigma)
    torch.testing.assert_close(prediction.eps, torch.tensor([[3.0, 4.0 - 0.5], [-0.1, 1.0]]))
    torch.testing.assert_close(prediction.x0 + per_item(sigma, x) * prediction.eps, x)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e6])
def test_the_relative_push_does_not_know_the_gradient_scale(scale: float) -> None:
    eps, direction = torch.tensor([[3.0, 4.0]]), torch.tensor([[0.6, -0.8]])
    prediction = relative_guidance(_ve(eps), _linear(scale * direction), rho=0.2)(torch.zeros(1, 2), torch.ones(1))
    torch.testing.assert_close(prediction.eps, eps - direction)


def test_a_confident_item_is_not_pushed() -> None:
    eps = torch.ones(2, 2)

    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
        return x.sum(dim=1) + torch.tensor([0.94, 0.96]).log()

    prediction = relative_guidance(_ve(eps), log_prob, rho=0.1)(torch.zeros(2, 2), torch.ones(2))
    assert (prediction.eps[0] < 1).all() and torch.equal(prediction.eps[1], eps[1])


def test_a_mask_limits_the_push_and_measures_the_noise_within_it() -> None:
    eps = torch.tensor([[[3.0, 50.0, 4.0]]])
    guided = relative_guidance(
        _ve(eps), _linear(torch.tensor([0.0, 9.0, 1.0])), rho=0.1, mask=torch.tensor([[[True, False, True]]])
    )
    prediction = guided(torch.zeros(1, 1, 3), torch.ones(1))
    torch.testing.assert_close(prediction.eps, torch.tensor([[[3.0, 50.0, 3.5]]]))


def test_a_flat_classifier_pushes_nowhere() -> None:
    eps = torch.ones(1, 2)
    prediction = relative_guidance(_ve(eps), _linear(torch.zeros(2)), rho=0.1)(torch.zeros(1, 2), torch.ones(1))
    assert torch.equal(prediction.eps, eps)


def test_the_direction_is_a_moving_average_along_the_chain_and_a_new_chain_forgets_it() -> None:
    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:  # gradient (1, 0) at high levels, (0, 1) below 1
        return torch.where(sigma > 1, x[:, 0], x[:, 1]) - 100.0

    guided = relative_guidance(_ve(torch.tensor([[1.0, 0.0]])), log_prob, rho=1.0)
    x, high, low = torch.zeros(1, 2), torch.tensor([2.0]), torch.tensor([0.5])
    fresh = guided(x, high).eps
    length = math.hypot(0.09, 0.1)  # 0.9 * 0.1 g_1 + 0.1 g_2
    torch.testing.assert_close(guided(x, low).eps, torch.tensor([[1 - 0.09 / length, -0.1 / length]]))
    torch.testing.assert_close(guided(x, high).eps, fresh)


def test_a_batch_of_4_is_guided_like_four_batches_of_1() -> None:
    generators = [generator_for(name, seed=3) for name in "abcd"]
    start = 2 * gaussian((1, 6), generators)
    axis = torch.linspace(-1, 1, 6)

    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        x0 = torch.tanh(x) / (1 + per_item(sigma, x))
        return Denoised(x0, (x - x0) / per_item(sigma, x))

    def sample(x: Tensor) -> Tensor:
        guided = relative_guidance(denoise, _binary(axis, wanted=0), rho=0.2)
        return heun(guided, x, karras_sigmas(0.01, 2.0, 10).flip(0))

    together, alone = sample(start), torch.cat([sample(item[None]) for item in start])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    again = gaussian((1, 6), [generator_for(name, seed=3) for name in "ca"])
    assert torch.equal(2 * again, start[[2, 0]])


@pytest.mark.parametrize(("wanted", "sign"), [(0, 1.0), (1, -1.0)])
@pytest.mark.parametrize("kind", ["published", "relative"])
def test_guidance_raises_the_wanted_class_and_swapped_labels_lower_it(kind: str, wanted: int, sign: float) -> None:
    axis, schedule = torch.tensor([1.0, -0.5, 0.25]), cosine_schedule(100)
    silent = eps_denoiser(lambda x, t: torch.zeros_like(x), schedule)
    x = torch.zeros(1, 3)
    if kind == "published":
        guided = classifier_guidance(silent, _binary(axis, wanted), schedule=schedule, scale=1.0)
        y = ddim_sample(guided, x, strided_times(50, 10), schedule=schedule)
    else:
        guided = relative_guidance(_ve(torch.full((1, 3), 0.1)), _binary(axis, wanted), rho=1.0)
        y = heun(guided, x + 0.1, karras_sigmas(0.01, 1.0, 10).flip(0)) - (x + 0.1 - 0.1 * 1.0)
    healthy = _binary(axis, wanted=0)
    gain = float(healthy(y, torch.zeros(1)) - healthy(x, torch.zeros(1)))
    assert sign * gain > 0.05


def test_gradients_stay_inside() -> None:
    classifier = nn.Linear(3, 1)
    level = torch.tensor([1.0])

    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
        return nn.functional.logsigmoid(classifier(x) * sigma)[:, 0]

    guided = relative_guidance(_ve(torch.ones(1, 3)), log_prob, rho=0.1, confident=1.0)
    x = torch.zeros(1, 3, requires_grad=True)
    with torch.no_grad():
        expected = guided(x, level)
    assert not expected.eps.requires_grad and not expected.x0.requires_grad
    assert classifier.weight.grad is None and x.grad is None
    with torch.inference_mode():
        inside = guided(torch.zeros(1, 3), torch.ones(1))
    torch.testing.assert_close(inside.eps, expected.eps)


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 1.0), (1.0, 3.0), (2.5, 6.0)])
def test_classifier_free_guidance_extrapolates_from_the_null_class(weight: float, expected: float) -> None:
    wanted, null = _ve(torch.full((1, 2), 3.0)), _ve(torch.ones(1, 2))
    x, sigma = torch.tensor([[5.0, 7.0]]), torch.tensor([0.5])
    prediction = classifier_free_guidance(wanted, null, weight=weight)(x, sigma)
    torch.testing.assert_close(prediction.eps, torch.full((1, 2), expected))
    torch.testing.assert_close(prediction.x0 + 0.5 * prediction.eps, x)
