"""Which plans make another network of a stage, by example; `test_identity.py` asks every field."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from nnanomaly.plans import GatePlan, Plans
from nnanomaly.stages import STAGES


def test_identity_ignores_how_long_and_how_fast_is_trained_and_how_is_predicted(plans: Plans) -> None:
    same = [
        plans.with_training("vqgan", num_iterations=12345, learning_rate=1.0, seed=9),
        replace(plans, inference=replace(plans.inference, sigma=0.5, guidance="none")),
        replace(plans, reasons={"x": "y"}),
        replace(plans, gpu_memory_target_gb=80.0),
        replace(plans, dataset_name="Dataset502_Copy"),
    ]
    assert {other.identity for other in same} == {plans.identity}


def test_identity_follows_preprocessing_networks_and_organs(plans: Plans) -> None:
    others = [
        replace(plans, preprocessing=replace(plans.preprocessing, window_hu=(-100.0, 300.0))),
        replace(plans, vqgan=replace(plans.vqgan, num_codes=64)),
        replace(plans, classifier=replace(plans.classifier, pool="logsumexp")),
        replace(plans, ddpm=replace(plans.ddpm, widths=(8, 16))),
        replace(plans, organs=("kidney_left",)),
    ]
    assert len({plans.identity, *(other.identity for other in others)}) == len(others) + 1


def test_identity_of_a_stage_follows_the_autoencoder_but_not_its_sister(plans: Plans) -> None:
    other = replace(plans, classifier=replace(plans.classifier, pool="logsumexp"))
    assert other.identity_of("classifier") != plans.identity_of("classifier")
    for stage in ("vqgan", "ddpm"):
        assert other.identity_of(stage) == plans.identity_of(stage)
    codes = replace(plans, vqgan=replace(plans.vqgan, num_codes=64))
    assert not {codes.identity_of(stage) for stage in STAGES} & {plans.identity_of(stage) for stage in STAGES}


@pytest.mark.parametrize("codec", ["kl", "haar", "identity"])
def test_another_codec_is_another_model_in_every_stage(
    plans: Plans, with_codec: Callable[[Plans, str], Plans], codec: str
) -> None:
    other = with_codec(plans, codec)
    assert not {other.identity_of(stage) for stage in STAGES} & {plans.identity_of(stage) for stage in STAGES}


def test_a_head_belongs_to_the_noise_levels_and_the_reference_it_was_trained_on(plans: Plans) -> None:
    for change in ({"extra_sigmas": (0.5,)}, {"residual_of": "autoencoded"}, {"anomaly_map": "ssim"}):
        other = replace(plans, inference=replace(plans.inference, **change))
        assert other.identity_of("head") != plans.identity_of("head")
        assert other.identity == plans.identity
    following = replace(plans, inference=replace(plans.inference, mirroring=True, follow_lesions=True))
    assert following.identity_of("head") == plans.identity_of("head")
    trained = replace(plans.head, augmentation=True, crop_mm=0.0, self_training_iterations=5)
    assert replace(plans, head=trained).identity_of("head") == plans.identity_of("head")


def test_lowering_a_limit_of_the_gate_makes_no_trained_network_another(plans: Plans) -> None:
    gate = GatePlan(min_contrast_retention=(0.0, 0.0, 0.9))
    other = replace(plans, vqgan=replace(plans.vqgan, gate=gate))
    assert [other.identity_of(stage) for stage in STAGES] == [plans.identity_of(stage) for stage in STAGES]


@pytest.mark.parametrize("change", [{"noise": "pyramid"}, {"schedule": "linear"}])
def test_a_network_belongs_to_the_noise_it_was_trained_on(plans: Plans, change: dict[str, str]) -> None:
    other = replace(plans, ddpm=replace(plans.ddpm, **change))
    for stage in ("classifier", "ddpm", "head"):
        assert other.identity_of(stage) != plans.identity_of(stage)
    assert other.identity_of("vqgan") == plans.identity_of("vqgan")


@pytest.mark.parametrize("change", [{"latent_scaling": "codebook_range"}, {"process": "ddpm"}])
def test_a_classifier_belongs_to_the_latents_and_noise_it_was_trained_on(plans: Plans, change: dict[str, Any]) -> None:
    sampler = {"sampler": "ddim", "guidance": "none"} if "process" in change else {}
    other = replace(plans, ddpm=replace(plans.ddpm, **change), inference=replace(plans.inference, **sampler))
    assert other.identity_of("classifier") != plans.identity_of("classifier")
    assert other.identity_of("vqgan") == plans.identity_of("vqgan")


def test_a_model_that_knows_the_classes_is_another_model(plans: Plans) -> None:
    free = replace(
        plans, inference=replace(plans.inference, guidance="free"), ddpm=replace(plans.ddpm, class_dropout=0.1)
    )
    assert free.identity_of("ddpm") != plans.identity_of("ddpm")
    assert free.identity_of("vqgan") == plans.identity_of("vqgan")
