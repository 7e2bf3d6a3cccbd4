"""Pictures of a model of latents while it trains: what one step makes of a noised held-out patch, decoded."""

from collections.abc import Callable

import torch
from torch import Tensor

from nnanomaly.build import build_process
from nnanomaly.device import autocast
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.denoiser import Network
from nnanomaly.plans import Plans

Show = Callable[[Network, Tensor, torch.Generator], tuple[Tensor, Tensor]]
"""(network, latents [B, C, Z, Y, X], generator) -> patches [B, 1, Z, Y, X]: the decoded latents, and the model's."""


def show_denoised(plans: Plans, codec: Codec, device: torch.device) -> Show:
    """Noise latents to the level of the reconstruction, denoise in one step, decode; and decode them as they are.

    A single step gives the mean of all healthy organs that fit: smoother than a reconstruction in several steps, but
    an anatomy that is lost here is lost there too.
    """
    process = build_process(plans.ddpm)
    planned = process.level_of(plans.inference.sigma).to(device)

    def show(network: Network, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        u = latents.float().to(device)
        noise = process.noise(u.shape[1:], [generator] * len(u)).to(device)
        level = planned.expand(len(u))
        with autocast(device, plans.ddpm.training.precision):
            healthy = process.denoiser(network)(process.add_noise(u, noise, level), level).x0
            return codec.decode(u).float(), codec.decode(healthy).float()

    return show
