"""Remembering what networks said of a patch: rows that differ only behind the networks share reconstructions."""

import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from nnanomaly.diffusion.codecs import Codec
from nnanomaly.inference.reconstruct import LatentModels, Reconstruction, Reconstructor
from nnanomaly.plans import FELT_BY_NETWORKS


class Reconstructions:
    """Remembers what the networks said of a patch, and how long that took; stands in for `build_reconstructor`."""

    def __init__(self, build: Callable[..., Reconstructor]) -> None:
        self.build = build
        self.known: dict[tuple[object, ...], tuple[Reconstruction, float]] = {}
        self.saved_seconds = 0.0
        self.model = ""
        """Plans whose networks are asked; to be set before they are loaded."""

    def __call__(self, codec: Codec, models: LatentModels, *, seed: int, device: torch.device) -> Reconstructor:
        """A reconstructor that asks the networks once for every patch and every setting that they feel."""
        reconstruct = self.build(codec, models, seed=seed, device=device)
        setting = tuple(getattr(models.inference, field) for field in FELT_BY_NETWORKS)
        network = (self.model, models.diffusion, setting, seed)

        def remember(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
            key = (*network, tuple(names))
            if key not in self.known:
                start = time.process_time()
                self.known[key] = (reconstruct(patches, names), time.process_time() - start)
            else:
                self.saved_seconds += self.known[key][1]
            return self.known[key][0]

        return remember
