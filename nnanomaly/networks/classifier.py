"""Healthy or not, from a noisy latent; its gradient guides the reconstruction (METHOD section 4).

Legend: B batch, C channels, S = (Z, Y, X) voxels of the latent. Input is the VP-scaled noisy latent (unit variance at
every noise level), output two logits in the order of `OrganState`. The trunk is dynamic-network-architectures' residual
encoder, whose blocks know no noise level: time enters as FiLM on the input of each of its stages. GroupNorm throughout,
so that a batch of four equals four batches of one.
"""

import math
from collections.abc import Callable
from enum import IntEnum

import torch
from dynamic_network_architectures.building_blocks.residual_encoders import ResidualEncoder
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.networks.blocks import group_norm
from nnanomaly.networks.blocks_time import FiLM, TimeEmbedding
from nnanomaly.plans import ClassifierPlan

EMBEDDING_FACTOR = 4  # width of the time embedding, in units of the finest width


class OrganState(IntEnum):
    """Order of the logits; the values of the weak labels everywhere (METHOD 4, label caution)."""

    HEALTHY = 0
    UNHEALTHY = 1


class LatentClassifier(nn.Module):
    """(x [B, C, *S] in VP coordinates, time [B] = ln(sigma)/4) -> logits [B, 2] in the order of `OrganState`."""

    def __init__(self, plan: ClassifierPlan, channels: int) -> None:
        super().__init__()
        widths = plan.widths
        embedding = EMBEDDING_FACTOR * widths[0]
        # DNA calls norm_op(channels): the function `group_norm` is the adapter GroupNorm(groups, channels) needs.
        style = {"conv_bias": True, "norm_op": group_norm, "nonlin": nn.SiLU}
        self.divisor = 2 ** (len(widths) - 1)
        self.time = TimeEmbedding(widths[0], embedding, process="edm")
        self.stem: nn.Module = ConvDropoutNormReLU(nn.Conv3d, channels, widths[0], 3, 1, **style)
        strides = [1] + [2] * (len(widths) - 1)
        blocks = [plan.blocks_per_level] * len(widths)
        encoder = ResidualEncoder(
            widths[0], len(widths), widths, nn.Conv3d, 3, strides, blocks, disable_default_stem=True, **style
        )
        self.stages = nn.ModuleList(encoder.stages)
        self.films = nn.ModuleList(FiLM(embedding, width) for width in (widths[0], *widths[:-1]))
        self.pool = POOLS[plan.pool](widths[-1])

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """[B, C, *S], [B] -> logits [B, 2] in float32; any S of at least one voxel."""
        embedding = self.time(time)
        h: Tensor = self.stem(pad_to_multiple(x, self.divisor))
        for film, stage in zip(self.films, self.stages, strict=True):
            h = stage(film(h, embedding))
        logits: Tensor = self.pool(h)
        return logits.float()


def pad_to_multiple(x: Tensor, divisor: int) -> Tensor:
    """Repeat the last plane of every axis that `divisor` does not divide.

    The encoder's blocks halve their main path rounding up and their skip path rounding down: odd sizes would not add.
    """
    missing = [-length % divisor for length in x.shape[2:]]
    if not any(missing):
        return x
    return F.pad(x, [amount for after in reversed(missing) for amount in (0, after)], mode="replicate")


class AveragePool(nn.Module):
    """Linear head on the mean over voxels (the paper's "linear head")."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, len(OrganState))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, *S] -> [B, 2]."""
        logits: Tensor = self.head(features.flatten(2).mean(dim=2))
        return logits


class AttentionPool(nn.Module):
    """Linear head on sum_n softmax(query . key_n / sqrt(C)) feature_n with one learned query."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = nn.Linear(channels, channels)
        self.query = nn.Parameter(torch.zeros(1, 1, channels))  # 0: training starts from the mean over voxels
        self.head = nn.Linear(channels, len(OrganState))

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, *S] -> [B, 2]."""
        tokens = features.flatten(2).transpose(1, 2)
        keys = self.key(tokens)
        query = self.query.to(keys.dtype).expand(len(tokens), -1, -1)
        logits: Tensor = self.head(F.scaled_dot_product_attention(query, keys, tokens.to(keys.dtype))[:, 0])
        return logits


class LogSumExpPool(nn.Module):
    """log-mean-exp over voxels of the margin "unhealthy - healthy": a few sick voxels make an unhealthy organ."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, len(OrganState))

    def margins(self, features: Tensor) -> Tensor:
        """Map of the margin per voxel of the coarsest level: [B, C, *S] -> [B, N] in float32."""
        evidence = self.head(features.flatten(2).transpose(1, 2)).float()
        margin: Tensor = evidence[..., OrganState.UNHEALTHY] - evidence[..., OrganState.HEALTHY]
        return margin

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, *S] -> [B, 2]; the logit of HEALTHY is 0."""
        margins = self.margins(features)
        pooled = margins.logsumexp(dim=1) - math.log(margins.shape[1])
        return torch.stack([torch.zeros_like(pooled), pooled], dim=1)


POOLS: dict[str, Callable[[int], nn.Module]] = {
    "average": AveragePool,
    "attention": AttentionPool,
    "logsumexp": LogSumExpPool,
}
