"""The two encoders and decoders of the VQ-GAN (METHOD 1.2).

Legend: B batch, C channels, S = (Z, Y, X) voxels. `transposed` is the published architecture, `resize` is ours: it
works from the first halving on, because at full resolution the published decoder spends nine tenths of its time. It
begins with a convolution of stride 2 and ends with one that computes the sub-voxels of a voxel; a single convolution
at full resolution joins these. Its residual stream passes no norm, so that absolute HU survive.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.networks.blocks import Padding, ResBlock, Stride, level_strides, no_norm, published_norm
from nnanomaly.plans import VQGANPlan


class InFullPrecision(nn.Module):
    """A module that computes in fp32 also within autocast."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> Tensor:
        """What the module returns for x, in fp32."""
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            out: Tensor = self.module(x.float())
        return out


def halve(in_channels: int, out_channels: int, stride: Stride, *, padding_mode: Padding = "zeros") -> nn.Conv3d:
    """Convolution that halves the axes of stride 2 (kernel 4) and keeps those of stride 1 (kernel 3)."""
    z, y, x = stride
    kernel = (z + 2, y + 2, x + 2)
    return nn.Conv3d(in_channels, out_channels, kernel, stride, padding=1, padding_mode=padding_mode)


class PaddedTransposed(nn.Module):
    """Transposed convolution over replicated borders: [B, C_in, *S] -> [B, C_out, *(S * stride)] (METHOD 1.2)."""

    def __init__(self, in_channels: int, out_channels: int, stride: Stride) -> None:
        super().__init__()
        z, y, x = stride
        kernel, padding = (z + 2, y + 2, x + 2), (z + 1, y + 1, x + 1)
        self.conv = nn.ConvTranspose3d(in_channels, out_channels, kernel, stride, padding)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, *S] -> [B, C_out, *(S * stride)]."""
        out: Tensor = self.conv(F.pad(x, (1, 1, 1, 1, 1, 1), mode="replicate"))
        return out


class DepthToSpace(nn.Module):
    """Channels become sub-voxels: [B, prod(stride) * C, *S] -> [B, C, *(S * stride)], channels last in memory."""

    def __init__(self, stride: Stride) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """[B, prod(stride) * C, *S] -> [B, C, *(S * stride)]."""
        # C innermost before and after, so that whole runs of memory move.
        split = torch.unflatten(x, 1, (*self.stride, -1))  # [B, a, b, c, C, Z, Y, X]
        woven = split.permute(0, 5, 1, 6, 2, 7, 3, 4)  # [B, Z, a, Y, b, X, c, C]
        return woven.flatten(5, 6).flatten(3, 4).flatten(1, 2).movedim(-1, 1)


def sub_voxels(in_channels: int, out_channels: int, stride: Stride) -> nn.Sequential:
    """Doubling of the axes of stride 2. The sub-voxels of a voxel start equal: there is no checkerboard to unlearn."""
    factor = stride[0] * stride[1] * stride[2]
    conv = nn.Conv3d(in_channels, factor * out_channels, 1)
    for parameter in conv.parameters():
        first = parameter.data[:out_channels].clone()
        parameter.data.copy_(first.repeat(factor, *[1] * (first.ndim - 1)))
    return nn.Sequential(conv, DepthToSpace(stride))


def nearest(stride: Stride) -> nn.Upsample:
    """Every voxel repeated `stride` times an axis."""
    return nn.Upsample(scale_factor=tuple(float(s) for s in stride), mode="nearest")


def resize_encoder(plan: VQGANPlan, in_channels: int) -> nn.Sequential:
    """Ours: per halving a strided convolution and a residual block."""
    widths, strides = plan.widths, level_strides(plan.stride)
    if not strides:
        layers: list[nn.Module] = [nn.Conv3d(in_channels, widths[0], 3, padding=1), ResBlock(widths[0])]
    else:
        layers = [halve(in_channels, widths[1], strides[0]), ResBlock(widths[1])]
    for level, stride in enumerate(strides[1:], start=1):
        # No overlap here: a kernel of 4^3 has so many inputs that training with learning rates over 2e-3 breaks down.
        layers += [nn.Conv3d(widths[level], widths[level + 1], stride, stride), ResBlock(widths[level + 1])]
    return nn.Sequential(*layers, InFullPrecision(nn.Conv3d(widths[-1], plan.latent_channels, 1)))


def resize_decoder(plan: VQGANPlan, out_channels: int) -> nn.Sequential:
    """Ours: per doubling a residual block, nearest neighbours and a convolution; the finest doubling by sub-voxels."""
    widths, strides = plan.widths, level_strides(plan.stride)
    layers: list[nn.Module] = [nn.Conv3d(plan.latent_channels, widths[-1], 1)]
    for level in range(len(strides) - 1, 0, -1):
        # The 1^3 convolution first: the other order would compute the same thing eight times.
        layers += [ResBlock(widths[level + 1]), nn.Conv3d(widths[level + 1], widths[level], 1), nearest(strides[level])]
    finest = widths[1] if strides else widths[0]
    layers += [ResBlock(finest, norm=no_norm)]
    if strides:
        layers += [sub_voxels(finest, widths[0], strides[0])]
    smoothing = nn.Conv3d(widths[0], out_channels, 3, padding=1)
    return nn.Sequential(*layers, nn.SiLU(), InFullPrecision(smoothing))


def transposed_encoder(plan: VQGANPlan, in_channels: int) -> nn.Sequential:
    """As published: convolution, then per halving a strided convolution and a residual block, then norm and SiLU."""
    widths = plan.widths
    layers: list[nn.Module] = [nn.Conv3d(in_channels, widths[0], 3, padding=1, padding_mode="replicate")]
    for level, stride in enumerate(level_strides(plan.stride)):
        layers += [halve(widths[level], widths[level + 1], stride, padding_mode="replicate")]
        layers += [published_block(widths[level + 1])]
    head = nn.Conv3d(widths[-1], plan.latent_channels, 1)
    return nn.Sequential(*layers, published_norm(widths[-1]), nn.SiLU(), InFullPrecision(head))


def transposed_decoder(plan: VQGANPlan, out_channels: int) -> nn.Sequential:
    """As published: norm and SiLU, then per doubling a transposed convolution and two residual blocks."""
    strides = level_strides(plan.stride)
    widths = plan.widths[1:] or plan.widths  # nothing of the finest width is left at the end of the published decoder
    first = nn.Conv3d(plan.latent_channels, widths[-1], 1)
    layers: list[nn.Module] = [first, published_norm(widths[-1]), nn.SiLU()]
    channels = widths[-1]
    for width, stride in zip(reversed(widths), reversed(strides), strict=False):
        layers += [PaddedTransposed(channels, width, stride), published_block(width), published_block(width)]
        channels = width
    last = nn.Conv3d(channels, out_channels, 3, padding=1, padding_mode="replicate")
    return nn.Sequential(*layers, InFullPrecision(last))


def published_block(channels: int) -> ResBlock:
    """Residual block of the published architecture."""
    return ResBlock(channels, norm=published_norm, padding_mode="replicate")
