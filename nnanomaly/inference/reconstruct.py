"""The healthy reconstruction of organ patches: encode, go up to the noise level, come down guided, decode.

METHOD sections 3 and 5. A *round trip* maps latents `u` [B, C, Z, Y, X] to healthy latents; which one is a plan choice
and an entry in `ROUND_TRIPS`. Noise is keyed by what the patches hold, so that batches, parts, reruns and
renamed scans agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nnanomaly.device import autocast
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.diffusion.denoiser import Denoiser, edm_denoiser, eps_denoiser
from nnanomaly.diffusion.guidance import (
    classifier_drift,
    classifier_free_guidance,
    classifier_guidance,
    relative_guidance,
)
from nnanomaly.diffusion.noise import gaussian, generator_for, step_noise
from nnanomaly.diffusion.samplers import ddim_invert, ddim_sample, ddpm_sample, heun
from nnanomaly.diffusion.schedule import NoiseSchedule, cosine_schedule, karras_sigmas, per_item, strided_times
from nnanomaly.inference.finite import finite
from nnanomaly.networks.classifier import OrganState
from nnanomaly.networks.conditioning import NULL_CLASS
from nnanomaly.plans import DiffusionPlan, InferencePlan

Generators = Sequence[torch.Generator]
RoundTrip = Callable[[Tensor, Generators], Tensor]
SMALLEST_SIGMA = 0.02


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
    samples: tuple["Reconstruction", ...] = ()
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


def build_reconstructor(
    codec: Codec, models: LatentModels, *, seed: int, device: torch.device, most_at_once: int | None = None
) -> Reconstructor:
    """Function from patches (`[Z, Y, X]` in [-1, 1]) and keys of noise to reconstructions; averages `num_samples`.

    `most_at_once` samples (None = all) of all patches pass the networks as one batch, in the precision of the plan.
    Every noise level has noise of its own; with and without guidance it is the same. The first samples do not depend
    on how many follow. Raises `DataError` (NET-NONFINITE) where the networks answer with what is no number.
    """
    plan = models.inference
    levels = [_round_trip_at(models, sigma=sigma) for sigma in plan.sigmas]
    unguided = [_round_trip_at(models, sigma=sigma, guidance_scale=0.0) for sigma in plan.sigmas]
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


def _round_trip_at(models: LatentModels, **changes: float) -> RoundTrip:
    """The round trip of the plan with another noise level or guidance scale."""
    changed = replace(models.inference, **changes)  # type: ignore[arg-type]
    return ROUND_TRIPS[changed.sampler](replace(models, inference=changed))


class _Ways(NamedTuple):
    """The denoisers of a round trip."""

    up: Denoiser
    """For the inversion, unguided."""
    down: Callable[[], Denoiser]
    """Makes the guided one anew for every chain: it may remember where it has been."""


def _unguided(models: LatentModels) -> _Ways:
    """The same denoiser both ways."""
    denoise = edm_denoiser(models.unet)
    return _Ways(denoise, lambda: denoise)


def _relative(models: LatentModels) -> _Ways:
    """Down along the gradient of the classifier, if there is one."""
    if models.classifier is None:
        return _unguided(models)
    denoise, log_prob = edm_denoiser(models.unet), _log_healthy_of_sigma(models.classifier)
    return _Ways(denoise, lambda: relative_guidance(denoise, log_prob, rho=models.inference.guidance_scale))


def _free(models: LatentModels) -> _Ways:
    """Up with the null class, down past the healthy class and away from the null class (METHOD 3.4)."""
    null, healthy = (edm_denoiser(_of_class(models.unet, label)) for label in (NULL_CLASS, OrganState.HEALTHY))
    guided = classifier_free_guidance(healthy, null, weight=models.inference.guidance_scale)
    return _Ways(null, lambda: guided)


HEUN_GUIDANCE = {"none": _unguided, "relative": _relative, "free": _free}


def _heun_round_trip(models: LatentModels) -> RoundTrip:
    """Noise level as sigma, EDM preconditioning, Heun's solver; inverted or noised upwards."""
    plan = models.inference
    ways = HEUN_GUIDANCE[plan.guidance](models)
    sigmas = karras_sigmas(SMALLEST_SIGMA, plan.sigma, plan.num_steps)

    def round_trip(u: Tensor, generators: Generators) -> Tensor:
        if plan.encode == "invert":
            x = heun(ways.up, u, sigmas)
        else:
            x = u + plan.sigma * gaussian(u.shape[1:], generators).to(u)
        return heun(ways.down(), x, sigmas.flip(0))

    return round_trip


def _one_step(models: LatentModels) -> RoundTrip:
    """The denoiser's clean latent at the noise level: the mean over all ways down, in one evaluation."""
    plan, denoise = models.inference, edm_denoiser(models.unet)

    def round_trip(u: Tensor, generators: Generators) -> Tensor:
        level = torch.full((len(u),), plan.sigma, device=u.device)
        return denoise(u + plan.sigma * gaussian(u.shape[1:], generators).to(u), level).x0

    return round_trip


def _ddim_round_trip(models: LatentModels) -> RoundTrip:
    """The paper's DDIM: deterministic up, guided down by an eps shift, unit stride."""
    plan, schedule, times = models.inference, *_discrete(models)
    denoise = eps_denoiser(models.unet, schedule)

    def round_trip(u: Tensor, generators: Generators) -> Tensor:
        if plan.encode == "invert":
            x_t = ddim_invert(denoise, u, times, schedule=schedule)
        else:
            x_t = _forward(u, times, schedule, generators)
        guided = denoise
        if models.classifier is not None and plan.guidance == "gradient":
            log_prob = _log_healthy_of_time(models.classifier, schedule)
            guided = classifier_guidance(denoise, log_prob, schedule=schedule, scale=plan.guidance_scale)
        return ddim_sample(guided, x_t, times, schedule=schedule)

    return round_trip


def _ddpm_round_trip(models: LatentModels) -> RoundTrip:
    """The paper's DDPM: forward diffusion up, ancestral sampling down with a mean shift."""
    plan, schedule, times = models.inference, *_discrete(models)
    limit = 1.0 if models.diffusion.latent_scaling == "codebook_range" else None
    denoise = eps_denoiser(models.unet, schedule, clamp=limit)

    def round_trip(u: Tensor, generators: Generators) -> Tensor:
        x_t = _forward(u, times, schedule, generators)
        drift = None
        if models.classifier is not None and plan.guidance == "gradient":
            drift = classifier_drift(_log_healthy_of_time(models.classifier, schedule), scale=plan.guidance_scale)
        draw = step_noise(u.shape[1:], generators)
        return ddpm_sample(denoise, x_t, times, schedule=schedule, noise=lambda step: draw(step).to(u), drift=drift)

    return round_trip


ROUND_TRIPS: dict[str, Callable[[LatentModels], RoundTrip]] = {
    "heun": _heun_round_trip,
    "one_step": _one_step,
    "ddim": _ddim_round_trip,
    "ddpm": _ddpm_round_trip,
}


def _discrete(models: LatentModels) -> tuple[NoiseSchedule, Tensor]:
    """Cosine schedule, and the times up to the level of the plan."""
    schedule = cosine_schedule(models.diffusion.num_timesteps)
    last = round(float(schedule.time_of(torch.tensor(models.inference.sigma, dtype=torch.float64))))
    return schedule, strided_times(last, min(models.inference.num_steps, last + 1))


def _forward(u: Tensor, times: Tensor, schedule: NoiseSchedule, generators: Generators) -> Tensor:
    """q(x_t | x_0) at the last of the times."""
    return schedule.add_noise(u, gaussian(u.shape[1:], generators).to(u), times[-1].expand(len(u)))


def _of_class(network: nn.Module, label: int) -> Callable[[Tensor, Tensor], Tensor]:
    """A class-conditional network bound to one class: `(x, time)`, as denoisers ask."""

    def bound(x: Tensor, time: Tensor) -> Tensor:
        out: Tensor = network(x, time, torch.full((len(x),), int(label), device=x.device))
        return out

    return bound


def _log_healthy_of_sigma(classifier: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """log p(healthy | x) of a VE state at noise level sigma; the classifier sees it scaled to unit variance."""

    def log_prob(x: Tensor, sigma: Tensor) -> Tensor:
        level = sigma.float()
        logits = classifier(x / torch.sqrt(1 + per_item(level, x) ** 2), torch.log(level) / 4)
        return torch.log_softmax(logits.float(), dim=1)[:, OrganState.HEALTHY]

    return log_prob


def _log_healthy_of_time(classifier: nn.Module, schedule: NoiseSchedule) -> Callable[[Tensor, Tensor], Tensor]:
    """log p(healthy | x_t) of a VP state at time t."""

    def log_prob(x_t: Tensor, t: Tensor) -> Tensor:
        logits = classifier(x_t, torch.log(schedule.sigma_of(t)).float() / 4)
        return torch.log_softmax(logits.float(), dim=1)[:, OrganState.HEALTHY]

    return log_prob
