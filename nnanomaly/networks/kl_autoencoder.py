"""KL autoencoder: encoder and decoder of the VQ-GAN around a Gaussian instead of a codebook (METHOD 1.7).

Legend: B batch, I channels of a patch, C channels of a latent, S = (Z, Y, X) voxels of a patch, s = S / stride voxels
of its latent. The encoder says mean and logarithm of the variance of every latent value. Training decodes a draw;
everything else uses the mean: a draw that is cached would put a floor, its own noise, under the diffusion loss.
"""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.networks.vqgan import ARCHITECTURES
from nnanomaly.plans import VQGANPlan

LOG_VARIANCE_RANGE = (-30.0, 20.0)
"""Beyond it, exp overflows or the gradient of the divergence explodes, and neither means anything."""


class Gaussian(NamedTuple):
    """Independent Gaussians of all values of a latent."""

    mean: Tensor
    """[B, C, *s]"""
    log_variance: Tensor
    """[B, C, *s]"""

    def sample(self, noise: Tensor) -> Tensor:
        """`mean + std * noise`; noise [B, C, *s] of unit variance, gradients flow into mean and variance."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def divergence(self) -> Tensor:
        """From unit Gaussians, in nats per item: `1/2 sum (mean^2 + var - 1 - ln var)` -> [B]."""
        terms = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * terms.flatten(1).sum(dim=1)


class VariationallyAutoencoded(NamedTuple):
    """What a pass without noise gives."""

    reconstruction: Tensor
    """[B, I, *S], of the mean."""
    posterior: Gaussian
    """The latent."""


class KLAutoencoder(Autoencoder):
    """Encoder with a head of mean and log variance, and the decoder, of a plan."""

    def __init__(self, plan: VQGANPlan, in_channels: int = 1) -> None:
        super().__init__()
        build_encoder, build_decoder = ARCHITECTURES[plan.architecture]
        self.encoder = build_encoder(replace(plan, latent_channels=2 * plan.latent_channels), in_channels)
        self.decoder = build_decoder(plan, in_channels)
        # Weights in this layout make every activation follow; with few channels that halves the time on CPU and GPU.
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def posterior(self, x: Tensor) -> Gaussian:
        """[B, I, *S] in [-1, 1] -> `Gaussian` of [B, C, *s]."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def encode(self, x: Tensor) -> Tensor:
        """The mean: [B, I, *S] in [-1, 1] -> [B, C, *s]."""
        return self.posterior(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """Patch of a latent: [B, C, *s] -> [B, I, *S]."""
        x: Tensor = self.decoder(z)
        return x

    def forward(self, x: Tensor) -> VariationallyAutoencoded:
        """Encode and decode the mean: [B, I, *S] -> `VariationallyAutoencoded`."""
        posterior = self.posterior(x)
        return VariationallyAutoencoded(self.decode(posterior.mean), posterior)
