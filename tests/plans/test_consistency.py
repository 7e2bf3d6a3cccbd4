"""Parts of the plans that do not fit each other are refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import get_args

import pytest

from nnanomaly.experiment_planning.presets import PAPER
from nnanomaly.plans import (
    GUIDANCE_OF,
    SAMPLERS_OF,
    Plans,
    choices,
)
from nnanomaly.utilities.errors import ConfigurationError


def test_the_factorised_network_needs_no_divisible_depth(plans: Plans) -> None:
    patches = replace(plans.preprocessing, patch_size=(20, 16, 16))
    ddpm = replace(PAPER.ddpm, widths=(8,) * 4)
    paper = replace(plans, preprocessing=patches, ddpm=ddpm, inference=PAPER.inference)
    assert paper.latent_shape == (10, 8, 8)
    with pytest.raises(ConfigurationError, match="latent shape"):
        replace(paper, preprocessing=replace(patches, patch_size=(20, 20, 16)))


def test_everything_that_does_not_fit_a_codec_is_named_in_one_line(plans: Plans) -> None:
    with pytest.raises(ConfigurationError) as refused:
        replace(plans, vqgan=replace(plans.vqgan, codec="identity"))
    line = str(refused.value)
    assert "\n" not in line
    for part in (
        "vqgan.codec is 'identity'",
        "vqgan.stride must be (1, 1, 1), not (2, 2, 2)",
        "vqgan.latent_channels must be 1, not 4",
        "inference.quantise must be False, not True",
    ):
        assert part in line
    assert "latent_scaling" not in line  # that one fits


@pytest.mark.parametrize(
    ("codec", "change", "field"),
    [
        ("haar", lambda p: replace(p, vqgan=replace(p.vqgan, latent_channels=4)), "latent_channels must be 8, not 4"),
        ("haar", lambda p: replace(p, vqgan=replace(p.vqgan, stride=(1, 2, 2))), "stride"),
        ("kl", lambda p: replace(p, inference=replace(p.inference, quantise=True)), "quantise"),
        ("kl", lambda p: replace(p, ddpm=replace(p.ddpm, latent_scaling="codebook_range")), "latent_scaling"),
    ],
)
def test_a_field_that_does_not_fit_a_codec_is_refused(
    plans: Plans,
    with_codec: Callable[[Plans, str], Plans],
    codec: str,
    change: Callable[[Plans], Plans],
    field: str,
) -> None:
    fitting = with_codec(plans, codec)
    with pytest.raises(ConfigurationError, match=rf"vqgan.codec is '{codec}'.*{re.escape(field)}"):
        change(fitting)


def test_inpainting_and_extra_levels_are_refused_where_the_network_cannot_follow(
    tiny_plans: Callable[..., Plans], plans: Plans
) -> None:
    with pytest.raises(ConfigurationError, match="extra_sigmas is 99"):
        replace(plans, inference=replace(plans.inference, extra_sigmas=(0.5, 99.0)))
    paper = tiny_plans("paper", dataset="Dataset501_Kidney")
    with pytest.raises(ConfigurationError, match="only edm inpaints"):
        replace(paper, inference=replace(paper.inference, inpaint_rounds=3))


@pytest.mark.parametrize(("guidance", "dropout"), [("free", 0.0), ("none", 0.15), ("relative", 0.15)])
def test_free_guidance_and_a_model_that_knows_the_classes_need_each_other(
    plans: Plans, guidance: str, dropout: float
) -> None:
    inference, ddpm = replace(plans.inference, guidance=guidance), replace(plans.ddpm, class_dropout=dropout)
    with pytest.raises(ConfigurationError, match=rf"guidance is '{guidance}'.*class_dropout is {dropout:g}") as refused:
        replace(plans, inference=inference, ddpm=ddpm)
    assert "\n" not in str(refused.value)
    assert replace(plans, inference=replace(inference, guidance="free"), ddpm=replace(ddpm, class_dropout=0.15))


def test_a_sampler_of_another_process_is_refused(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="sampler.*ddim.*edm"):
        replace(plans, inference=PAPER.inference)


def test_every_sampler_belongs_to_a_process_and_every_guidance_to_a_sampler() -> None:
    assert set(SAMPLERS_OF) == set(get_args(choices.Process))
    assert set(chain.from_iterable(SAMPLERS_OF.values())) == set(GUIDANCE_OF) == set(get_args(choices.Sampler))
    assert set(chain.from_iterable(GUIDANCE_OF.values())) == set(get_args(choices.Guidance))
