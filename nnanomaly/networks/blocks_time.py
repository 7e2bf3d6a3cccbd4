"""Parts of the time-conditioned networks: time embedding, FiLM residual block, self-attention over voxels, resizing.

Legend: B batch, C channels, S = (Z, Y, X) voxels, N = Z*Y*X, H heads, D channels of a head, T width of the time
embedding. A time is one real number per sample: ln(sigma)/4 for the `edm` process, t in 0..T-1 for `ddpm`. Equations:
sinusoidal features of Vaswani et al. 2017, feature-wise linear modulation (FiLM) of Perez et al. 2018, METHOD 2.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.networks.blocks import group_norm
from nnanomaly.utilities.errors import ConfigurationError

# Lowest and highest frequency in rad per unit of time. ddpm: wavelengths from 6 to 60,000 steps. edm: the 25 levels of
# a sampling run lie about 0.05 apart in ln(sigma)/4, so 50 rad tells neighbours apart and 0.5 rad orders all of them.
FREQUENCIES = {"ddpm": (1e-4, 1.0), "edm": (0.5, 50.0)}


def zero_init(module: nn.Module) -> nn.Module:
    """The module with all parameters set to 0, so that a residual branch starts as the identity."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


def fourier_features(time: Tensor, count: int, *, process: str) -> Tensor:
    """[sin(w_k t), cos(w_k t)] for `count`/2 geometrically spaced w_k: [B] -> [B, count], always float32.

    The frequencies are made here and not kept as a buffer: casting a network to half precision cannot spoil them.
    """
    low, high = (math.log(frequency) for frequency in FREQUENCIES[process])
    frequencies = torch.linspace(high, low, count // 2, dtype=torch.float32, device=time.device).exp()
    angles = time.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Fourier features, Linear, GELU, Linear: [B] -> [B, width]."""

    def __init__(self, features: int, width: int, *, process: str) -> None:
        super().__init__()
        if features % 2:
            raise ConfigurationError(
                "CFG-PLAN", f"plans field widths begins with {features}, but must begin with an even number"
            )
        self.features, self.process = features, process
        self.narrow, self.wide = nn.Linear(features, width), nn.Linear(width, width)

    def forward(self, time: Tensor) -> Tensor:
        """[B] -> [B, T]."""
        features = fourier_features(time, self.features, process=self.process)
        embedding: Tensor = self.wide(F.gelu(self.narrow(features.to(self.narrow.weight.dtype))))
        return embedding


class FiLM(nn.Module):
    """h * (1 + scale(e)) + shift(e), scale and shift being linear in SiLU(e)."""

    def __init__(self, embedding_width: int, channels: int) -> None:
        super().__init__()
        self.projection = nn.Linear(embedding_width, 2 * channels)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        """[B, C, *S], [B, T] -> [B, C, *S]."""
        scale, shift = self.projection(F.silu(embedding)).to(h.dtype)[:, :, None, None, None].chunk(2, dim=1)
        return torch.addcmul(shift, h, scale + 1)


class TimeResBlock(nn.Module):
    """x + conv(SiLU(FiLM(norm(conv(SiLU(norm(x))))))), the last convolution starting at 0."""

    def __init__(self, in_channels: int, out_channels: int, embedding_width: int) -> None:
        super().__init__()
        self.norm1 = group_norm(in_channels)
        self.conv1 = nn.Conv3d(in_channels, out_channels, 3, padding=1)
        self.norm2 = group_norm(out_channels)
        self.film = FiLM(embedding_width, out_channels)
        self.conv2 = zero_init(nn.Conv3d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.skip: nn.Module = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, C_in, *S], [B, T] -> [B, C_out, *S]."""
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.film(self.norm2(h), embedding)))
        out: Tensor = self.skip(x) + h
        return out


class VoxelAttention(nn.Module):
    """x + W softmax(q k^T / sqrt(D)) v over all voxels, q, k, v linear in norm(x); W starts at 0."""

    def __init__(self, channels: int, head_channels: int) -> None:
        super().__init__()
        if channels % head_channels:
            raise ConfigurationError(
                "CFG-PLAN",
                f"plans field head_channels is {head_channels}, but must divide the width {channels} it attends at",
            )
        self.heads = channels // head_channels
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C, *S]."""
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # [B, N, C]
        projected: Tensor = self.qkv(tokens)
        q, k, v = projected.view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [B, H, N, D] each
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # [B, N, C]
        update: Tensor = self.out(attended).transpose(1, 2)  # [B, C, N]
        return x + update.reshape(x.shape)


def downsample(channels: int) -> nn.Module:
    """Convolution with stride 2: [B, C, *S] -> [B, C, *S/2]."""
    return nn.Conv3d(channels, channels, 3, stride=2, padding=1)


def upsample(in_channels: int, out_channels: int) -> nn.Module:
    """Nearest neighbours, then a convolution: [B, C_in, *S] -> [B, C_out, *2S]."""
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv3d(in_channels, out_channels, 3, padding=1)
    )


def require_divisible(size: tuple[int, ...], factors: tuple[int, ...]) -> None:
    """A latent that the network cannot halve often enough is refused with both numbers."""
    if any(length % factor for length, factor in zip(size, factors, strict=True)):
        raise ConfigurationError(
            "CFG-LATENT",
            f"a latent of {size} voxels cannot be denoised: the U-Net of this plan needs multiples of {factors}."
            " Change patch_size or the number of widths in the plans file",
        )
