"""Pictures of a model of latents while it trains: what one step makes of a noised held-out patch, decoded."""

from collections.abc import Callable

import torch
from torch import Tensor

from nnanomaly.device import autocast
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.denoiser import Network, edm_denoiser, eps_denoiser
from nnanomaly.diffusion.schedule import cosine_schedule
from nnanomaly.plans import Plans

Show = Callable[[Network, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(network, latents [B, C, Z, Y, X], generator) -> patches [B, 1, Z, Y, X]: the decoded latents, and the model's."""


def show_denoised(plans: Plans, codec: Codec, device: torch.device) -> Show:
    """Noise latents to the level of the reconstruction, denoise in one step, decode; and decode them as they are.

    A single step gives the mean of all healthy organs that fit: smoother than a reconstruction in several steps, but
    an anatomy that is lost here is lost there too.
    """
    denoise = _one_step(plans, device)

    def show(network: Network, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = latents.float().to(device)
        noise = torch.randn(latents.shape, generator=generator).to(device)
        with autocast(device, plans.ddpm.training.precision):
            healthy = denoise(network, u, noise)
            return codec.decode(u).float(), codec.decode(healthy).float()

    return show


def _one_step(plans: Plans, device: torch.device) -> Callable[[Network, Tensor, Tensor], Tensor]:
    sigma = plans.inference.sigma
    if plans.ddpm.process == "ddpm":
        schedule = cosine_schedule(plans.ddpm.num_timesteps)
        nearest = int((schedule.sigma - sigma).abs().argmin())

        def from_step(network: Network, u: Tensor, noise: Tensor) -> Tensor:
            t = torch.full((len(u),), nearest, device=device)
            return eps_denoiser(network, schedule)(schedule.add_noise(u, noise, t), t).x0

        return from_step

    def from_sigma(network: Network, u: Tensor, noise: Tensor) -> Tensor:
        return edm_denoiser(network)(u + sigma * noise, torch.full((len(u),), sigma, device=device)).x0

    return from_sigma
