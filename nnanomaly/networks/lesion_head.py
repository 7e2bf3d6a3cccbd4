"""The lesion head: a residual U-Net that says of every voxel of a patch whether it belongs to a lesion.

Legend: B batch, C input channels, S = (Z, Y, X) voxels of a patch. Trunk: dynamic-network-architectures' residual
encoder U-Net with instance norm and leaky ReLU, as in nnU-Net, so that a supervised reference differs in data alone.
"""

import torch
from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.plans import HeadPlan


class LesionHead(nn.Module):
    """x [B, C, *S] -> logits [B, 1, *S]; sizes that the levels do not divide are padded, and the padding cut off."""

    def __init__(self, plan: HeadPlan) -> None:
        super().__init__()
        levels = len(plan.widths)
        self.divisor = 2 ** (levels - 1)
        self.unet = ResidualEncoderUNet(
            input_channels=len(plan.inputs),
            n_stages=levels,
            features_per_stage=plan.widths,
            conv_op=nn.Conv3d,
            kernel_sizes=3,
            strides=[1] + [2] * (levels - 1),
            n_blocks_per_stage=[plan.blocks_per_level] * levels,
            num_classes=1,
            n_conv_per_stage_decoder=[1] * (levels - 1),
            conv_bias=True,
            norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"affine": True, "eps": 1e-5},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )

    def forward(self, x: Tensor) -> Tensor:
        """Logit of the lesion per voxel."""
        z, y, x_size = x.shape[2:]
        missing = [-n % self.divisor for n in (z, y, x_size)]
        padding = [after for n in reversed(missing) for after in (0, n)]
        logits: Tensor = self.unet(F.pad(x, padding, mode="replicate") if any(missing) else x)
        return logits[..., :z, :y, :x_size]


def lesion_loss(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross-entropy plus soft Dice loss over the batch, the loss of nnU-Net; all [B, 1, *S].

    `target` in {0, 1}, `weight` w >= 0 (0 = does not count). Dice = (2 sum wpt + 1) / (sum wp + sum wt + 1).
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    probability, wanted = torch.sigmoid(logits.float()), target * weight
    dice = (2 * (probability * wanted).sum() + 1) / ((probability * weight).sum() + wanted.sum() + 1)
    return (cross_entropy * weight).sum() / weight.sum().clamp(min=1) + 1 - dice
