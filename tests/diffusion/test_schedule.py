"""Schedules against their definitions, the figures of METHOD's appendix, and arithmetic done by hand."""

import math

import pytest
import torch

from nnanomaly.diffusion.schedule import (
    NoiseSchedule,
    condition_of,
    cosine_schedule,
    karras_sigmas,
    linear_schedule,
    strided_times,
)

SCHEDULES = [cosine_schedule(1000), cosine_schedule(7), linear_schedule(1000), linear_schedule(50, beta_end=0.5)]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_alpha_bar_is_the_cumulative_product_and_falls_strictly_within_0_and_1(schedule: NoiseSchedule) -> None:
    product = 1.0
    for beta, alpha_bar, sigma in zip(schedule.beta, schedule.alpha_bar, schedule.sigma, strict=True):
        product *= 1 - float(beta)
        assert float(alpha_bar) == pytest.approx(product, rel=1e-13)
        assert float(sigma) == pytest.approx(math.sqrt((1 - product) / product), rel=1e-9)
    assert (schedule.alpha_bar.diff() < 0).all() and (schedule.sigma.diff() > 0).all()
    assert 0 < schedule.alpha_bar[-1] and schedule.alpha_bar[0] < 1


def test_cosine_follows_its_closed_form_up_to_the_clipped_end() -> None:
    def f(t: int) -> float:
        return math.cos((t / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2

    schedule = cosine_schedule(1000)
    for t in (0, 1, 250, 499, 900, 998):
        assert float(schedule.alpha_bar[t]) == pytest.approx(f(t + 1) / f(0), rel=1e-9)
    assert float(schedule.beta[-1]) == 0.9999


@pytest.mark.parametrize(
    ("schedule", "t", "sigma"),
    [
        (cosine_schedule(1000), 250, 0.427),
        (cosine_schedule(1000), 400, 0.740),
        (cosine_schedule(1000), 500, 1.016),
        (cosine_schedule(1000), 600, 1.395),
        (cosine_schedule(1000), 750, 2.446),
        (linear_schedule(1000), 250, 0.958),
        (linear_schedule(1000), 500, 3.443),
    ],
)
def test_noise_levels_are_those_of_method_appendix(schedule: NoiseSchedule, t: int, sigma: float) -> None:
    assert float(schedule.sigma[t]) == pytest.approx(sigma, abs=5e-4)


def test_the_same_index_is_another_noise_level_on_another_schedule() -> None:
    level = cosine_schedule(1000).sigma[499]
    assert float(linear_schedule(1000).time_of(level)) == pytest.approx(260, abs=1)


def test_add_noise_by_hand() -> None:
    schedule = NoiseSchedule(torch.tensor([0.36, 0.75]))  # alpha_bar 0.64, 0.16
    x0, noise = torch.tensor([[[2.0]], [[-1.0]]]), torch.tensor([[[1.0]], [[3.0]]])
    x_t = schedule.add_noise(x0, noise, torch.tensor([0, 1]))
    torch.testing.assert_close(x_t, torch.tensor([[[0.8 * 2 + 0.6 * 1]], [[-0.4 + math.sqrt(0.84) * 3]]]))


def test_x0_and_eps_determine_each_other_to_1e6() -> None:
    schedule = cosine_schedule(1000)
    x0, eps = torch.randn(2, 100, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64).unbind()
    t = torch.arange(0, 1000, 10)
    x_t = schedule.add_noise(x0, eps, t)
    torch.testing.assert_close(schedule.x0_from_eps(x_t, eps, t), x0, atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.eps_from_x0(x_t, x0, t), eps, atol=1e-6, rtol=0)


def test_fractional_times_lie_between_their_neighbours_and_time_of_inverts_them() -> None:
    schedule = cosine_schedule(1000)
    t = torch.tensor([0.0, 0.25, 17.5, 499.0, 998.9, 999.0], dtype=torch.float64)
    torch.testing.assert_close(schedule.time_of(schedule.sigma_of(t)), t, atol=1e-9, rtol=0)
    middle = schedule.sigma_of(torch.tensor(17.5))
    assert float(middle) == pytest.approx(math.sqrt(float(schedule.sigma[17] * schedule.sigma[18])))
    assert schedule.sigma_of(torch.tensor(499)) == schedule.sigma[499]


def test_a_network_is_told_a_quarter_of_the_logarithm_of_the_noise_level() -> None:
    told = condition_of(torch.tensor([1.0, math.e**2]))
    torch.testing.assert_close(told, torch.tensor([0.0, 0.5]))
    assert condition_of(torch.tensor([2.0]).bfloat16()).dtype == torch.float32


def test_time_of_a_level_outside_the_schedule_is_its_end() -> None:
    schedule = linear_schedule(100)
    assert schedule.time_of(torch.tensor([1e-9, 1e9], dtype=torch.float64)).tolist() == [0.0, 99.0]


def test_a_bf16_call_leaves_the_tables_as_they_were() -> None:
    schedule = cosine_schedule(1000)
    tables = [table.clone() for table in (schedule.beta, schedule.alpha_bar, schedule.sigma)]
    x = torch.ones(2, 1, 3, dtype=torch.bfloat16)
    t = torch.tensor([0, 999])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        noisy = schedule.add_noise(x, x, t)
        schedule.x0_from_eps(noisy.bfloat16(), x, t)
        schedule.time_of(schedule.sigma_of(t).bfloat16())
    assert noisy.dtype == torch.float32
    for before, after in zip(tables, (schedule.beta, schedule.alpha_bar, schedule.sigma), strict=True):
        assert after.dtype == torch.float64 and torch.equal(before, after)


def test_the_tables_do_not_follow_the_tensor_they_were_made_from() -> None:
    beta = torch.full((3,), 0.1, dtype=torch.float64)
    schedule = NoiseSchedule(beta)
    beta.fill_(0.9)
    assert schedule.beta.tolist() == [0.1, 0.1, 0.1]


@pytest.mark.parametrize("beta", [[0.1], [0.1, 1.0], [0.0, 0.1], [0.1, float("nan")], [[0.1, 0.2]]])
def test_betas_outside_0_and_1_are_refused(beta: list[float]) -> None:
    with pytest.raises(ValueError, match="beta must be"):
        NoiseSchedule(torch.tensor(beta))


def test_strided_times_end_at_the_last_time_and_unit_stride_visits_all() -> None:
    assert strided_times(4, 5).tolist() == [0, 1, 2, 3, 4]
    assert strided_times(499, 4).tolist() == [124, 249, 374, 499]
    assert strided_times(499, 1).tolist() == [499]
    for num_steps in (0, 501):
        with pytest.raises(ValueError, match="num_steps must be in 1 .. 500"):
            strided_times(499, num_steps)


def test_karras_sigmas_by_hand() -> None:
    assert karras_sigmas(1.0, 4.0, 3, rho=1.0).tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
    torch.testing.assert_close(
        karras_sigmas(1.0, 9.0, 2, rho=2.0), torch.tensor([0.0, 1.0, 4.0, 9.0], dtype=torch.float64)
    )


def test_karras_sigmas_end_exactly_at_the_level_asked_for() -> None:
    sigmas = karras_sigmas(0.006, 1.016, 25)
    assert len(sigmas) == 27 and sigmas[0] == 0 and float(sigmas[-1]) == 1.016
    assert float(sigmas[1]) == pytest.approx(0.006) and (sigmas.diff() > 0).all()
    assert (sigmas.diff().diff() > 0)[1:].all()  # denser where the noise is low


@pytest.mark.parametrize(("low", "high", "num_steps"), [(0.0, 1.0, 5), (1.0, 1.0, 5), (0.1, 1.0, 0)])
def test_karras_sigmas_refuse_an_impossible_grid(low: float, high: float, num_steps: int) -> None:
    with pytest.raises(ValueError, match="0 < sigma_min < sigma_max"):
        karras_sigmas(low, high, num_steps)
