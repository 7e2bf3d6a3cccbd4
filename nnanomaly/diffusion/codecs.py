"""Codecs: what lies between an image and the representation the diffusion works in.

`encode` maps [B, C, Z, Y, X] in [-1, 1] to the representation, `decode` back. A codec owns every constant of its
representation (band scales, channel statistics), so the diffusion never knows which one it works on. Learned
autoencoders come in as two functions, wrapped by `StandardisedCodec` (default) or `RangeCodec` (paper).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

Transform = Callable[[Tensor], Tensor]


class Codec(Protocol):
    """Image <-> representation."""

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, Z, Y, X] in [-1, 1] -> representation."""

    def decode(self, z: Tensor) -> Tensor:
        """Representation -> [B, C, Z, Y, X]."""


class IdentityCodec:
    """The image itself."""

    def encode(self, x: Tensor) -> Tensor:
        """x -> x."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """z -> z."""
        return z


class HaarCodec:
    """One level of the 3D Haar transform: 8 channels at half the resolution for each channel, without loss.

    The low band (band 0 of each 8) is divided by sqrt(8): the mean of the block, so it stays in [-1, 1]. Wrap it in a
    `StandardisedCodec` for unit variance in all bands; white noise stays white either way.
    """

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, Z, Y, X], even Z, Y, X -> [B, 8 C, Z/2, Y/2, X/2]."""
        bands = haar(x)
        return bands * _haar_scale(bands)

    def decode(self, z: Tensor) -> Tensor:
        """The inverse of `encode`."""
        return inverse_haar(z / _haar_scale(z))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StandardisedCodec:
    """Unit variance per channel around another codec: `u_c = (z_c - mean_c) / std_c` (METHOD 1.7, `default`)."""

    to_latent: Transform
    """Image -> latent [B, C, Z, Y, X], unquantised."""
    from_latent: Transform
    """Latent -> image; quantises, if it does, itself."""
    mean: Tensor
    """[C] over all training latents."""
    std: Tensor
    """[C] over all training latents, positive."""

    def __post_init__(self) -> None:
        """Refuse a channel that never varies: it carries nothing and would divide by zero."""
        if self.mean.shape != self.std.shape or self.mean.ndim != 1:
            raise ValueError(f"mean and std must be [C], got {tuple(self.mean.shape)} and {tuple(self.std.shape)}")
        if not bool((self.std > 0).all()):
            raise ValueError(f"std must be positive in every channel, got {self.std.tolist()}")

    def encode(self, x: Tensor) -> Tensor:
        """Image -> standardised latent."""
        z = self.to_latent(x)
        return (z - _per_channel(self.mean, z)) / _per_channel(self.std, z)

    def decode(self, z: Tensor) -> Tensor:
        """Standardised latent -> image."""
        return self.from_latent(z * _per_channel(self.std, z) + _per_channel(self.mean, z))


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeCodec:
    """The codebook's range mapped to [-1, 1]: `u = 2 (z - low) / (high - low) - 1` (METHOD 1.7, `paper`).

    The latents' standard deviation is then well below 1 (0.22 for Gaussian codes), and the same time of a schedule is a
    higher noise level than it looks (METHOD 1.7).
    """

    to_latent: Transform
    """Image -> latent [B, C, Z, Y, X], unquantised."""
    from_latent: Transform
    """Latent -> image; quantises, if it does, itself."""
    low: float
    """Smallest entry of the codebook."""
    high: float
    """Largest entry of the codebook."""

    def __post_init__(self) -> None:
        """Check the range."""
        if not self.low < self.high:
            raise ValueError(f"low must be below high, got {self.low} and {self.high}")

    def encode(self, x: Tensor) -> Tensor:
        """Image -> scaled latent; it may leave [-1, 1]."""
        return 2 * (self.to_latent(x) - self.low) / (self.high - self.low) - 1

    def decode(self, z: Tensor) -> Tensor:
        """Scaled latent -> image."""
        return self.from_latent((z + 1) / 2 * (self.high - self.low) + self.low)


class ChannelStatistics(NamedTuple):
    """Per channel over all items and voxels, float64 on the CPU."""

    mean: Tensor
    """[C]."""
    std: Tensor
    """[C], of the population."""


def fit_channel_statistics(latents: Iterable[Tensor]) -> ChannelStatistics:
    """Mean and standard deviation per channel of batches [B, C, Z, Y, X], each read once (Chan's merge, float64)."""
    count, mean, squares = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for batch in latents:
        values = batch.detach().to("cpu", torch.float64).transpose(0, 1).flatten(1)
        added, batch_mean = values.shape[1], values.mean(dim=1)
        shift = batch_mean - mean
        squares = (
            squares + ((values - batch_mean[:, None]) ** 2).sum(dim=1) + shift**2 * (count * added / (count + added))
        )
        mean = mean + shift * (added / (count + added))
        count += added
    if count == 0:
        raise ValueError("no latents to take statistics of; encode at least one training patch")
    return ChannelStatistics(mean, (squares / count).sqrt())


def haar(x: Tensor) -> Tensor:
    """Orthonormal: [B, C, Z, Y, X] -> [B, 8 C, Z/2, Y/2, X/2]; channel 8 c + 4 z + 2 y + x, 0 = low, 1 = high per axis.

    Per axis: low = (even + odd) / sqrt(2), high = (even - odd) / sqrt(2).
    """
    if any(n % 2 for n in x.shape[2:]):
        raise ValueError(f"the Haar transform needs even extents, got {tuple(x.shape[2:])}; pad the patch")
    bands = [x]
    for axis in (2, 3, 4):
        bands = [band for x in bands for band in _split(x, axis)]
    return torch.stack(bands, dim=2).flatten(1, 2)


def inverse_haar(bands: Tensor) -> Tensor:
    """The inverse (and transpose) of `haar`."""
    parts = list(bands.reshape(len(bands), -1, 8, *bands.shape[2:]).unbind(dim=2))
    for axis in (4, 3, 2):
        parts = [_join(low, high, axis) for low, high in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _split(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Low and high band along one axis."""
    even, odd = x.unfold(axis, 2, 2).unbind(dim=-1)
    return (even + odd) * 0.5**0.5, (even - odd) * 0.5**0.5


def _join(low: Tensor, high: Tensor, axis: int) -> Tensor:
    """Undo `_split`."""
    return torch.stack(((low + high) * 0.5**0.5, (low - high) * 0.5**0.5), dim=axis + 1).flatten(axis, axis + 1)


def _haar_scale(bands: Tensor) -> Tensor:
    """[8 C] factors of the bands, shaped to multiply them."""
    scale = torch.ones(8, device=bands.device, dtype=bands.dtype)
    scale[0] = 8**-0.5
    return _per_channel(scale.repeat(bands.shape[1] // 8), bands)


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    """[C] -> [C, 1, 1, 1] with device and dtype of `like`."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 2))
