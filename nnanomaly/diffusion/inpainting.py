"""Drawing a masked part of a clean image anew, given the rest of it.

Noise runs down as in ancestral sampling, in VE coordinates. At every level the part that is known is replaced by the
original with noise of that level, so that both parts always carry the same amount of it (RePaint: Lugmayr et al.,
2022, alg. 1). One such step lets the drawn part look at the known one, but not answer to it in full: the step is
therefore repeated, going back up to the level before.
"""

import math

import torch
from torch import Tensor

from nnanomaly.diffusion.denoiser import Denoiser
from nnanomaly.diffusion.samplers import NoiseSource
from nnanomaly.diffusion.schedule import at_least_float32


@torch.no_grad()
def inpaint(
    denoise: Denoiser, x: Tensor, mask: Tensor, sigmas: Tensor, *, num_resamplings: int, noise: NoiseSource
) -> Tensor:
    """Clean x `[B, C, *S]`, the part under `mask` (broadcast to x, not 0 = drawn anew) from the model's conditional.

    Nothing of x under the mask is looked at, and the rest comes back as it was. sigmas: falling levels, the last one 0;
    the first must drown the data, as it stands for none. Every interval is gone down `num_resamplings` times.
    `noise(index)` gives unit Gaussians of the shape of x. `ValueError` for other levels or fewer than 1 repetition.
    """
    levels = [float(sigma) for sigma in sigmas]
    falling = all(before > after for before, after in zip(levels, levels[1:], strict=False))
    if len(levels) < 2 or levels[-1] != 0 or not falling or num_resamplings < 1:
        raise ValueError(f"need falling levels that end at 0 and a repetition; got {levels} and {num_resamplings}")
    known, hidden, index = at_least_float32(x), (mask != 0).to(x.device), 0

    def draw() -> Tensor:
        nonlocal index
        index += 1
        return noise(index - 1).to(known)

    state = levels[0] * draw() + torch.where(hidden, 0.0, known)
    for before, after in zip(levels, levels[1:], strict=False):
        for repetition in range(num_resamplings):
            if repetition > 0:
                state = state + math.sqrt(before**2 - after**2) * draw()
            clean = denoise(state, torch.full((len(state),), before, device=state.device, dtype=state.dtype)).x0
            keep = (after / before) ** 2
            drawn = clean + keep * (state - clean)
            if after > 0:
                drawn = drawn + after * math.sqrt(1 - keep) * draw()
            state = torch.where(hidden, drawn, known + after * draw() if after > 0 else known)
    return state
