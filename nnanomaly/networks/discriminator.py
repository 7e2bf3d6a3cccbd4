"""Patch discriminators of the VQ-GAN, for slices and for volumes (METHOD 1.4).

Legend: B batch, C channels, S voxels (two or three axes). Each logit judges one overlapping piece of the image.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nnanomaly.networks.blocks import group_norm
from nnanomaly.utilities.errors import ConfigurationError

CONVOLUTIONS: dict[int, type[nn.Conv2d] | type[nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS: dict[int, Callable[[int], nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
NORMS: dict[str, dict[int, Callable[[int], nn.Module]]] = {
    "group": {2: group_norm, 3: group_norm},
    "batch": BATCH_NORMS,
}
HIDDEN_STRIDES = (2, 2, 2, 1)
SMALLEST_IN_BF16 = 18  # voxels: three halvings leave 4, the length of a kernel
MEMORY_FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}


class Judged(NamedTuple):
    """Output of a discriminator."""

    logits: Tensor
    """[B, 1, *S'], high where the image looks real."""
    features: list[Tensor]
    """[B, width * (1, 2, 4, 8), *S''], the four hidden layers, for feature matching."""


class PatchDiscriminator(nn.Module):
    """Five convolutions 4^d, padding 2, strides 2 2 2 1 1, LeakyReLU 0.2; a norm in the second to the fourth layer."""

    def __init__(self, dimensions: int, norm: str = "group", *, width: int = 64, in_channels: int = 1) -> None:
        super().__init__()
        if dimensions not in CONVOLUTIONS or norm not in NORMS:
            raise ConfigurationError(
                "CFG-PLAN",
                f"no discriminator of {dimensions} dimensions with norm {norm!r}; "
                f"there are {list(CONVOLUTIONS)} and {list(NORMS)}",
            )
        convolution, normalise = CONVOLUTIONS[dimensions], NORMS[norm][dimensions]
        widths = [width, 2 * width, 4 * width, 8 * width]
        layers: list[nn.Module] = []
        for before, after, stride in zip([in_channels, *widths], widths, HIDDEN_STRIDES, strict=False):
            first = before == in_channels and not layers
            middle = nn.Identity() if first else normalise(after)
            layers.append(nn.Sequential(convolution(before, after, 4, stride, padding=2), middle, nn.LeakyReLU(0.2)))
        self.hidden = nn.ModuleList(layers)
        self.head = convolution(widths[-1], 1, 4, padding=2)
        # Weights in this layout make every activation follow: a tenth of the time of a step on a CPU.
        self.to(memory_format=MEMORY_FORMATS[dimensions])  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Judged:
        """[B, in_channels, *S] in [-1, 1] -> `Judged`."""
        features = []
        with _precision_for(x):
            for layer in self.hidden:
                x = layer(x)
                features.append(x)
            return Judged(self.head(x), features)


def _precision_for(x: Tensor) -> AbstractContextManager[object]:
    """fp32 where an inner layer would see less than its kernel, else whatever holds outside.

    There torch 2.13 leaves uninitialised memory in the bf16 gradients of a convolution's weights, on some CPUs.
    """
    if min(x.shape[2:]) >= SMALLEST_IN_BF16:
        return nullcontext()
    return torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False)
