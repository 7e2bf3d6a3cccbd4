"""VQ-GAN: an autoencoder whose latent is a volume of codes (METHOD 1.1 to 1.3).

Legend: B batch, I channels of a patch, C channels of a latent, S = (Z, Y, X) voxels of a patch, s = S / stride voxels
of its latent. Patches are in [-1, 1], latents unbounded; both leave this module in fp32, autocast or not: eight bits
would cost 1 HU in a patch and change one code in twenty.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.networks.autoencoders import resize_decoder, resize_encoder, transposed_decoder, transposed_encoder
from nnanomaly.networks.codebook import Codebook, straight_through
from nnanomaly.plans import VQGANPlan

Build = Callable[[VQGANPlan, int], nn.Module]
ARCHITECTURES: dict[str, tuple[Build, Build]] = {
    "resize": (resize_encoder, resize_decoder),
    "transposed": (transposed_encoder, transposed_decoder),
}


class Autoencoded(NamedTuple):
    """What the losses of one batch need."""

    reconstruction: Tensor
    """[B, I, *S]"""
    z: Tensor
    """[B, C, *s], encoder output, with gradient."""
    z_q: Tensor
    """[B, C, *s], the codes nearest to z, without gradient."""
    indices: Tensor
    """[B, *s] int64, the numbers of these codes."""


class VQGAN(Autoencoder):
    """Encoder, codebook and decoder of a plan. The codebook learns by `codebook.update`, never in `forward`."""

    def __init__(self, plan: VQGANPlan, in_channels: int = 1) -> None:
        super().__init__()
        build_encoder, build_decoder = ARCHITECTURES[plan.architecture]
        self.encoder = build_encoder(plan, in_channels)
        self.decoder = build_decoder(plan, in_channels)
        self.codebook = Codebook(
            plan.num_codes, plan.latent_channels, decay=plan.codebook_decay, restart_every=plan.restart_every
        )
        # Weights in this layout make every activation follow; with few channels that halves the time on CPU and GPU.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def encode(self, x: Tensor) -> Tensor:
        """Unquantised latent: [B, I, *S] in [-1, 1] -> [B, C, *s]."""
        z: Tensor = self.encoder(x)
        return z

    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest codes and their numbers: [B, C, *s] -> [B, C, *s] without gradient, [B, *s] int64."""
        return self.codebook.quantise(z)

    def decode(self, z: Tensor) -> Tensor:
        """Patch of a latent, quantised or not: [B, C, *s] -> [B, I, *S]."""
        x: Tensor = self.decoder(z)
        return x

    def decode_nearest(self, z: Tensor) -> Tensor:
        """Patch of the codes nearest to a latent: [B, C, *s] -> [B, I, *S]."""
        return self.decode(self.quantise(z)[0])

    def forward(self, x: Tensor) -> Autoencoded:
        """Encode, quantise with a straight-through gradient, decode: [B, I, *S] -> `Autoencoded`."""
        z = self.encode(x)
        z_q, indices = self.quantise(z)
        return Autoencoded(self.decode(straight_through(z, z_q)), z, z_q, indices)
