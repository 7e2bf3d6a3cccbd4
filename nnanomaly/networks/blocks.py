"""Blocks shared by the networks: group normalisation, residual block, halving and doubling of single axes.

Legend: B batch, C channels, S = (Z, Y, X) voxels. Equations: METHOD 1.2.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

MIN_GROUP_CHANNELS = 4
MAX_GROUPS = 32
Stride = tuple[int, int, int]
Padding = Literal["zeros", "replicate"]


def divisible_groups(channels: int, limit: int) -> int:
    """The largest number of groups up to `limit` that divides `channels`."""
    return next(groups for groups in range(min(limit, channels), 0, -1) if channels % groups == 0)


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of as many groups as divide `channels`, at most 32, each of at least 4 channels (METHOD 1.2).

    With one channel a group it would be instance norm, which erases the absolute intensity, that is, the HU.
    """
    return nn.GroupNorm(divisible_groups(channels, min(MAX_GROUPS, max(1, channels // MIN_GROUP_CHANNELS))), channels)


def published_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm of 32 groups, or of as many as divide `channels`: that of the `paper` preset (METHOD 1.2)."""
    return nn.GroupNorm(divisible_groups(channels, MAX_GROUPS), channels)


def no_norm(channels: int) -> nn.Module:
    """The identity, for blocks that must keep the absolute intensity."""
    return nn.Identity()


class ResBlock(nn.Module):
    """x + f(f(x)) with f = convolution 3^3 of SiLU of the norm: [B, C, *S] -> [B, C, *S]."""

    def __init__(
        self, channels: int, *, norm: Callable[[int], nn.Module] = group_norm, padding_mode: Padding = "zeros"
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1, padding_mode=padding_mode)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1, padding_mode=padding_mode)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *S] -> [B, C, *S]."""
        h = self.conv1(F.silu(self.norm1(x)))
        out: Tensor = x + self.conv2(F.silu(self.norm2(h)))
        return out


def level_strides(stride: Stride) -> list[Stride]:
    """Strides of the halvings, finest level first, whose product is `stride` (powers of two).

    An axis that is halved less often than another is so at the coarser levels: it is the one with the larger spacing,
    and by then the others have caught up with it. (2, 4, 4) -> [(1, 2, 2), (2, 2, 2)].
    """
    halvings = [s.bit_length() - 1 for s in stride]
    most = max(halvings)
    z, y, x = ([1] * (most - n) + [2] * n for n in halvings)
    return list(zip(z, y, x, strict=True))
