"""The healthy reconstruction of organ patches: encode, go up to the noise level, come down guided, decode.

METHOD 3 and 5.1. A *round trip* maps latents `u` [B, C, Z, Y, X] to healthy latents: a sampler and a form of
guidance of the plan, in the process that the U-Net was trained in. Noise is keyed by what the patches hold, so
that batches, parts, reruns and renamed scans agree.
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
from nnanomaly.inference.finite import finite
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
    extra: "tuple[Reconstruction, ...]" = ()
    """The same at the extra noise levels of the plan."""
    samples: "tuple[Reconstruction, ...]" = ()
    """The same of every sample of the noise alone; empty where there is one."""


Reconstructor = Callable[[Sequence[NDArray[np.floating]], Sequence[str]], Reconstruction]
"""(patches `[Z, Y, X]`, keys of their noise) -> reconstructions."""


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


def build_reconstructor(
    codec: Codec, models: LatentModels, *, seed: int, device: torch.device, most_at_once: int | None = None
) -> Reconstructor:
    """Function from patches (`[Z, Y, X]` in [-1, 1]) and keys of noise to reconstructions; averages `num_samples`.

    `most_at_once` samples (None = all) of all patches pass the networks as one batch, in the precision of the plan.
    Every noise level has noise of its own; with and without guidance it is the same. The first samples do not depend
    on how many follow. Raises `DataError` (NET-NONFINITE) where the networks answer with what is no number.
    """
    plan = models.inference
    levels = [round_trip_of(models, sigma=sigma) for sigma in plan.sigmas]
    unguided = [round_trip_of(models, sigma=sigma, guidance_scale=0.0) for sigma in plan.sigmas]
    samples, compares = range(plan.num_samples), plan.residual_of == "unguided"
    batches = [samples[k : k + (most_at_once or len(samples))] for k in samples[:: most_at_once or len(samples)]]

    def decoded_of(round_trip: RoundTrip, u: Tensor, keys: Sequence[str], level: int) -> Tensor:
        """`[B, num_samples, 1, Z, Y, X]`, not clamped."""
        decoded = []
        for batch in batches:
            whole = [(key, str(k), *([f"level {level}"] if level else [])) for key in keys for k in batch]
            generators = [generator_for(*key, seed=seed) for key in whole]
            drawn = codec.decode(round_trip(u.repeat_interleave(len(batch), dim=0), generators))
            decoded.append(torch.unflatten(drawn.float(), 0, (len(keys), len(batch))))
        return finite(torch.cat(decoded, dim=1), "the healthy reconstruction")

    @torch.no_grad()
    def reconstruct(patches: Sequence[NDArray[np.floating]], keys: Sequence[str]) -> Reconstruction:
        x = torch.from_numpy(np.stack(patches)[:, None].astype(np.float32)).to(device)
        with autocast(device, plan.precision):
            u = finite(codec.encode(x).float(), "the code of the autoencoder")
            autoencoded = finite(codec.decode(u).float(), "the answer of the autoencoder").clamp(-1, 1).cpu()
            healthy = [decoded_of(trip, u, keys, level) for level, trip in enumerate(levels)]
            without = [decoded_of(trip, u, keys, level) if compares else None for level, trip in enumerate(unguided)]
        return _averaged(autoencoded, healthy, without)

    return reconstruct


def _averaged(autoencoded: Tensor, healthy: Sequence[Tensor], without: Sequence[Tensor | None]) -> Reconstruction:
    """The mean over the samples, and each of several alone; `[B, S, 1, Z, Y, X]` per noise level."""

    def of(pick: Callable[[Tensor], Tensor]) -> Reconstruction:
        first, *extra = (
            Reconstruction(pick(h).clamp(-1, 1).cpu(), autoencoded, None if w is None else pick(w).clamp(-1, 1).cpu())
            for h, w in zip(healthy, without, strict=True)
        )
        return first._replace(extra=tuple(extra))

    def sample(number: int) -> Callable[[Tensor], Tensor]:
        return lambda drawn: drawn[:, number]

    count = healthy[0].shape[1]
    alone = tuple(of(sample(number)) for number in range(count)) if count > 1 else ()
    return of(lambda drawn: drawn.mean(dim=1))._replace(samples=alone)


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
