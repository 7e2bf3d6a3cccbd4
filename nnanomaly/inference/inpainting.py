"""Candidates too large to be reconstructed away are drawn anew from what surrounds them (METHOD 6.3).

A large lesion survives noise that leaves its outline, and with it the lesion, in the latent. Here the first map only
says where it may lie: latents under the mask are forgotten altogether and drawn from the model of healthy organs.
Arrays are `[Z, Y, X]` on the patch.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.device import autocast
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.inpainting import inpaint
from nnanomaly.diffusion.noise import generator_for, step_noise
from nnanomaly.inference.finite import finite
from nnanomaly.inference.look import PatchReconstruction
from nnanomaly.inference.postprocessing import find_candidates
from nnanomaly.inference.reconstruct import LatentModels, ways_of
from nnanomaly.plans import InferencePlan
from nnanomaly.volume import Grid, Triple

Inpainter = Callable[[NDArray[np.floating], BoolArray, str], FloatArray]
"""(image in [-1, 1], mask, key of the noise) -> image with the masked part drawn anew, in [-1, 1]."""
LARGE_MM = 30.0
NUM_LEVELS, NUM_RESAMPLINGS = 8, 2
"""Together 18 evaluations of the network; the conditional mean is met to about two thirds, more cost more seconds."""
FEATHER_MM = 5.0
"""Width of the seam between what was drawn and the reconstruction around it."""


def build_inpainter(
    codec: Codec, models: LatentModels, *, seed: int, device: torch.device, most_at_once: int | None = None
) -> Inpainter:
    """Inpainter of latents: the mean of `num_samples` draws, from the highest noise the network was trained for.

    `most_at_once` draws pass the network as one batch; None = all.
    """
    plan, process, ways = models.inference, models.process, ways_of(models)
    sigmas = process.grid(process.largest_sigma, NUM_LEVELS).flip(0)

    @torch.no_grad()
    def draw(image: NDArray[np.floating], mask: BoolArray, key: str) -> FloatArray:
        x = torch.from_numpy(np.asarray(image, dtype=np.float32)[None, None]).to(device)
        generators = [generator_for(key, "inpaint", str(k), seed=seed) for k in range(plan.num_samples)]
        decoded, step = [], most_at_once or plan.num_samples
        with autocast(device, plan.precision):
            u = codec.encode(x).float()
            hidden = latent_mask(torch.from_numpy(mask).to(device), u)
            for batch in (generators[k : k + step] for k in range(0, plan.num_samples, step)):
                drawn = inpaint(
                    ways.down(),
                    u.repeat_interleave(len(batch), dim=0),
                    hidden,
                    sigmas,
                    num_resamplings=NUM_RESAMPLINGS,
                    noise=step_noise(process.noise, u.shape[1:], batch),
                )
                decoded.append(codec.decode(drawn).float())
        whole = finite(torch.cat(decoded), "what was drawn anew")
        mean: FloatArray = whole.mean(dim=0).clamp(-1, 1)[0].cpu().numpy()
        return mean

    return draw


def latent_mask(mask: Tensor, latent: Tensor) -> Tensor:
    """`[1, 1, z, y, x]` latents that see a masked voxel, and their neighbours: an encoder looks around."""
    seen = functional.adaptive_max_pool3d(mask[None, None].float(), latent.shape[2:])
    return functional.max_pool3d(seen, kernel_size=3, stride=1, padding=1)


def large_candidates(anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> BoolArray:
    """Mask of the candidates over 30 mm."""
    mask, _ = find_candidates(anomaly, threshold, grid, only_large(plan))
    return mask


def only_large(plan: InferencePlan) -> InferencePlan:
    """The plan that drops all but large candidates."""
    return replace(plan, min_diameter_mm=max(LARGE_MM, plan.min_diameter_mm))


def feathered(mask: BoolArray, spacing_mm: Triple) -> FloatArray:
    """Weight of what was drawn: 1 in the mask, falling to 0 over 5 mm outside it."""
    distance_mm = ndimage.distance_transform_edt(~mask, sampling=spacing_mm)
    return np.clip(1 - distance_mm / FEATHER_MM, 0, 1).astype(np.float32)


def stitched(first: PatchReconstruction, drawn_hu: FloatArray, weight: FloatArray) -> PatchReconstruction:
    """The drawn part set into the reconstructions of all noise levels; small lesions beside it stay visible."""
    healthy_hu = weight * drawn_hu + (1 - weight) * first.healthy_hu
    extra = tuple(stitched(level, drawn_hu, weight) for level in first.extra)
    samples = tuple(stitched(sample, drawn_hu, weight) for sample in first.samples)
    return replace(first, healthy_hu=healthy_hu.astype(np.float32), extra=extra, samples=samples)
