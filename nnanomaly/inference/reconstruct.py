"""The healthy reconstruction of organ patches: encode, go up to the noise level, come down guided, decode.

METHOD 3 and 5.1. A *round trip* maps latents `u` [B, C, Z, Y, X] to healthy latents: a sampler and a form of
guidance of the plan, in the process that the U-Net was trained in. Noise is keyed by the names of the patches, so
batches, parts and reruns agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnanomaly.build import build_process
from nnanomaly.device import autocast
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.guidance import (
    LogProb,
    classifier_drift,
    classifier_free_guidance,
    classifier_guidance,
    relative_guidance,
)
from nnanomaly.diffusion.noise import generator_for
from nnanomaly.diffusion.process import VP, Process
from nnanomaly.diffusion.samplers import SAMPLERS, Generators, Trip, Ways
from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.conditioning import NULL_CLASS
from nnanomaly.plans import DiffusionPlan, InferencePlan

RoundTrip = Callable[[Tensor, Generators], Tensor]


class Reconstruction(NamedTuple):
    """What became of a batch of patches."""

    healthy: Tensor
    """[B, 1, Z, Y, X] in [-1, 1], on the CPU."""
    autoencoded: Tensor
    """The patches through the codec alone: the error floor of any reconstruction."""
    unguided: Tensor | None = None
    """The reconstruction of the same noise without guidance, where the plan compares with it."""
    extra: tuple["Reconstruction", ...] = ()
    """The same at the extra noise levels of the plan."""


Reconstructor = Callable[[Sequence[NDArray[np.floating]], Sequence[str]], Reconstruction]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentModels:
    """The two networks that act on latents, and their plans."""

    unet: nn.Module
    """Denoising U-Net, in evaluation mode on its device."""
    classifier: nn.Module | None
    """Noise-conditioned classifier; None = nothing that needs one guides."""
    diffusion: DiffusionPlan
    """Process of the U-Net."""
    inference: InferencePlan
    """Solver, level, guidance."""

    @property
    def process(self) -> Process:
        """The diffusion process of the U-Net."""
        return build_process(self.diffusion)


def build_reconstructor(codec: Codec, models: LatentModels, *, seed: int, device: torch.device) -> Reconstructor:
    """Function from patches (`[Z, Y, X]` in [-1, 1]) and their names to reconstructions; averages `num_samples`.

    All samples of all patches pass the networks as one batch, in the precision of the plan. Every noise level has
    noise of its own; with and without guidance it is the same.
    """
    plan = models.inference
    levels = [round_trip_of(models, sigma=sigma) for sigma in plan.sigmas]
    unguided = [round_trip_of(models, sigma=sigma, guidance_scale=0.0) for sigma in plan.sigmas]
    samples, compares = plan.num_samples, plan.residual_of == "unguided"

    @torch.no_grad()
    def reconstruct(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
        x = torch.from_numpy(np.stack(patches)[:, None].astype(np.float32)).to(device)

        def mean_of(round_trip: RoundTrip, u: Tensor, level: int) -> Tensor:
            keys = [(name, str(k), *([f"level {level}"] if level else [])) for name in names for k in range(samples)]
            drawn = round_trip(u.repeat_interleave(samples, dim=0), [generator_for(*key, seed=seed) for key in keys])
            decoded = torch.unflatten(codec.decode(drawn).float(), 0, (len(names), samples))
            return decoded.mean(dim=1).clamp(-1, 1).cpu()

        with autocast(device, plan.precision):
            u = codec.encode(x).float()
            autoencoded = codec.decode(u).float().clamp(-1, 1).cpu()
            healthy = [mean_of(trip, u, level) for level, trip in enumerate(levels)]
            without = [mean_of(trip, u, level) if compares else None for level, trip in enumerate(unguided)]
        first, *extra = (Reconstruction(h, autoencoded, w) for h, w in zip(healthy, without, strict=True))
        return first._replace(extra=tuple(extra))

    return reconstruct


def round_trip_of(models: LatentModels, **changes: float) -> RoundTrip:
    """The round trip of the plan, with another noise level or guidance scale where these are given."""
    plan = replace(models.inference, **changes)  # type: ignore[arg-type]
    sample = SAMPLERS[plan.sampler]
    trip = Trip(
        process=models.process,
        ways=ways_of(replace(models, inference=plan)),
        sigma=plan.sigma,
        num_steps=plan.num_steps,
        inverts=plan.encode == "invert",
        limit=1.0 if models.diffusion.latent_scaling == "codebook_range" else None,
    )
    return lambda u, generators: sample(trip, u, generators)


def ways_of(models: LatentModels) -> Ways:
    """Who answers on the ways up and down, guided as the plan says."""
    return GUIDANCE[models.inference.guidance](models)


def _unguided(models: LatentModels) -> Ways:
    """The same denoiser both ways."""
    denoise = models.process.denoiser(models.unet)
    return Ways(denoise, lambda: denoise)


def _relative(models: LatentModels) -> Ways:
    """Down along the gradient of the classifier, if there is one, by a share of the noise estimate."""
    if models.classifier is None:
        return _unguided(models)
    denoise, log_prob = models.process.denoiser(models.unet), _log_healthy(models.classifier, models.process)
    return Ways(denoise, lambda: relative_guidance(denoise, log_prob, rho=models.inference.guidance_scale))


def _gradient(models: LatentModels) -> Ways:
    """Down along the gradient of the classifier, if there is one, as published."""
    process, scale = models.process, models.inference.guidance_scale
    if models.classifier is None:
        return _unguided(models)
    assert isinstance(process, VP)  # no sampler of another process offers it
    denoise, log_prob = process.denoiser(models.unet), _log_healthy(models.classifier, process)
    guided = classifier_guidance(denoise, log_prob, schedule=process.schedule, scale=scale)
    return Ways(denoise, lambda: guided, classifier_drift(log_prob, scale=scale))


def _free(models: LatentModels) -> Ways:
    """Up with the null class, down past the healthy class and away from the null class (METHOD 3.4)."""
    denoiser = models.process.denoiser
    null, healthy = (denoiser(_of_class(models.unet, label)) for label in (NULL_CLASS, OrganState.HEALTHY))
    guided = classifier_free_guidance(healthy, null, weight=models.inference.guidance_scale)
    return Ways(null, lambda: guided)


GUIDANCE: dict[str, Callable[[LatentModels], Ways]] = {
    "none": _unguided,
    "relative": _relative,
    "gradient": _gradient,
    "free": _free,
}


def _of_class(network: nn.Module, label: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A class-conditional network bound to one class: `(x, time)`, as denoisers ask."""

    def bound(x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = network(x, time, torch.full((len(x),), int(label), device=x.device))
        return out

    return bound


def _log_healthy(classifier: nn.Module, process: Process) -> LogProb:
    """log p(healthy | x) [B] of states of the process at their level."""

    def log_prob(x: Tensor, level: Tensor) -> Tensor:
        logits = classifier(*process.classifier_input(x, level))
        return torch.log_softmax(logits.float(), dim=1)[:, OrganState.HEALTHY]

    return log_prob
