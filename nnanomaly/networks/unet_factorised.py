"""The paper's denoising U-Net: convolutions in plane only, slices talk through attention along depth (METHOD 2.1).

Kernels are (1, 3, 3); depth is never downsampled and never convolved. Each level has two residual blocks, linear
attention in plane and full attention along depth; the first convolution is (1, 7, 7) and its output joins the last
block. Widths come from the plan; the paper's (24, 48, 96, 192) give 6.0 M parameters.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.networks.attention_axial import DepthAttention, LinearSliceAttention, RelativeBias, SliceAttention
from nnanomaly.networks.blocks_time import FiLM, TimeEmbedding, require_divisible
from nnanomaly.plans import DiffusionPlan
from nnanomaly.utilities.errors import ConfigurationError

NUM_GROUPS = 8
BLOCKS_PER_LEVEL = 2
EMBEDDING_FACTOR = 4  # width of the time embedding, in units of the finest width


def _in_plane(in_channels: int, out_channels: int, kernel: int) -> nn.Conv3d:
    return nn.Conv3d(in_channels, out_channels, (1, kernel, kernel), padding=(0, kernel // 2, kernel // 2))


class PlanarResBlock(nn.Module):
    """SiLU(norm(conv(SiLU(FiLM(norm(conv(x))))))) + skip(x), convolutions in plane, GroupNorm of 8 groups."""

    def __init__(self, in_channels: int, out_channels: int, embedding_width: int) -> None:
        super().__init__()
        self.conv1 = _in_plane(in_channels, out_channels, 3)
        self.norm1 = nn.GroupNorm(NUM_GROUPS, out_channels)
        self.film = FiLM(embedding_width, out_channels)
        self.conv2 = _in_plane(out_channels, out_channels, 3)
        self.norm2 = nn.GroupNorm(NUM_GROUPS, out_channels)
        same = in_channels == out_channels
        self.skip: nn.Module = nn.Identity() if same else nn.Conv3d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, C_in, *S], [B, T] -> [B, C_out, *S]."""
        h = F.silu(self.film(self.norm1(self.conv1(x)), embedding))
        out: Tensor = F.silu(self.norm2(self.conv2(h))) + self.skip(x)
        return out


class FactorisedLevel(nn.Module):
    """Two residual blocks, linear attention in plane, attention along depth."""

    def __init__(self, in_channels: int, out_channels: int, embedding_width: int) -> None:
        super().__init__()
        self.block1 = PlanarResBlock(in_channels, out_channels, embedding_width)
        self.block2 = PlanarResBlock(out_channels, out_channels, embedding_width)
        self.plane = LinearSliceAttention(out_channels)
        self.depth = DepthAttention(out_channels)

    def forward(self, x: Tensor, embedding: Tensor, bias: Tensor) -> Tensor:
        """[B, C_in, *S], [B, T], [H, Z, Z] -> [B, C_out, *S]."""
        h = self.block2(self.block1(x, embedding), embedding)
        out: Tensor = self.depth(self.plane(h), bias)
        return out


class FactorisedMiddle(nn.Module):
    """Residual block, full attention in plane, attention along depth, residual block."""

    def __init__(self, channels: int, embedding_width: int) -> None:
        super().__init__()
        self.block1 = PlanarResBlock(channels, channels, embedding_width)
        self.plane, self.depth = SliceAttention(channels), DepthAttention(channels)
        self.block2 = PlanarResBlock(channels, channels, embedding_width)

    def forward(self, x: Tensor, embedding: Tensor, bias: Tensor) -> Tensor:
        """[B, C, *S], [B, T], [H, Z, Z] -> [B, C, *S]."""
        h = self.depth(self.plane(self.block1(x, embedding)), bias)
        out: Tensor = self.block2(h, embedding)
        return out


class FactorisedUNet(nn.Module):
    """eps(x, t) of the paper preset: [B, C + extra, *S], [B] -> [B, C, *S].

    `channels` C are denoised; `extra_channels` more are only read and come last. Raises `ConfigurationError` where a
    width of the plan is not a multiple of the 8 norm groups, or the plan asks for other than 2 blocks a level.
    """

    def __init__(self, plan: DiffusionPlan, channels: int, extra_channels: int = 0) -> None:
        super().__init__()
        widths = plan.widths
        if any(width % NUM_GROUPS for width in widths):
            raise ConfigurationError(
                "CFG-PLAN", f"plans field widths is {widths}, but factorised needs multiples of {NUM_GROUPS}"
            )
        if plan.blocks_per_level != BLOCKS_PER_LEVEL:
            raise ConfigurationError(
                "CFG-PLAN",
                f"plans field blocks_per_level is {plan.blocks_per_level}, but factorised has {BLOCKS_PER_LEVEL}",
            )
        self.factors = (1, plan.downsampling, plan.downsampling)
        self.embedding_width = embedding = EMBEDDING_FACTOR * widths[0]
        self.time = TimeEmbedding(widths[0], embedding, process=plan.process)
        self.bias = RelativeBias()
        self.stem = _in_plane(channels + extra_channels, widths[0], 7)
        self.stem_depth = DepthAttention(widths[0])
        finer = (widths[0], *widths)  # width that enters a level on the way down and leaves it on the way up
        self.down = nn.ModuleList(FactorisedLevel(finer[i], width, embedding) for i, width in enumerate(widths))
        self.up = nn.ModuleList(FactorisedLevel(2 * width, finer[i], embedding) for i, width in enumerate(widths))
        resize = (1, 4, 4), (1, 2, 2), (0, 1, 1)  # kernel, stride, padding
        self.shrink = nn.ModuleList(nn.Conv3d(width, width, *resize) for width in widths[:-1])
        self.grow = nn.ModuleList(nn.ConvTranspose3d(width, width, *resize) for width in widths[:-1])
        self.middle = FactorisedMiddle(widths[-1], embedding)
        self.out_block = PlanarResBlock(2 * widths[0], widths[0], embedding)
        self.out = nn.Conv3d(widths[0], channels, 1)

    def forward(self, x: Tensor, time: Tensor, condition: Tensor | float = 0.0) -> Tensor:
        """[B, C + extra, *S], [B] -> [B, C, *S] in the dtype of x; Y and X divisible by the plan's `downsampling`.

        `condition` [B, `embedding_width`] is added to the embedding of the time.
        """
        require_divisible(tuple(x.shape[2:]), self.factors)
        embedding, bias = self.time(time) + condition, self.bias(x.shape[2])
        first = self.stem_depth(self.stem(x.to(self.stem.weight.dtype)), bias)
        h, skips = first, []
        for level, block in enumerate(self.down):
            h = self.shrink[level - 1](h) if level > 0 else h
            h = block(h, embedding, bias)
            skips.append(h)
        h = self.middle(h, embedding, bias)
        for level in reversed(range(len(self.up))):
            h = self.up[level](torch.cat([h, skips.pop()], dim=1), embedding, bias)
            h = self.grow[level - 1](h) if level > 0 else h
        out: Tensor = self.out(self.out_block(torch.cat([h, first], dim=1), embedding))
        return out.to(x.dtype)
