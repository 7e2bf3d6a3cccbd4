"""Which settings a sweep tries: copies of the plans with other noise levels and guidance scales."""

from collections.abc import Sequence
from dataclasses import replace

from nnanomaly.build import build_process
from nnanomaly.plans import Guidance, Plans

SCALE_FACTORS = (0.0, 0.5, 1.0, 2.0)
"""Of the guidance scale of the plans; 0 is no guidance, which may well be best."""


def candidate_plans(plans: Plans, *, sigmas: Sequence[float] | None, scales: Sequence[float] | None) -> list[Plans]:
    """The plans at every pair of noise level and scale, levels ascending; without guidance there is but one scale.

    A level that the diffusion model was not trained for, or a negative scale, raises `ConfigurationError`. On a
    discrete schedule the number of steps follows the level, so that the stride stays that of the plans.
    """
    levels = sorted(set(sigmas)) if sigmas else build_process(plans.ddpm).sigmas_around(plans.inference.sigma)
    if plans.inference.guidance == "none":
        pushes = [plans.inference.guidance_scale]
    else:
        pushes = sorted(set(scales)) if scales else [f * plans.inference.guidance_scale for f in SCALE_FACTORS]
    return [_with(plans, sigma, scale) for sigma in levels for scale in pushes]


def _with(plans: Plans, sigma: float, scale: float) -> Plans:
    inference = plans.inference
    steps = build_process(plans.ddpm).steps_between(inference.sigma, sigma, inference.num_steps)
    guidance: Guidance = "none" if scale == 0 and inference.needs_classifier else inference.guidance
    changed = replace(inference, sigma=sigma, guidance=guidance, guidance_scale=scale, num_steps=steps)
    return replace(plans, inference=changed)
