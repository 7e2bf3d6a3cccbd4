"""The denoising 3D U-Net of the `default` preset: convolutions on all axes, FiLM time conditioning (METHOD 2.3).

Each level has `blocks_per_level` residual blocks on the way down and as many on the way up; every block on the way up
reads the output of its twin on the way down. The output starts at 0. Neither noise schedule nor preconditioning is
known here: the time is whatever real number the process of the plan uses.
"""

from functools import partial

import torch
from torch import Tensor, nn

from nnanomaly.networks.blocks import group_norm
from nnanomaly.networks.blocks_time import (
    TimeEmbedding,
    TimeResBlock,
    VoxelAttention,
    downsample,
    require_divisible,
    upsample,
    zero_init,
)
from nnanomaly.plans import DiffusionPlan
from nnanomaly.utilities.errors import ConfigurationError

EMBEDDING_FACTOR = 4  # width of the time embedding, in units of the finest width


class UNet3D(nn.Module):
    """F(x, time) of the plan's widths: [B, C + extra, *S], [B] -> [B, C, *S].

    `channels` C are denoised; `extra_channels` more are only read (such as a distance to the organ) and come last.
    Raises `ConfigurationError` where the plan's heads or attention levels do not fit its widths.
    """

    def __init__(self, plan: DiffusionPlan, channels: int, extra_channels: int = 0) -> None:
        super().__init__()
        widths, levels = plan.widths, range(len(plan.widths))
        if not set(plan.attention_levels) <= set(levels):
            raise ConfigurationError(
                "CFG-PLAN",
                f"plans field attention_levels is {plan.attention_levels}, but there are levels 0..{levels[-1]}",
            )
        self.factors = (plan.downsampling,) * 3
        self.embedding_width = embedding = EMBEDDING_FACTOR * widths[0]
        heads = {level: plan.head_channels for level in plan.attention_levels}
        block = partial(TimeBlock, embedding_width=embedding)
        self.time = TimeEmbedding(widths[0], embedding, process=plan.process)
        self.stem = nn.Conv3d(channels + extra_channels, widths[0], 3, padding=1)
        down: list[nn.Module] = []
        up: list[nn.Module] = []  # coarsest level last, as the way down: turned round below
        for level, width in enumerate(widths):
            finer = widths[max(level - 1, 0)]
            for index in range(plan.blocks_per_level):
                entry = index == 0 and level > 0  # on the way down the first block of a level halves, its twin doubles
                before, after = (downsample(finer), upsample(width, finer)) if entry else (None, None)
                wide_in = finer if index == 0 else width
                down.append(block(wide_in, width, head_channels=heads.get(level), before=before))
                up.append(block(2 * width, width, head_channels=heads.get(level), after=after))
        coarsest, last = widths[-1], levels[-1]
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(reversed(up))
        self.middle = nn.ModuleList(block(coarsest, coarsest, head_channels=h) for h in (heads.get(last), None))
        self.out = nn.Sequential(
            group_norm(widths[0]), nn.SiLU(), zero_init(nn.Conv3d(widths[0], channels, 3, padding=1))
        )

    def forward(self, x: Tensor, time: Tensor, condition: Tensor | float = 0.0) -> Tensor:
        """[B, C + extra, *S], [B] -> [B, C, *S] in the dtype of x; S divisible by the plan's `downsampling`.

        `condition` [B, `embedding_width`] is added to the embedding of the time.
        """
        require_divisible(tuple(x.shape[2:]), self.factors)
        embedding = self.time(time) + condition
        h, skips = self.stem(x.to(self.stem.weight.dtype)), []
        for block in self.down:
            h = block(h, embedding)
            skips.append(h)
        for block in self.middle:
            h = block(h, embedding)
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=1), embedding)
        out: Tensor = self.out(h)
        return out.to(x.dtype)


class TimeBlock(nn.Module):
    """A residual block, self-attention where `head_channels` is given, and a change of resolution before or after."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        embedding_width: int,
        head_channels: int | None = None,
        before: nn.Module | None = None,
        after: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.before = nn.Identity() if before is None else before
        self.residual = TimeResBlock(in_channels, out_channels, embedding_width)
        self.attention = nn.Identity() if head_channels is None else VoxelAttention(out_channels, head_channels)
        self.after = nn.Identity() if after is None else after

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """[B, C_in, *S], [B, T] -> [B, C_out, *S], [B, C_out, *S/2] or [B, C_finer, *2S]."""
        out: Tensor = self.after(self.attention(self.residual(self.before(x), embedding)))
        return out
