"""From a network to a `Denoiser`, with the training loss beside it so that both use the same scalings.

A `Denoiser` maps `(x [B, C, *S], level [B])` to a `Denoised` of the clean image and of the unit-variance noise, in VP
or VE coordinates (see the package). A prediction is always consistent with its input: VP `x_t = sqrt(abar) x0 +
sqrt(1 - abar) eps`, VE `x = x0 + sigma eps`. Networks may answer in bfloat16; everything here is at least float32.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from nnanomaly.diffusion.schedule import NoiseSchedule, at_least_float32, condition_of, per_item


class Denoised(NamedTuple):
    """What a denoiser believes of its input: the same statement said twice."""

    x0: Tensor
    """[B, C, *S] the clean image."""
    eps: Tensor
    """[B, C, *S] the noise, of unit variance."""


Network = Callable[[Tensor, Tensor], Tensor]
Denoiser = Callable[[Tensor, Tensor], Denoised]


def eps_denoiser(network: Network, schedule: NoiseSchedule) -> Denoiser:
    """VP denoiser of a network that predicts eps from `(x_t, t)`."""

    def denoise(x_t: Tensor, t: Tensor) -> Denoised:
        x_t = at_least_float32(x_t)
        eps = at_least_float32(network(x_t, t))
        return Denoised(schedule.x0_from_eps(x_t, eps, t), eps)

    return denoise


def clamped(denoise: Denoiser, schedule: NoiseSchedule, *, limit: float) -> Denoiser:
    """A VP denoiser whose x0 stays in [-limit, limit], eps being recomputed from it (METHOD 2.2, ancestral sampling).

    It cannot be inverted: use it for `ddpm_sample` only.
    """

    def denoise_clamped(x_t: Tensor, t: Tensor) -> Denoised:
        x_t = at_least_float32(x_t)
        x0 = denoise(x_t, t).x0.clamp(-limit, limit)
        return Denoised(x0, schedule.eps_from_x0(x_t, x0, t))

    return denoise_clamped


def eps_loss(network: Network, x0: Tensor, t: Tensor, *, noise: Tensor, schedule: NoiseSchedule) -> Tensor:
    """Mean `|noise - network(x_t, t)|`, no weighting (METHOD 2.2); x0, noise [B, C, *S], t [B] -> scalar."""
    prediction = network(schedule.add_noise(x0, noise, t), t)
    return functional.l1_loss(at_least_float32(prediction), at_least_float32(noise))


def edm_denoiser(network: Network, sigma_data: float = 1.0) -> Denoiser:
    """VE denoiser of a preconditioned network F (Karras et al., 2022, eq. 7): levels are `sigma > 0`.

    `x0 = c_skip x + c_out F(c_in x, ln(sigma) / 4)` with `c_skip = sd^2 / (sigma^2 + sd^2)`, `c_out = sigma sd c_in`,
    `c_in = 1 / sqrt(sigma^2 + sd^2)`. From `eps = (x - x0) / sigma` follows `eps = sigma c_in^2 x - sd c_in F`, used as
    it stands: no division by a small sigma.
    """

    def denoise(x: Tensor, sigma: Tensor) -> Denoised:
        x = at_least_float32(x)
        level, c_in = per_item(sigma, x), _input_scale(sigma, x, sigma_data)
        output = at_least_float32(network(c_in * x, condition_of(sigma)))
        x0 = c_in**2 * sigma_data**2 * x + level * sigma_data * c_in * output
        return Denoised(x0, level * c_in**2 * x - sigma_data * c_in * output)

    return denoise


def edm_loss(network: Network, x0: Tensor, sigma: Tensor, *, noise: Tensor, sigma_data: float = 1.0) -> Tensor:
    """Mean `w |D(x0 + sigma noise; sigma) - x0|^2`, `w = (sigma^2 + sd^2) / (sigma sd)^2` (METHOD 2.3) -> scalar.

    As `w c_out^2 = 1`, this is the mean square of `F - (x0 - c_skip x) / c_out`, and that target is
    `c_in (sigma / sd x0 - sd noise)`: unit variance at every level, and no difference of large numbers.
    """
    x0 = at_least_float32(x0)
    level, c_in = per_item(sigma, x0), _input_scale(sigma, x0, sigma_data)
    output = at_least_float32(network(c_in * (x0 + level * noise), condition_of(sigma)))
    return functional.mse_loss(output, c_in * (level / sigma_data * x0 - sigma_data * noise))


def _input_scale(sigma: Tensor, like: Tensor, sigma_data: float) -> Tensor:
    """`c_in` [B, 1, .., 1]."""
    return torch.rsqrt(per_item(sigma, like) ** 2 + sigma_data**2)
