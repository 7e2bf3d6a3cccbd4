"""Attention of the factorised U-Net: linear or full within each slice, full with positions along depth (METHOD 2.1).

Legend: B batch, C channels, (Z, Y, X) voxels, H heads, D channels of a head. All three are pre-normalised residual
branches [B, C, Z, Y, X] -> [B, C, Z, Y, X]. Linear attention: Shen et al. 2018; rotary positions: Su et al. 2021;
bucketed relative bias: Raffel et al. 2019.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

HEADS = 8
HEAD_CHANNELS = 32
NUM_BUCKETS = 32
MAX_DISTANCE = 32
ROTARY_BASE = 10_000.0


class _AxialAttention(nn.Module):
    """Layer norm over channels, projections to H heads of D channels, and back."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * HEADS * HEAD_CHANNELS, bias=False)
        self.out = nn.Linear(HEADS * HEAD_CHANNELS, channels)

    def heads_of(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[G, L, C] -> q, k, v of [G, H, L, D] each."""
        projected: Tensor = self.qkv(self.norm(tokens))
        q, k, v = projected.view(*tokens.shape[:2], 3, HEADS, HEAD_CHANNELS).permute(2, 0, 3, 1, 4)
        return q, k, v

    def joined(self, heads: Tensor) -> Tensor:
        """[G, H, L, D] -> [G, L, C]."""
        tokens: Tensor = self.out(heads.transpose(1, 2).flatten(2))
        return tokens


class SliceAttention(_AxialAttention):
    """Every slice attends to itself: softmax(q k^T / sqrt(D)) v over its Y*X voxels."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, Z, Y, X] -> [B, C, Z, Y, X]."""
        slices = x.permute(0, 2, 3, 4, 1)  # [B, Z, Y, X, C]
        update = self.joined(self.attend(*self.heads_of(slices.flatten(2, 3).flatten(0, 1))))  # [B*Z, Y*X, C]
        return x + update.view(slices.shape).permute(0, 4, 1, 2, 3)

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[G, H, L, D] x 3 -> [G, H, L, D]."""
        return F.scaled_dot_product_attention(q, k, v)


class LinearSliceAttention(SliceAttention):
    """The same in time linear in Y*X: softmax_D(q) / sqrt(D) times softmax_L(k)^T v."""

    @staticmethod
    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """[G, H, L, D] x 3 -> [G, H, L, D]."""
        context = k.softmax(dim=2).transpose(2, 3) @ v  # [G, H, D, D]
        return q.softmax(dim=3) @ context / math.sqrt(q.shape[3])


class DepthAttention(_AxialAttention):
    """Every column of voxels attends to itself along depth, with rotary positions and a bias by relative depth."""

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """[B, C, Z, Y, X], bias [H, Z, Z] (query, key) -> [B, C, Z, Y, X]."""
        columns = x.permute(0, 3, 4, 2, 1)  # [B, Y, X, Z, C]
        q, k, v = self.heads_of(columns.flatten(0, 2))
        # The leading axis of the mask is what the fused kernel asks for.
        attended = F.scaled_dot_product_attention(rotate(q), rotate(k), v, attn_mask=bias[None].to(q.dtype))
        return x + self.joined(attended).view(columns.shape).permute(0, 4, 3, 1, 2)


def rotate(heads: Tensor) -> Tensor:
    """Turn channel pairs (i, i+D/2) of [..., L, D] by position * base^(-2i/D): dot products see only differences."""
    length, channels = heads.shape[-2:]
    exponents = torch.arange(0, channels, 2, dtype=torch.float32, device=heads.device) / channels
    angles = torch.arange(length, device=heads.device)[:, None] * ROTARY_BASE**-exponents  # [L, D/2]
    cosine, sine = angles.cos().to(heads.dtype), angles.sin().to(heads.dtype)
    first, second = heads.chunk(2, dim=-1)
    turned = torch.addcmul(first * cosine, second, sine, value=-1), torch.addcmul(second * cosine, first, sine)
    return torch.cat(turned, dim=-1)


def relative_bucket(distance: Tensor) -> Tensor:
    """Bucket 0..31 of a signed distance: half of them for each sign, the nearest 8 exact, the others logarithmic to 32.

    Positive distances (the key lies further along depth) take the upper half.
    """
    half, exact = NUM_BUCKETS // 2, NUM_BUCKETS // 4
    size = distance.abs()
    scale = (half - exact) / math.log(MAX_DISTANCE / exact)
    logarithmic = exact + (size.clamp(min=1).div(exact).log() * scale).long()
    return torch.where(size < exact, size, logarithmic.clamp(max=half - 1)) + half * (distance > 0)


class RelativeBias(nn.Module):
    """A learned number per head and bucket of depth distance, shared by all depth attentions of a network."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(NUM_BUCKETS, HEADS)

    def forward(self, depth: int) -> Tensor:
        """Bias [H, Z, Z] for `depth` slices: entry (h, query, key)."""
        positions = torch.arange(depth, device=self.table.weight.device)
        bias: Tensor = self.table(relative_bucket(positions[None, :] - positions[:, None])).permute(2, 0, 1)
        return bias
