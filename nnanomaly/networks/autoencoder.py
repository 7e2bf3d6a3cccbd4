"""What every autoencoder of stage 1 offers, and the one of a transform that has nothing to learn (METHOD 1.7).

Legend: B batch, I channels of a patch, C channels of a latent, S = (Z, Y, X) voxels of a patch, s = S / stride voxels
of its latent. Patches are in [-1, 1], latents unbounded.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

Transform = Callable[[Tensor], Tensor]


class Reconstructed(NamedTuple):
    """What a transform makes of a batch."""

    reconstruction: Tensor
    """[B, I, *S]"""


class Autoencoder(nn.Module):
    """Patches to latents and back. `forward` returns a tuple with at least the `reconstruction` [B, I, *S]."""

    def encode(self, x: Tensor) -> Tensor:
        """The latent that is cached and diffused: [B, I, *S] in [-1, 1] -> [B, C, *s]; nothing in it is drawn."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """[B, C, *s] -> [B, I, *S]."""
        raise NotImplementedError


class FixedAutoencoder(Autoencoder):
    """An invertible transform without weights: its checkpoint is empty, and it reconstructs up to rounding."""

    def __init__(self, to_latent: Transform, from_latent: Transform) -> None:
        super().__init__()
        self.to_latent, self.from_latent = to_latent, from_latent

    def encode(self, x: Tensor) -> Tensor:
        """[B, I, *S] -> [B, C, *s]."""
        return self.to_latent(x)

    def decode(self, z: Tensor) -> Tensor:
        """[B, C, *s] -> [B, I, *S]."""
        return self.from_latent(z)

    def forward(self, x: Tensor) -> Reconstructed:
        """Encode and decode."""
        return Reconstructed(self.decode(self.encode(x)))
