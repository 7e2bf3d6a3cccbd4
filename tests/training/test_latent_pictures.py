"""What one step makes of noised latents, for networks that answer zero: closed forms of both processes."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from nnanomaly.diffusion.codecs import IdentityCodec
from nnanomaly.plans import Plans
from nnanomaly.training.latent_pictures import show_denoised

CPU = torch.device("cpu")


def noise_of(seed: int, shape: torch.Size) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def shown(plans: Plans, latents: Tensor) -> tuple[Tensor, Tensor]:
    show = show_denoised(plans, IdentityCodec(), CPU)
    return show(lambda x, time: torch.zeros_like(x), latents, torch.Generator().manual_seed(5))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_latents_are_noised_to_the_level_of_the_reconstruction_and_denoised_in_one_step(
    preset: str, tiny_plans: Callable[..., Plans]
) -> None:
    plans = tiny_plans(preset, dataset="Dataset501_X")
    latents = noise_of(1, torch.Size((1, 2, 4, 4, 4)))
    sigma, noise = plans.inference.sigma, noise_of(5, latents.shape)
    as_they_are, denoised = shown(plans, latents)
    assert torch.equal(as_they_are, latents)
    if plans.ddpm.process == "edm":  # x0 = c_skip x, c_skip = 1 / (sigma^2 + 1)
        assert torch.allclose(denoised, (latents + sigma * noise) / (sigma**2 + 1), atol=1e-5)
    else:  # x0 = x_t / sqrt(alpha_bar) = u + sigma_t noise, and sigma_t is nearly sigma
        assert torch.allclose(denoised, latents + sigma * noise, atol=0.02 * sigma * float(noise.abs().max()))
