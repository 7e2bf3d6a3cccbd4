"""The plan of the inference: what goes together, and what it needs."""

from dataclasses import replace

import pytest

from nnanomaly.experiment_planning.presets import PAPER
from nnanomaly.plans import (
    Plans,
)
from nnanomaly.utilities.errors import ConfigurationError


def test_a_difference_to_the_unguided_reconstruction_needs_guidance(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="nought everywhere"):
        replace(plans.inference, guidance="none", residual_of="unguided")


@pytest.mark.parametrize(
    ("sampler", "guidance"),
    [("heun", "gradient"), ("ddim", "relative"), ("ddpm", "relative"), ("ddim", "free"), ("ddpm", "free")],
)
def test_a_guidance_that_the_sampler_cannot_do_is_refused(sampler: str, guidance: str) -> None:
    with pytest.raises(ConfigurationError, match=f"guidance.*{guidance}.*{sampler}"):
        replace(PAPER.inference, sampler=sampler, guidance=guidance)


@pytest.mark.parametrize(
    ("guidance", "sampler", "needed"),
    [("none", "heun", False), ("free", "heun", False), ("relative", "heun", True), ("gradient", "ddim", True)],
)
def test_a_classifier_is_needed_where_its_gradient_guides(guidance: str, sampler: str, needed: bool) -> None:
    assert replace(PAPER.inference, guidance=guidance, sampler=sampler).needs_classifier is needed
