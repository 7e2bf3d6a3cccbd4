"""Latents of patches, encoded once and kept in memory for the stages that train on them.

Flipping or rotating a latent is not encoding a rotated patch, so augmented *patches* are encoded (METHOD 2.3).
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nnanomaly.arrays import FloatArray

Augment = Callable[[FloatArray, np.random.Generator], FloatArray]


def encode_patches(
    load: Callable[[int], NDArray[np.floating]],
    num_patches: int,
    encode: Callable[[Tensor], Tensor],
    *,
    augmentations: Sequence[Augment],
    seed: int,
    device: torch.device,
) -> Tensor:
    """Raw latents `[num_patches * len(augmentations), C, Z, Y, X]`, float16: all variants of patch 0, then of 1, ..."""
    latents = []
    for index in range(num_patches):
        patch = np.asarray(load(index), dtype=np.float32)
        for variant, augment in enumerate(augmentations):
            image = augment(patch, np.random.default_rng((seed, index, variant)))[:1]
            with torch.no_grad():
                latents.append(encode(torch.from_numpy(image[None]).to(device)).half().cpu())
    return torch.cat(latents)
