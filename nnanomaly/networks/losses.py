"""Losses of the VQ-GAN as pure functions (METHOD 1.4 and 1.6).

Legend: B batch, C channels, S = (Z, Y, X) voxels. Images are [B, C, *S] in [-1, 1]; every loss is a scalar mean per
voxel (or per logit, per feature), so that weights mean the same for every patch size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

SPATIAL_AXES = (2, 3, 4)


def discriminator_hinge_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """0.5 * [ mean relu(1 - D(real)) + mean relu(1 + D(fake)) ]."""
    return 0.5 * (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean())


def generator_hinge_loss(fake_logits: Tensor) -> Tensor:
    """-mean D(fake)."""
    return -fake_logits.mean()


def feature_matching_loss(fake_features: Sequence[Tensor], real_features: Sequence[Tensor]) -> Tensor:
    """sum_l mean |D^l(fake) - sg D^l(real)| over the hidden layers l of a discriminator."""
    pairs = zip(fake_features, real_features, strict=True)
    return torch.stack([F.l1_loss(fake.float(), real.detach().float()) for fake, real in pairs]).sum()


def haar_split(x: Tensor) -> list[Tensor]:
    """One level of the orthonormal Haar transform: [B, C, *S] -> 8 bands [B, C, *ceil(S / 2)], the low-pass band first.

    Per axis (even + odd) / sqrt(2) and (even - odd) / sqrt(2); an axis of odd length has its last plane repeated.
    """
    bands = [x]
    for axis in SPATIAL_AXES:
        if x.shape[axis] % 2:
            bands = [torch.cat([band, band.narrow(axis, -1, 1)], axis) for band in bands]
        pairs = [torch.unflatten(band, axis, (-1, 2)).unbind(axis + 1) for band in bands]
        bands = [scaled for even, odd in pairs for scaled in ((even + odd) * 0.5**0.5, (even - odd) * 0.5**0.5)]
    return bands


def haar_high_band_loss(x: Tensor, x_hat: Tensor, levels: int = 2) -> Tensor:
    """Sum over levels and their 7 high bands b of mean |Haar_b(x) - Haar_b(x_hat)|; a blurred x_hat cannot escape."""
    low, terms = x_hat - x, []
    for _ in range(levels):
        low, *high = haar_split(low)
        terms += [band.abs().mean() for band in high]
    return torch.stack(terms).sum()


def random_slices(
    *volumes: Tensor, generator: torch.Generator, axes: Sequence[int] = SPATIAL_AXES
) -> tuple[Tensor, ...]:
    """One random slice per sample, the same of every volume: [B, C, *S] each -> [B, C, *two of S] each.

    The axis is drawn from `axes` (of the tensor: 2, 3 or 4) once for the batch, since slices of one batch need one
    shape; the published method has `axes=(2,)`.
    """
    axis = axes[int(_randint(len(axes), 1, generator))]
    batch = len(volumes[0])
    index = _randint(volumes[0].shape[axis], batch, generator)
    rows = torch.arange(batch)
    return tuple(volume.movedim(axis, 1)[rows, index.to(volume.device)] for volume in volumes)


def _randint(below: int, count: int, generator: torch.Generator) -> Tensor:
    """`count` integers in [0, below) on the generator's device."""
    return torch.randint(below, (count,), generator=generator, device=generator.device)
