"""Which settings a sweep tries: copies of the plans with other noise levels and guidance scales."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from nnanomaly.diffusion.schedule import cosine_schedule
from nnanomaly.plans import Plans

SIGMA_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5)
"""Of the noise level of the plans, for noise levels as sigma."""
DISCRETE_LEVELS = (250, 400, 500, 600, 750)
"""Steps of 1000 of a discrete schedule; the paper chose 500."""
SCALE_FACTORS = (0.0, 0.5, 1.0, 2.0)
"""Of the guidance scale of the plans; 0 is no guidance, which may well be best."""


def candidate_plans(plans: Plans, *, sigmas: Sequence[float] | None, scales: Sequence[float] | None) -> list[Plans]:
    """The plans at every pair of noise level and scale, levels ascending; without guidance there is but one scale.

    A level that the diffusion model was not trained for, or a negative scale, raises `ConfigurationError`. On a
    discrete schedule the number of steps follows the level, so that the stride stays that of the plans.
    """
    levels = sorted(set(sigmas)) if sigmas else _levels_around(plans)
    if plans.inference.guidance == "none":
        pushes = [plans.inference.guidance_scale]
    else:
        pushes = sorted(set(scales)) if scales else [f * plans.inference.guidance_scale for f in SCALE_FACTORS]
    return [_with(plans, sigma, scale) for sigma in levels for scale in pushes]


def _levels_around(plans: Plans) -> list[float]:
    if plans.ddpm.process == "edm":
        return [f * plans.inference.sigma for f in SIGMA_FACTORS if f * plans.inference.sigma <= plans.ddpm.max_sigma]
    schedule = cosine_schedule(plans.ddpm.num_timesteps)
    times = torch.tensor([level * plans.ddpm.num_timesteps // 1000 for level in DISCRETE_LEVELS])
    return [round(float(sigma), 4) for sigma in schedule.sigma_of(times)]


def _with(plans: Plans, sigma: float, scale: float) -> Plans:
    inference = plans.inference
    steps = inference.num_steps
    if plans.ddpm.process == "ddpm":
        schedule = cosine_schedule(plans.ddpm.num_timesteps)
        before, after = schedule.time_of(torch.tensor([inference.sigma, sigma], dtype=torch.float64)).tolist()
        steps = max(1, round(steps * (after + 1) / (before + 1)))
    guidance = "none" if scale == 0 and inference.needs_classifier else inference.guidance
    changed = replace(inference, sigma=sigma, guidance=guidance, guidance_scale=scale, num_steps=steps)
    return replace(plans, inference=changed)
