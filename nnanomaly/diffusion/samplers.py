"""Samplers as pure functions of a denoiser, a state and a list of levels; they know no network, no image and no file.

Levels (METHOD 3.2): k = 0 is the clean image with sigma = 0; levels k = 1 .. K are noisy. Going up, eps is evaluated at
`(x_k, level_k)`, with level_1 in place of level_0 at k = 0, where no network was trained. Going down it is evaluated at
`(x_k, level_k)` for k = K .. 1 and the last step ends at sigma = 0. VP samplers take the times `tau_1 < .. < tau_K` of
a schedule, level 0 being understood, and the same tensor serves both directions; `heun` works in VE coordinates and
takes sigmas in the order in which it walks them. Step sizes are float64 numbers; the state has at least float32.

`SAMPLERS` at the end makes round trips of them: clean images up to a noise level and down again. A new sampler is its
functions here and an entry there, and its name in the plans.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoised, Denoiser, clamped
from nnanomaly.diffusion.noise import step_noise
from nnanomaly.diffusion.process import VP, Process
from nnanomaly.diffusion.schedule import NoiseSchedule, at_least_float32


class Step(NamedTuple):
    """What a callback is told after each step."""

    done: int
    """Steps done, this one included."""
    num_steps: int
    """Steps of the whole chain."""
    sigma: float
    """Noise level of `x`."""
    x: Tensor
    """The state the step arrived at, in the sampler's coordinates."""
    prediction: Denoised
    """The denoiser's answer at the start of the step."""


Callback = Callable[[Step], None]
NoiseSource = Callable[[int], Tensor]
Drift = Callable[[Tensor, Tensor], Tensor]
Generators = Sequence[torch.Generator]


class Ways(NamedTuple):
    """The denoisers of a round trip."""

    up: Denoiser
    """For the inversion, unguided."""
    down: Callable[[], Denoiser]
    """Makes the guided one anew for every chain: it may remember where it has been."""
    drift: Drift | None = None
    """The same guidance as a shift of the mean, for ancestral sampling; None = not guided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trip:
    """Where a round trip goes."""

    process: Process
    """In which it runs."""
    ways: Ways
    """Who answers on it."""
    sigma: float
    """Noise level at which it turns."""
    num_steps: int
    """Steps of each way."""
    inverts: bool
    """Whether it goes up along the probability flow; otherwise noise is added."""
    limit: float | None = None
    """Clean images that ancestral sampling believes in stay in [-limit, limit]."""


@torch.no_grad()
def ddim_invert(
    denoise: Denoiser, x: Tensor, levels: Tensor, *, schedule: NoiseSchedule, callback: Callback | None = None
) -> Tensor:
    """Clean image -> VP state at `levels[-1]` along the probability flow: explicit Euler in sigma (METHOD 3.1).

    `xb' = xb + (sigma' - sigma) eps` with `xb = x / sqrt(abar)`. x [B, C, *S]; levels [K] ascending times. The denoiser
    must be neither guided nor clamped, or `ddim_sample` will not come back.
    """
    x, sigmas = at_least_float32(x), _sigmas_from_clean(levels, schedule)
    for k in range(len(levels)):
        prediction = denoise(x, _level(levels[max(k, 1) - 1], x))
        before, after = sigmas[k], sigmas[k + 1]
        x = (x * math.sqrt(1 + before**2) + (after - before) * prediction.eps) / math.sqrt(1 + after**2)
        _report(callback, Step(k + 1, len(levels), after, x, prediction))
    return x


@torch.no_grad()
def ddim_sample(
    denoise: Denoiser,
    x: Tensor,
    levels: Tensor,
    *,
    schedule: NoiseSchedule,
    eta: float = 0.0,
    noise: NoiseSource | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """VP state at `levels[-1]` -> clean image (Song et al., 2021, eq. 12).

    `x' = sqrt(abar') x0 + sqrt(1 - abar' - sd^2) eps + sd n`, `sd = eta sqrt(betatilde)`. levels [K] are the ascending
    times that `ddim_invert` was given. `noise(index)` gives n and is needed where `eta > 0`.
    """
    if (eta > 0) != (noise is not None):
        raise ValueError(f"eta = {eta} and a noise source belong together: give both, or neither")
    x = at_least_float32(x)
    for index, (level, before, after) in enumerate(_descent(levels, schedule)):
        prediction = denoise(x, _level(level, x))
        variance = eta**2 * _posterior_variance(before, after)
        signal, spread = _signal_and_noise(after)
        x = signal * prediction.x0 + math.sqrt(max(spread**2 - variance, 0.0)) * prediction.eps
        if noise is not None and variance > 0:
            x = x + math.sqrt(variance) * noise(index).to(x)
        _report(callback, Step(index + 1, len(levels), after, x, prediction))
    return x


@torch.no_grad()
def ddpm_sample(
    denoise: Denoiser,
    x: Tensor,
    levels: Tensor,
    *,
    schedule: NoiseSchedule,
    noise: NoiseSource,
    drift: Drift | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """VP state at `levels[-1]` -> clean image by ancestral sampling (METHOD 2.2; Ho et al., 2020, eq. 7).

    `mu = (sqrt(abar') beta x0 + sqrt(1 - beta) (1 - abar') x) / (1 - abar)` with `1 - beta = abar / abar'`, variance
    `betatilde = beta (1 - abar') / (1 - abar)`; none at the last step. levels [K] ascending times, unit stride in the
    paper. `drift(x, level)` moves the mean by `betatilde * drift` (`guidance.classifier_drift`). `noise(index)` gives
    unit Gaussians of the shape of x.
    """
    x = at_least_float32(x)
    for index, (level, before, after) in enumerate(_descent(levels, schedule)):
        prediction = denoise(x, _level(level, x))
        variance = _posterior_variance(before, after)
        weight_x0, weight_x = _posterior_weights(before, after)
        mean = weight_x0 * prediction.x0 + weight_x * x
        if drift is not None:
            mean = mean + variance * drift(x, _level(level, x))
        x = mean + math.sqrt(variance) * noise(index).to(x) if variance > 0 else mean
        _report(callback, Step(index + 1, len(levels), after, x, prediction))
    return x


@torch.no_grad()
def heun(denoise: Denoiser, x: Tensor, sigmas: Tensor, *, callback: Callback | None = None) -> Tensor:
    """VE state at `sigmas[0]` -> VE state at `sigmas[-1]`, ascending (encode) or descending (decode).

    Second order in `dx / dsigma = eps`: the mean of the slopes at both ends of an interval (Karras et al., 2022,
    alg. 1, no churn). The step that touches sigma = 0 is Euler with eps at the level next to it, so a `karras_sigmas`
    grid of K intervals costs 2 K + 1 evaluations. x [B, C, *S]; sigmas [N], 0 at one end or absent.
    """
    levels = [float(s) for s in sigmas]
    rising = all(a < b for a, b in zip(levels, levels[1:], strict=False))
    if len(levels) < 2 or min(levels) < 0 or not (rising or _falls(levels)):
        raise ValueError(f"sigmas must be at least two, not negative, and strictly rise or fall; got {levels}")
    x = at_least_float32(x)
    for index, (before, after) in enumerate(zip(levels, levels[1:], strict=False)):
        prediction = denoise(x, _level(sigmas[index] if before > 0 else sigmas[index + 1], x))
        slope = prediction.eps
        if before > 0 and after > 0:
            end = denoise(x + (after - before) * slope, _level(sigmas[index + 1], x))
            slope = (slope + end.eps) / 2
        x = x + (after - before) * slope
        _report(callback, Step(index + 1, len(levels) - 1, after, x, prediction))
    return x


def _sigmas_from_clean(levels: Tensor, schedule: NoiseSchedule) -> list[float]:
    """[0, sigma(tau_1), .., sigma(tau_K)] of ascending times."""
    times = levels.tolist()
    if not times or not _falls(times[::-1]) or not 0 <= times[0] <= times[-1] <= schedule.num_timesteps - 1:
        raise ValueError(f"levels must be ascending times in 0 .. {schedule.num_timesteps - 1}, got {times}")
    return [0.0, *schedule.sigma_of(levels).tolist()]


def _descent(levels: Tensor, schedule: NoiseSchedule) -> Iterator[tuple[Tensor, float, float]]:
    """(time tau_k, sigma_k, sigma_{k-1}) for k = K .. 1."""
    sigmas = _sigmas_from_clean(levels, schedule)
    return zip(levels.flip(0), reversed(sigmas[1:]), reversed(sigmas[:-1]), strict=True)


def _signal_and_noise(sigma: float) -> tuple[float, float]:
    """`sqrt(abar)` and `sqrt(1 - abar)` of a noise level."""
    norm = math.sqrt(1 + sigma**2)
    return 1 / norm, sigma / norm


def _posterior_variance(before: float, after: float) -> float:
    """`betatilde = (1 - abar / abar') (1 - abar') / (1 - abar)`; 0 when `after` is the clean image."""
    # Written in sigmas, (s^2 - s'^2) / (1 + s'^2) s'^2 / s^2: free of the cancellation in 1 - abar.
    return (before**2 - after**2) / (1 + after**2) * (after / before) ** 2


def _posterior_weights(before: float, after: float) -> tuple[float, float]:
    """What x0 and x weigh in the mean of `q(x' | x, x0)`."""
    ratio = (after / before) ** 2
    return (1 - ratio) / math.sqrt(1 + after**2), ratio * math.sqrt((1 + before**2) / (1 + after**2))


def _falls(values: list[float]) -> bool:
    """Whether each value is smaller than the one before."""
    return all(a > b for a, b in zip(values, values[1:], strict=False))


def _level(level: Tensor, x: Tensor) -> Tensor:
    """One level for the whole batch, [B] on the device of x; a sigma or fractional time has the dtype of x."""
    return level.to(x.device, x.dtype if level.is_floating_point() else level.dtype).expand(len(x))


def _report(callback: Callback | None, step: Step) -> None:
    """Tell the callback, if there is one."""
    if callback is not None:
        callback(step)


def _heun_trip(trip: Trip, u: Tensor, generators: Generators) -> Tensor:
    """Second order in sigma, both ways on the same grid."""
    sigmas = trip.process.grid(trip.sigma, trip.num_steps)
    x = heun(trip.ways.up, u, sigmas) if trip.inverts else _noised(trip, u, generators)
    return heun(trip.ways.down(), x, sigmas.flip(0))


def _one_step_trip(trip: Trip, u: Tensor, generators: Generators) -> Tensor:
    """The denoiser's clean image at the noise level: the mean over all ways down, in one evaluation."""
    return trip.ways.up(_noised(trip, u, generators), _level(trip.process.level_of(trip.sigma), u)).x0


def _ddim_trip(trip: Trip, u: Tensor, generators: Generators) -> Tensor:
    """The paper's DDIM: deterministic up, guided down by an eps shift."""
    times, schedule = trip.process.grid(trip.sigma, trip.num_steps), _schedule_of(trip)
    if trip.inverts:
        x_t = ddim_invert(trip.ways.up, u, times, schedule=schedule)
    else:
        x_t = _noised(trip, u, generators)
    return ddim_sample(trip.ways.down(), x_t, times, schedule=schedule)


def _ddpm_trip(trip: Trip, u: Tensor, generators: Generators) -> Tensor:
    """The paper's DDPM: noised up whatever the trip says, ancestral sampling down with a mean shift."""
    times, schedule, denoise = trip.process.grid(trip.sigma, trip.num_steps), _schedule_of(trip), trip.ways.up
    if trip.limit is not None:
        denoise = clamped(denoise, schedule, limit=trip.limit)
    x_t, draw = _noised(trip, u, generators), step_noise(trip.process.noise, u.shape[1:], generators)
    return ddpm_sample(denoise, x_t, times, schedule=schedule, noise=draw, drift=trip.ways.drift)


Sampler = Callable[[Trip, Tensor, Generators], Tensor]
"""(trip, clean images u [B, C, *S], one generator per item) -> clean images like u."""
SAMPLERS: dict[str, Sampler] = {
    "heun": _heun_trip,
    "one_step": _one_step_trip,
    "ddim": _ddim_trip,
    "ddpm": _ddpm_trip,
}


def _noised(trip: Trip, u: Tensor, generators: Generators) -> Tensor:
    """The state at the noise level, drawn from what the process makes of u."""
    noise = trip.process.noise(u.shape[1:], generators).to(u)
    return trip.process.add_noise(u, noise, _level(trip.process.level_of(trip.sigma), u))


def _schedule_of(trip: Trip) -> NoiseSchedule:
    """Times exist in VP alone."""
    assert isinstance(trip.process, VP)  # plans of another process cannot ask for such a sampler
    return trip.process.schedule
