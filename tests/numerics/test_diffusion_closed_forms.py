"""The diffusion mathematics against closed forms: exact denoisers of Gaussians, so that every error is the solver's.

Data are quantiles instead of random draws, so nothing here depends on a seed except the two tests of random sampling.
Figures come from METHOD 3.3 and 3.4, or were computed once in NumPy without this package.
"""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoised, Denoiser, edm_denoiser
from nnanomaly.diffusion.guidance import classifier_drift, classifier_guidance, relative_guidance
from nnanomaly.diffusion.samplers import Step, ddim_invert, ddim_sample, ddpm_sample, heun
from nnanomaly.diffusion.schedule import (
    NoiseSchedule,
    cosine_schedule,
    karras_sigmas,
    linear_schedule,
    per_item,
    strided_times,
)

COSINE, LINEAR = cosine_schedule(1000), linear_schedule(1000)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Hundreds of tiny evaluations: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def mixture(means: list[float], std: float) -> Denoiser:
    """Exact VE denoiser of data drawn with equal chance from N(mean, std^2), each value for itself."""
    centres = torch.tensor(means, dtype=torch.float64)

    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        level, values = per_item(sigma, x), x[..., None]
        noise = level[..., None] ** 2
        share = torch.softmax(-((values - centres) ** 2) / (2 * (std**2 + noise)), dim=-1)
        x0 = (share * (std**2 * values + noise * centres) / (std**2 + noise)).sum(dim=-1)
        return Denoised(x0, (x - x0) / level)

    return denoise


def quantiles(means: list[float], std: float, num: int = 200) -> Tensor:
    """Data of that mixture, float64 [len(means) * num, 1], without chance."""
    normal = torch.special.ndtri((torch.arange(num, dtype=torch.float64) + 0.5) / num)
    return torch.cat([mean + std * normal for mean in means])[:, None]


def ve_to_vp(denoise: Denoiser, schedule: NoiseSchedule) -> Denoiser:
    """A VE denoiser seen in VP coordinates: x0 and eps are the same in both."""

    def denoise_vp(x_t: Tensor, t: Tensor) -> Denoised:
        signal, _ = schedule.signal_and_noise(t, x_t)
        return denoise(x_t / signal, schedule.sigma_of(t).to(signal.dtype))

    return denoise_vp


def log_p_positive(x: Tensor, sigma: Tensor) -> Tensor:
    """VE: log probability [B] that x comes from the second of two Gaussians at -1.5 and +1.5 with std 0.6."""
    logit = 2 * 1.5 * x[:, 0] / (0.36 + sigma.to(x.dtype) ** 2)
    return torch.nn.functional.logsigmoid(logit)


def in_vp(log_p: Callable[[Tensor, Tensor], Tensor], schedule: NoiseSchedule) -> Callable[[Tensor, Tensor], Tensor]:
    """The same classifier in VP coordinates."""
    return lambda x, t: log_p(x / schedule.signal_and_noise(t, x)[0], schedule.sigma_of(t))


def ddim_error(x: Tensor, exact: Denoiser, levels: Tensor, schedule: NoiseSchedule) -> float:
    """Mean absolute error of invert + sample."""
    denoise = ve_to_vp(exact, schedule)
    z = ddim_invert(denoise, x, levels, schedule=schedule)
    return float((ddim_sample(denoise, z, levels, schedule=schedule) - x).abs().mean())


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (250, (0.095, 0.040, 0.020, 0.011, 0.004)),
        (500, (0.195, 0.084, 0.043, 0.022, 0.009)),
        (999, (0.351, 0.162, 0.085, 0.044, 0.018)),
    ],
)
def test_ddim_inversion_error_is_what_numpy_found(last: int, expected: tuple[float, ...]) -> None:
    x, exact = quantiles([2.0], 0.5), mixture([2.0], 0.5)
    for num_steps, error in zip((10, 25, 50, 100, 250), expected, strict=True):
        # The table divides 0 .. last evenly and takes time 0 for clean; ours adds the tiny step from clean to time 0.
        levels = torch.linspace(0, last, num_steps + 1, dtype=torch.float64)
        assert ddim_error(x, exact, levels, LINEAR) / 0.5 == pytest.approx(error, rel=0.03, abs=1e-3)


def test_ddim_inversion_error_halves_when_the_steps_double() -> None:
    x, exact = quantiles([2.0], 0.5), mixture([2.0], 0.5)
    error = {k: ddim_error(x, exact, strided_times(499, k), LINEAR) for k in (25, 50, 100, 250, 500)}
    assert error[50] == pytest.approx(0.5 * error[25], rel=0.11)
    assert error[100] == pytest.approx(0.5 * error[50], rel=0.07)
    assert error[500] == pytest.approx(0.5 * error[250], rel=0.04)


@pytest.mark.parametrize(("num_steps", "expected"), [(500, 0.0009), (50, 0.0086)])
def test_ddim_on_the_cosine_schedule_has_the_error_of_method_3_3(num_steps: int, expected: float) -> None:
    # The spread of this mixture is 0.5.
    error = ddim_error(quantiles([-0.4, 0.4], 0.3), mixture([-0.4, 0.4], 0.3), strided_times(499, num_steps), COSINE)
    assert error == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("means", "std"), [([2.0], 0.5), ([-0.4, 0.4], 0.3), ([-1.5, 1.5], 0.6)])
def test_heun_with_25_intervals_returns_the_input_to_a_thousandth_of_the_spread(means: list[float], std: float) -> None:
    x, exact = quantiles(means, std), mixture(means, std)
    sigmas = karras_sigmas(0.006, float(COSINE.sigma[499]), 25)
    back = heun(exact, heun(exact, x, sigmas), sigmas.flip(0))
    assert float((back - x).abs().max()) < 1e-3 * float(x.std())
    assert float((back - x).abs().mean()) < 2e-4 * float(x.std())


def test_heun_converges_with_the_second_order_and_better() -> None:
    x, exact = quantiles([-0.4, 0.4], 0.3), mixture([-0.4, 0.4], 0.3)
    errors = []
    for num_steps in (5, 10, 20, 40):
        sigmas = karras_sigmas(0.006, 1.0, num_steps)
        errors.append(float((heun(exact, heun(exact, x, sigmas), sigmas.flip(0)) - x).abs().mean()))
    assert all(a > 3.5 * b for a, b in zip(errors, errors[1:], strict=False))


def test_the_spread_of_every_encoded_state_is_that_of_its_declared_level() -> None:
    # The exact flow of N(0, 0.5^2) keeps quantiles: at level sigma the data are N(0, 0.25 + sigma^2) in VE coordinates.
    x, exact = quantiles([0.0], 0.5), mixture([0.0], 0.5)
    unit = float(x.std()) / 0.5
    states: list[Step] = []
    heun(exact, x, karras_sigmas(0.001, 2.0, 40), callback=states.append)
    for step in states:
        assert float(step.x.std()) / unit == pytest.approx(math.sqrt(0.25 + step.sigma**2), rel=2e-3)
    states.clear()
    ddim_invert(ve_to_vp(exact, COSINE), x, strided_times(749, 750), schedule=COSINE, callback=states.append)
    for step in states:
        expected = math.sqrt((0.25 + step.sigma**2) / (1 + step.sigma**2))
        assert float(step.x.std()) / unit == pytest.approx(expected, rel=6e-3)
    assert [step.sigma for step in states] == COSINE.sigma[:750].tolist()


@pytest.mark.parametrize("schedule", [LINEAR, COSINE])
@pytest.mark.parametrize("num_steps", [50, 250])
def test_ddim_guided_by_the_exact_classifier_samples_the_class(schedule: NoiseSchedule, num_steps: int) -> None:
    guided = classifier_guidance(
        ve_to_vp(mixture([-1.5, 1.5], 0.6), schedule), in_vp(log_p_positive, schedule), schedule=schedule, scale=1.0
    )
    y = ddim_sample(guided, quantiles([0.0], 1.0), strided_times(999, num_steps), schedule=schedule)
    assert float(y.mean()) == pytest.approx(1.5, abs=0.01)
    assert float(y.std()) == pytest.approx(0.6, abs=0.035 if num_steps == 50 else 0.015)


def test_ddpm_guided_by_the_exact_classifier_samples_the_class() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    y = ddpm_sample(
        ve_to_vp(mixture([-1.5, 1.5], 0.6), COSINE),
        x,
        strided_times(999, 250),
        schedule=COSINE,
        noise=lambda _: torch.randn(x.shape, generator=generator, dtype=x.dtype),
        drift=classifier_drift(in_vp(log_p_positive, COSINE), scale=1.0),
    )
    assert float(y.mean()) == pytest.approx(1.5, abs=0.03) and float(y.std()) == pytest.approx(0.6, abs=0.03)


def test_ddpm_samples_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 1, generator=generator, dtype=torch.float64)
    y = ddpm_sample(
        ve_to_vp(mixture([2.0], 0.5), LINEAR),
        x,
        strided_times(999, 250),
        schedule=LINEAR,
        noise=lambda _: torch.randn(x.shape, generator=generator, dtype=x.dtype),
    )
    assert float(y.mean()) == pytest.approx(2.0, abs=0.02) and float(y.std()) == pytest.approx(0.5, abs=0.02)


def test_the_same_scale_pushes_ddpm_twice_as_far_as_ddim() -> None:
    # A network that always predicts no noise keeps xb = x / sqrt(abar); what arrives is the accumulated push per s * g.
    def silent(x_t: Tensor, t: Tensor) -> Denoised:
        return Denoised(COSINE.x0_from_eps(x_t, torch.zeros_like(x_t), t), torch.zeros_like(x_t))

    def log_p(x: Tensor, t: Tensor) -> Tensor:
        return x[:, 0]

    start, levels = torch.zeros(1, 1, dtype=torch.float64), strided_times(499, 500)
    ddim = ddim_sample(classifier_guidance(silent, log_p, schedule=COSINE, scale=1.0), start, levels, schedule=COSINE)
    drift = classifier_drift(log_p, scale=1.0)
    ddpm = ddpm_sample(silent, start, levels, schedule=COSINE, noise=lambda _: torch.zeros_like(start), drift=drift)
    assert float(ddim) == pytest.approx(0.424, abs=0.002) and float(ddpm) == pytest.approx(0.839, abs=0.002)
    assert float(ddpm / ddim) == pytest.approx(1.98, abs=0.05)


def test_relative_guidance_carries_the_other_class_over_along_the_classifier_alone() -> None:
    # 16 values an item: the class shows in the first, the other 15 are N(0, 1) whatever the class.
    def exact(x: Tensor, sigma: Tensor) -> Denoised:
        parts = mixture([-1.5, 1.5], 0.6)(x[:, :1], sigma), mixture([0.0], 1.0)(x[:, 1:], sigma)
        return Denoised(torch.cat([p.x0 for p in parts], dim=1), torch.cat([p.eps for p in parts], dim=1))

    rest = torch.randn(200, 15, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x, sigmas = torch.cat([quantiles([-1.5, 1.5], 0.6, 100), rest], dim=1), karras_sigmas(0.006, 2.0, 25)
    z = heun(exact, x, sigmas)
    carried = []
    for rho in (0.0, 0.1, 0.3, 0.5):
        y = heun(relative_guidance(exact, log_p_positive, rho=rho), z, sigmas.flip(0))
        carried.append(int((y[:100, 0] > 0).sum()))
        assert int((y[100:, 0] > 0).sum()) >= 99
        assert float((y - x)[:, 1:].abs().max()) < 1e-3
    assert carried[0] == 1  # the outermost quantile of each class lies on the other side already
    assert carried[1] > 5 and carried[2] > 25 and carried[3] > 50
    swapped = heun(relative_guidance(exact, lambda v, s: log_p_positive(-v, s), rho=0.3), z, sigmas.flip(0))
    assert int((swapped[:, 0] > 0).sum()) < 75


def test_an_edm_network_of_unit_gaussian_data_is_zero_and_inverts_exactly_enough() -> None:
    x = quantiles([0.0], 1.0)
    denoise, sigmas = edm_denoiser(lambda v, c: torch.zeros_like(v)), karras_sigmas(0.006, 1.5, 25)
    z = heun(denoise, x, sigmas)
    torch.testing.assert_close(z, x * math.sqrt(1 + 1.5**2), rtol=2e-3, atol=0)
    torch.testing.assert_close(heun(denoise, z, sigmas.flip(0)), x, rtol=1e-3, atol=0)
