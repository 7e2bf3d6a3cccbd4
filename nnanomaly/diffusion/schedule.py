"""Noise schedules in float64, the conversions between x0 and eps, and the grids of levels that samplers walk.

VP coordinates: `x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps` for times `t = 0 .. T-1` (Ho et al., 2020). A time is
only an index; the noise level is `sigma_t = sqrt((1 - abar_t) / abar_t)`. The clean image has `sigma = 0`, which is no
time of the schedule (`sigma_0 > 0`). Fractional times are defined by linear interpolation of `ln sigma`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class NoiseSchedule:
    """Tables of a discrete diffusion process, float64 on the CPU whatever they are used with.

    Times are given as tensors [B], integer or floating; results have at least float32 and the device of their tensors.
    """

    beta: Tensor
    """[T] variance added by each step, in (0, 1)."""
    alpha_bar: Tensor = field(init=False)
    """[T] `cumprod(1 - beta)`: share of the variance that is signal, strictly decreasing in (0, 1)."""
    sigma: Tensor = field(init=False)
    """[T] `sqrt((1 - alpha_bar) / alpha_bar)`: noise to signal, strictly increasing."""

    def __post_init__(self) -> None:
        """Derive the tables; a copy of `beta` is kept, so that no caller can change them."""
        beta = self.beta.detach().to("cpu", torch.float64, copy=True)
        if beta.ndim != 1 or len(beta) < 2 or not bool(((beta > 0) & (beta < 1)).all()):
            raise ValueError(f"beta must be at least two values in (0, 1), got {tuple(beta.shape)} values {beta}")
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        object.__setattr__(self, "beta", beta)
        object.__setattr__(self, "alpha_bar", alpha_bar)
        object.__setattr__(self, "sigma", torch.sqrt((1 - alpha_bar) / alpha_bar))

    @property
    def num_timesteps(self) -> int:
        """T."""
        return len(self.beta)

    def sigma_of(self, t: Tensor) -> Tensor:
        """Noise level of times `t` (any shape): table look-up, or interpolated in `ln sigma` for fractional times."""
        table = _on(self.sigma, t.device)
        if not t.is_floating_point():
            return table[t]
        position = t.to(table.dtype).clamp(0, self.num_timesteps - 1)
        below = position.floor().long().clamp(max=self.num_timesteps - 2)
        return torch.lerp(table[below].log(), table[below + 1].log(), position - below).exp()

    def time_of(self, sigma: Tensor) -> Tensor:
        """Fractional time whose noise level is `sigma` (any shape), clipped to [0, T-1]; the inverse of `sigma_of`."""
        log_table = _on(self.sigma, sigma.device).log()
        log_sigma = sigma.to(log_table.dtype).log().clamp(log_table[0], log_table[-1])
        below = (torch.searchsorted(log_table, log_sigma, right=True) - 1).clamp(0, self.num_timesteps - 2)
        return below + (log_sigma - log_table[below]) / (log_table[below + 1] - log_table[below])

    def signal_and_noise(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """`sqrt(abar_t)` and `sqrt(1 - abar_t)` of times `t` [B], shaped to multiply `like` [B, ...]."""
        sigma = self.sigma_of(t)
        norm = torch.sqrt(1 + sigma**2)
        return per_item(1 / norm, like), per_item(sigma / norm, like)

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) noise`."""
        signal, spread = self.signal_and_noise(t, x0)
        return signal * x0 + spread * noise

    def x0_from_eps(self, x_t: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """`x0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)`."""
        signal, spread = self.signal_and_noise(t, x_t)
        return (x_t - spread * eps) / signal

    def eps_from_x0(self, x_t: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """`eps = (x_t - sqrt(abar_t) x0) / sqrt(1 - abar_t)`."""
        signal, spread = self.signal_and_noise(t, x_t)
        return (x_t - signal * x0) / spread


def cosine_schedule(num_timesteps: int, *, s: float = 0.008, max_beta: float = 0.9999) -> NoiseSchedule:
    """Nichol and Dhariwal (2021): `abar = f(t) / f(0)`, `f(t) = cos^2((t/T + s) / (1 + s) pi / 2)`, beta clipped.

    `beta_t = 1 - f(t+1) / f(t)`; the clip touches the last steps only, and `alpha_bar` is that of the clipped betas.
    """
    position = torch.arange(num_timesteps + 1, dtype=torch.float64) / num_timesteps
    f = torch.cos((position + s) / (1 + s) * torch.pi / 2) ** 2
    return NoiseSchedule((1 - f[1:] / f[:-1]).clamp(max=max_beta))


def linear_schedule(num_timesteps: int, *, beta_start: float = 1e-4, beta_end: float = 0.02) -> NoiseSchedule:
    """Ho et al. (2020): beta rises linearly from `beta_start` to `beta_end`."""
    return NoiseSchedule(torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64))


SCHEDULES: dict[str, Callable[[int], NoiseSchedule]] = {"cosine": cosine_schedule, "linear": linear_schedule}


def strided_times(last_time: int, num_steps: int) -> Tensor:
    """Times `tau_1 < ... < tau_K` of K steps from the clean image to `tau_K = last_time`, int64 [K].

    `tau_k = round(k L / K) - 1` with `L = last_time + 1`, so K = L is the unit stride 0, 1, .., L-1 of the paper. The
    clean image is level 0 and not in the list (METHOD 3.2).
    """
    if not 1 <= num_steps <= last_time + 1:
        raise ValueError(f"num_steps must be in 1 .. {last_time + 1} to reach time {last_time}, got {num_steps}")
    steps = torch.arange(1, num_steps + 1, dtype=torch.float64)
    return torch.round(steps * (last_time + 1) / num_steps).long() - 1


def karras_sigmas(sigma_min: float, sigma_max: float, num_steps: int, *, rho: float = 7.0) -> Tensor:
    """Levels 0, sigma_min, .., sigma_max for VE samplers: float64, ascending, `num_steps + 2` values.

    `sigma_k = (sigma_min^(1/rho) + k/K (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho`, k = 0 .. K (Karras et al., 2022,
    eq. 5, ascending), with the clean image in front: K intervals and one Euler step between 0 and sigma_min.
    """
    if not (0 < sigma_min < sigma_max and num_steps >= 1):
        raise ValueError(
            f"need 0 < sigma_min < sigma_max and num_steps >= 1, got {sigma_min}, {sigma_max}, {num_steps}"
        )
    ramp = torch.linspace(0, 1, num_steps + 1, dtype=torch.float64)
    sigmas = (sigma_min ** (1 / rho) + ramp * (sigma_max ** (1 / rho) - sigma_min ** (1 / rho))) ** rho
    sigmas[-1] = sigma_max  # the power of a root may miss it by one ulp, and callers compare
    return torch.cat([torch.zeros(1, dtype=torch.float64), sigmas])


def condition_of(sigma: Tensor) -> Tensor:
    """What a network is told of a noise level: `ln(sigma) / 4`, at least float32 (Karras et al., 2022, table 1)."""
    return at_least_float32(sigma).log() / 4


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision -> float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def per_item(values: Tensor, like: Tensor) -> Tensor:
    """[B] -> [B, 1, .., 1] on the device of `like` [B, ...], with its dtype but never below float32."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    return values.to(like.device, dtype).reshape(-1, *[1] * (like.ndim - 1))


def _on(table: Tensor, device: torch.device) -> Tensor:
    """The float64 table on another device; Apple's has no float64."""
    return table.to(device, torch.float32 if device.type == "mps" else torch.float64)
