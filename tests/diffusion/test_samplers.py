"""Which level each evaluation is asked at, which level each state lies on, and the formulas of single steps."""

import math

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.denoiser import Denoised, Denoiser, eps_denoiser
from nnanomaly.diffusion.noise import gaussian, generator_for, step_noise
from nnanomaly.diffusion.samplers import Step, ddim_invert, ddim_sample, ddpm_sample, heun
from nnanomaly.diffusion.schedule import cosine_schedule, karras_sigmas, linear_schedule, strided_times

SCHEDULE = cosine_schedule(100)
TIMES = torch.tensor([2, 10, 50, 80])


def _recorded(asked: list[float], eps: float = 1.0) -> Denoiser:
    """VP: always the same noise; remembers the times it was asked at."""
    return eps_denoiser(lambda x, t: (asked.append(float(t[0])), torch.full_like(x, eps))[1], SCHEDULE)


def _constant_ve(asked: list[float]) -> Denoiser:
    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        asked.append(float(sigma[0]))
        return Denoised(x - float(sigma[0]), torch.ones_like(x))

    return denoise


def test_ddim_asks_at_the_level_of_the_state_and_at_tau_1_for_the_clean_image() -> None:
    asked: list[float] = []
    z = ddim_invert(_recorded(asked), torch.zeros(1, 1), TIMES, schedule=SCHEDULE)
    assert asked == [2, 2, 10, 50]
    asked.clear()
    ddim_sample(_recorded(asked), z, TIMES, schedule=SCHEDULE)
    assert asked == [80, 50, 10, 2]


def test_heun_asks_twice_per_interval_and_once_at_the_clean_end() -> None:
    asked: list[float] = []
    sigmas = torch.tensor([0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    z = heun(_constant_ve(asked), torch.zeros(1, 1), sigmas)
    assert asked == [0.5, 0.5, 1.0, 1.0, 2.0]
    asked.clear()
    heun(_constant_ve(asked), z, sigmas.flip(0))
    assert asked == [2.0, 1.0, 1.0, 0.5, 0.5]


def test_a_round_trip_of_25_heun_intervals_costs_102_evaluations() -> None:
    asked: list[float] = []
    sigmas = karras_sigmas(0.006, 1.0, 25)
    heun(_constant_ve(asked), heun(_constant_ve(asked), torch.zeros(1, 1), sigmas), sigmas.flip(0))
    assert len(asked) == 102


def test_every_vp_state_lies_on_the_level_it_is_declared_to_have() -> None:
    # With the same eps = 1 everywhere the flow is a straight line: x = (x0 + sigma) / sqrt(1 + sigma^2), exactly.
    steps: list[Step] = []
    x = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    z = ddim_invert(_recorded([]), x, TIMES, schedule=SCHEDULE, callback=steps.append)
    back = ddim_sample(_recorded([]), z, TIMES, schedule=SCHEDULE, callback=steps.append)
    grid = SCHEDULE.sigma[TIMES].tolist()
    assert [step.sigma for step in steps] == pytest.approx([*grid, *grid[-2::-1], 0.0])
    assert [step.done for step in steps] == [1, 2, 3, 4, 1, 2, 3, 4] and {step.num_steps for step in steps} == {4}
    for step in steps:
        torch.testing.assert_close(step.x, (x + step.sigma) / math.sqrt(1 + step.sigma**2))
    torch.testing.assert_close(back, x)


def test_every_ve_state_lies_on_the_level_it_is_declared_to_have() -> None:
    steps: list[Step] = []
    x = torch.tensor([[3.0, -1.0]], dtype=torch.float64)
    sigmas = karras_sigmas(0.01, 2.0, 5)
    z = heun(_constant_ve([]), x, sigmas, callback=steps.append)
    back = heun(_constant_ve([]), z, sigmas.flip(0), callback=steps.append)
    assert [step.sigma for step in steps] == [*sigmas[1:].tolist(), *sigmas.flip(0)[1:].tolist()]
    for step in steps:
        torch.testing.assert_close(step.x, x + step.sigma)
    torch.testing.assert_close(back, x)


def test_heun_between_two_noisy_levels_is_the_trapezoid_rule() -> None:
    # dx / dsigma = sigma x; from 1 to 2 with x = 1: slopes 1 and 2 (1 + 1) = 4, mean 2.5.
    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        return Denoised(x, sigma[:, None] * x)

    assert heun(denoise, torch.ones(1, 1), torch.tensor([1.0, 2.0])).item() == pytest.approx(3.5)


def test_a_ddpm_step_is_method_2_2_letter_by_letter() -> None:
    x, noise, push = torch.tensor([[0.7]]), torch.tensor([[-1.3]]), torch.tensor([[2.0]])
    steps: list[Step] = []
    ddpm_sample(
        _recorded([], eps=0.4),
        x,
        strided_times(60, 61),
        schedule=SCHEDULE,
        noise=lambda _: noise,
        drift=lambda x_t, t: push,
        callback=steps.append,
    )
    beta, a, a_next = (float(v) for v in (SCHEDULE.beta[60], SCHEDULE.alpha_bar[60], SCHEDULE.alpha_bar[59]))
    x0 = (0.7 - math.sqrt(1 - a) * 0.4) / math.sqrt(a)
    mean = (math.sqrt(a_next) * beta * x0 + math.sqrt(1 - beta) * (1 - a_next) * 0.7) / (1 - a)
    variance = beta * (1 - a_next) / (1 - a)
    assert steps[0].x.item() == pytest.approx(mean + variance * 2.0 + math.sqrt(variance) * -1.3, rel=1e-6)
    assert steps[0].sigma == pytest.approx(float(SCHEDULE.sigma[59]))


def test_ddpm_ends_at_the_predicted_clean_image_without_noise() -> None:
    steps: list[Step] = []
    drawn: list[int] = []
    y = ddpm_sample(
        _recorded([]),
        torch.ones(1, 1),
        TIMES,
        schedule=SCHEDULE,
        noise=lambda i: (drawn.append(i), torch.zeros(1, 1))[1],
        callback=steps.append,
    )
    torch.testing.assert_close(y, steps[-1].prediction.x0)
    assert drawn == [0, 1, 2]


def test_a_stochastic_ddim_step_is_method_3_1_letter_by_letter() -> None:
    steps: list[Step] = []
    ddim_sample(
        _recorded([], eps=0.4),
        torch.tensor([[0.7]]),
        torch.tensor([30, 60]),
        schedule=SCHEDULE,
        eta=0.5,
        noise=lambda _: torch.tensor([[-1.3]]),
        callback=steps.append,
    )
    a, a_next = float(SCHEDULE.alpha_bar[60]), float(SCHEDULE.alpha_bar[30])
    x0 = (0.7 - math.sqrt(1 - a) * 0.4) / math.sqrt(a)
    sd = 0.5 * math.sqrt((1 - a_next) / (1 - a)) * math.sqrt(1 - a / a_next)
    expected = math.sqrt(a_next) * x0 + math.sqrt(1 - a_next - sd**2) * 0.4 + sd * -1.3
    assert steps[0].x.item() == pytest.approx(expected, rel=1e-6)


def test_ddim_with_eta_1_is_ancestral_sampling() -> None:
    denoise = eps_denoiser(lambda x, t: torch.tanh(x), linear_schedule(50))
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))

    def noise(i: int) -> Tensor:
        return torch.randn(3, 2, generator=torch.Generator().manual_seed(i + 1))

    levels = strided_times(49, 10)
    ours = ddim_sample(denoise, x, levels, schedule=linear_schedule(50), eta=1.0, noise=noise)
    torch.testing.assert_close(ours, ddpm_sample(denoise, x, levels, schedule=linear_schedule(50), noise=noise))


def test_unit_stride_ddim_matches_a_step_by_step_euler_walk_in_sigma() -> None:
    def network(x: Tensor, t: Tensor) -> Tensor:
        return torch.cos(x) + t[:, None] / 100

    x = torch.tensor([[0.3, 1.2]], dtype=torch.float64)
    xb, sigma = x.clone(), 0.0
    for t in range(40):
        asked = max(t - 1, 0)
        eps = network(xb / math.sqrt(1 + sigma**2), torch.tensor([asked]))
        after = float(SCHEDULE.sigma[t])
        xb, sigma = xb + (after - sigma) * eps, after
    z = ddim_invert(eps_denoiser(network, SCHEDULE), x, strided_times(39, 40), schedule=SCHEDULE)
    torch.testing.assert_close(z * math.sqrt(1 + sigma**2), xb)


def test_a_batch_of_4_equals_four_batches_of_1() -> None:
    schedule = linear_schedule(50)
    denoise = eps_denoiser(lambda x, t: torch.tanh(x) * per_item_mean(x), schedule)
    names = ["case_1", "case_2", "case_3", "case_4"]
    x = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(0))

    def sample(items: list[int]) -> Tensor:
        source = step_noise(gaussian, (2, 3), [generator_for(names[i], seed=7) for i in items])
        return ddpm_sample(denoise, x[items], strided_times(49, 50), schedule=schedule, noise=source)

    together, alone = sample([0, 1, 2, 3]), torch.cat([sample([i]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def per_item_mean(x: Tensor) -> Tensor:
    return 1 + x.mean(dim=(1, 2), keepdim=True)


@pytest.mark.parametrize("levels", [[], [5, 3], [3, 3], [-1, 2], [50, 100]])
def test_impossible_times_are_refused(levels: list[int]) -> None:
    with pytest.raises(ValueError, match="ascending times in 0 .. 99"):
        ddim_invert(_recorded([]), torch.zeros(1, 1), torch.tensor(levels), schedule=SCHEDULE)
    with pytest.raises(ValueError, match="ascending times in 0 .. 99"):
        ddim_sample(_recorded([]), torch.zeros(1, 1), torch.tensor(levels), schedule=SCHEDULE)


@pytest.mark.parametrize("sigmas", [[1.0], [1.0, 0.5, 0.7], [0.5, 0.5], [-0.1, 1.0], [float("nan"), 1.0]])
def test_impossible_sigmas_are_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="sigmas must be"):
        heun(_constant_ve([]), torch.zeros(1, 1), torch.tensor(sigmas))


def test_eta_and_noise_come_together() -> None:
    for eta, noise in ((0.5, None), (0.0, lambda _: torch.zeros(1, 1))):
        with pytest.raises(ValueError, match="belong together"):
            ddim_sample(_recorded([]), torch.zeros(1, 1), TIMES, schedule=SCHEDULE, eta=eta, noise=noise)


def test_sampling_builds_no_graph() -> None:
    layer = nn.Linear(2, 2)
    z = ddim_invert(eps_denoiser(lambda x, t: layer(x), SCHEDULE), torch.zeros(1, 2), TIMES, schedule=SCHEDULE)
    assert not z.requires_grad


def test_a_half_precision_state_is_computed_in_float32() -> None:
    z = heun(_constant_ve([]), torch.zeros(1, 1, dtype=torch.bfloat16), torch.tensor([0.0, 0.001, 1.0]))
    assert z.dtype == torch.float32 and z.item() == pytest.approx(1.0, rel=1e-6)
