"""Noise, one generator per item, so that neither the batch an item travels in nor its neighbours change its noise.

A `Noise` maps a shape (C, Z, Y, X) and B generators to [B, C, Z, Y, X] of variance 1 at every voxel; a new one is a
function here, its entry in `NOISES` and its name in the plans. Everything is drawn on the generators' device, float32.
Generators on the CPU (as `generator_for` makes them) give the same noise to every machine and every device; samplers
move it to their state. A batch of a training run, which is drawn anew whenever it is met, names one generator for all.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional

Noise = Callable[[Sequence[int], Sequence[torch.Generator]], Tensor]


def generator_for(*keys: str, seed: int) -> torch.Generator:
    """A CPU generator that depends on the keys (what a patch holds, number of the sample, ..) and the seed alone, ever.

    Keys are kept apart: ("ab", "c") and ("a", "bc") differ.
    """
    digest = hashlib.sha256(json.dumps([seed, *keys]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def gaussian(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """White noise [B, *shape], one item per generator; neighbours that share one are drawn in one call."""
    runs = [list(run) for _, run in groupby(generators, key=id)]
    return torch.cat([torch.randn(len(run), *shape, generator=run[0], device=run[0].device) for run in runs])


def pyramid(
    shape: Sequence[int], generators: Sequence[torch.Generator], *, num_octaves: int, persistence: float
) -> Tensor:
    """Noise with structure at several scales, [B, *shape] for shape (C, Z, Y, X); variance 1 at every voxel.

    `sum_k w_k up_k(n_k) / sqrt(sum_k w_k^2)`, `w_k = persistence^k`, n_k white on a grid coarser by 2^k (METHOD 2.4).
    `up_k` is linear interpolation whose weights are divided by their length: plain interpolation would lower the
    variance between the coarse points.
    """
    if num_octaves < 1 or persistence <= 0:
        raise ValueError(f"need num_octaves >= 1 and persistence > 0, got {num_octaves} and {persistence}")
    channels, *extent = shape
    total = torch.zeros(len(generators), *shape, device=generators[0].device)
    for octave in range(num_octaves):
        coarse = [max(-(-n // 2**octave), 1) for n in extent]
        rows = [_unit_interpolation(c, n).to(total.device) for c, n in zip(coarse, extent, strict=True)]
        noise = gaussian((channels, *coarse), generators)
        total += persistence**octave * torch.einsum("bcijk,zi,yj,xk->bczyx", noise, *rows)
    return total / math.sqrt(sum(persistence ** (2 * octave) for octave in range(num_octaves)))


NOISES: dict[str, Noise] = {
    "gaussian": gaussian,
    # The coarsest of four octaves spans 8 voxels; each weighs 0.8 of the coarser one, as in AnoDDPM.
    "pyramid": partial(pyramid, num_octaves=4, persistence=1.25),
}


def step_noise(noise: Noise, shape: Sequence[int], generators: Sequence[torch.Generator]) -> Callable[[int], Tensor]:
    """The noise source of a stochastic sampler: each call draws the next [B, *shape]."""
    return lambda _: noise(shape, generators)


def _unit_interpolation(coarse: int, fine: int) -> Tensor:
    """[fine, coarse] weights of linear interpolation between cell centres, each row of length 1."""
    responses = functional.interpolate(torch.eye(coarse)[None], size=fine, mode="linear", align_corners=False)
    weights: Tensor = responses[0].T
    length: Tensor = torch.linalg.vector_norm(weights, dim=1, keepdim=True)
    return weights / length
