"""Numbers that are known before a stage trains, by which the monitor judges it later."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from nnanomaly.diffusion.codecs import fit_channel_statistics
from nnanomaly.networks.classifier import OrganState
from nnanomaly.plans import VQGANPlan
from nnanomaly.training.optimisation import Batch

Facts = dict[str, float]


def autoencoder_facts(plan: VQGANPlan, validation: Sequence[Batch]) -> Facts:
    """`num_codes`, and `blur_l1`: the mean absolute error of held-out patches under a blur by the stride."""
    facts = {"num_codes": float(plan.num_codes)}
    if validation:
        errors = [
            float((blur(batch["patch"].float(), plan.stride) - batch["patch"]).abs().mean()) for batch in validation
        ]
        facts["blur_l1"] = sum(errors) / len(errors)
    return facts


def class_facts(validation: Sequence[Batch]) -> Facts:
    """`num_healthy` and `num_unhealthy` held-out patches."""
    labels = torch.cat([batch["label"] for batch in validation]) if validation else torch.tensor([])
    return {
        "num_healthy": float((labels == OrganState.HEALTHY).sum()),
        "num_unhealthy": float((labels == OrganState.UNHEALTHY).sum()),
    }


def latent_facts(latents: Iterable[Tensor]) -> Facts:
    """`latent_mean` (of the channel farthest from 0), `latent_std_low` and `latent_std_high` of `[B, C, Z, Y, X]`s."""
    mean, std = fit_channel_statistics(latents)
    return {
        "latent_mean": float(mean[mean.abs().argmax()]),
        "latent_std_low": float(std.min()),
        "latent_std_high": float(std.max()),
    }


def blur(x: Tensor, stride: tuple[int, int, int]) -> Tensor:
    """What one number per token can show: means of blocks of `stride`, interpolated: [B, C, Z, Y, X] -> the same."""
    means = functional.avg_pool3d(x, stride, ceil_mode=True)
    return functional.interpolate(means, size=x.shape[2:], mode="trilinear")
