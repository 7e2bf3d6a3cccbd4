"""A denoising U-Net that is told the class of what it denoises: healthy, unhealthy, or null, which is "not said".

Legend: B batch, C channels, S = (Z, Y, X) voxels of a latent, T width of the time embedding. METHOD 2.3 and 3.4; the
class enters where the time does (Ho and Salimans, 2022). The U-Net inside is the unconditional one, weight by weight.
"""

import torch
from torch import Tensor, nn

from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet

NULL_CLASS = len(OrganState)
"""The label that says nothing; those that say something are the values of `OrganState`."""
INITIAL_STD = 0.02  # small beside the time embedding: the classes begin nearly alike and part as far as they must


class ClassConditionedUNet(nn.Module):
    """F(x, time, label): [B, C, *S], [B], [B] int64 -> [B, C, *S]."""

    def __init__(self, unet: UNet3D | FactorisedUNet) -> None:
        super().__init__()
        self.unet = unet
        self.classes = nn.Embedding(NULL_CLASS + 1, unet.embedding_width)
        nn.init.normal_(self.classes.weight, std=INITIAL_STD)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        """[B, C, *S], [B], [B] int64 -> [B, C, *S]; no label is the null class for the whole batch."""
        if label is None:
            label = torch.full((len(x),), NULL_CLASS, device=x.device)
        out: Tensor = self.unet(x, time, self.classes(label))
        return out
