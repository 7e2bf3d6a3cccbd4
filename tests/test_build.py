"""Every name a plans file may hold has a network, and the networks of a preset fit each other. Shapes only."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from nnanomaly.build import (
    AUTOENCODERS,
    PROCESSES,
    UNETS,
    build_classifier,
    build_codec,
    build_discriminators,
    build_process,
    build_unet,
    build_vqgan,
)
from nnanomaly.diffusion.noise import NOISES
from nnanomaly.diffusion.process import VP
from nnanomaly.diffusion.samplers import SAMPLERS
from nnanomaly.diffusion.schedule import SCHEDULES, linear_schedule
from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.inference.reconstruct import GUIDANCE
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.plans import CODECS, GUIDANCE_OF, PLANS_NAMES, Plans
from nnanomaly.utilities.errors import ConfigurationError


def plans_of(preset: str) -> Plans:
    base = PRESETS[preset]
    return Plans(
        dataset_name="Dataset501_Kidney",
        plans_name=PLANS_NAMES[preset],
        preset=preset,
        gpu_memory_target_gb=8.0,
        organs=("kidney_left",),
        preprocessing=base.preprocessing,
        vqgan=base.vqgan,
        classifier=base.classifier,
        ddpm=base.ddpm,
        inference=base.inference,
        reasons={},
    )


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_networks_of_a_preset_fit_each_other(preset: str) -> None:
    plans = plans_of(preset)
    latent_shape = (2, plans.vqgan.latent_channels, *plans.latent_shape)
    with torch.device("meta"):
        patch = torch.zeros(2, 1, *plans.preprocessing.patch_size)
        vqgan, time = build_vqgan(plans), torch.zeros(2)
        latent = vqgan.encode(patch)
        assert latent.shape == latent_shape
        assert vqgan.decode(latent).shape == patch.shape
        assert build_unet(plans)(latent, time).shape == latent_shape
        assert build_classifier(plans)(latent, time).shape == (2, 2)


@pytest.mark.parametrize(
    ("field", "table"), [("noise", NOISES), ("schedule", SCHEDULES), ("process", PROCESSES)], ids=str
)
def test_the_plans_offer_every_entry_of_a_table_of_the_diffusion_and_no_other(
    field: str, table: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        replace(plans_of("paper").ddpm, **{field: "none of them"})
    assert str(refused.value).split("must be one of ")[1].split(", ") == sorted(table, key=list(table).index)


def test_every_sampler_and_every_guidance_of_the_plans_is_there() -> None:
    assert set(SAMPLERS) == set(GUIDANCE_OF)
    assert set(GUIDANCE) == {form for forms in GUIDANCE_OF.values() for form in forms}


def test_noise_and_schedule_of_the_plans_are_those_of_the_process() -> None:
    process = build_process(replace(plans_of("paper").ddpm, noise="pyramid", schedule="linear"))
    assert isinstance(process, VP)
    assert process.noise is NOISES["pyramid"]
    assert torch.equal(process.schedule.sigma, linear_schedule(1000).sigma)
    assert build_process(replace(plans_of("default").ddpm, noise="pyramid")).noise is NOISES["pyramid"]


def test_architecture_of_the_plans_decides_the_unet() -> None:
    with torch.device("meta"):
        assert isinstance(build_unet(plans_of("default")), UNet3D)
        assert isinstance(build_unet(plans_of("paper")), FactorisedUNet)
    assert set(UNETS) == {"unet3d", "factorised"}


def test_every_codec_of_the_plans_has_an_autoencoder() -> None:
    assert set(AUTOENCODERS) == set(CODECS)


@pytest.mark.parametrize("codec", CODECS)
def test_networks_of_every_codec_fit_each_other(
    tiny_plans: Callable[..., Plans], with_codec: Callable[[Plans, str], Plans], codec: str
) -> None:
    plans = with_codec(tiny_plans("default", dataset="Dataset501_Kidney"), codec)
    channels = plans.vqgan.latent_channels
    scaling = {"mean": [0.5] * channels, "std": [2.0] * channels}
    built = build_codec(plans, build_vqgan(plans), scaling)
    x, time = torch.zeros(2, 1, 16, 16, 16), torch.zeros(2)
    latent = built.encode(x)
    assert latent.shape == (2, channels, *plans.latent_shape)
    assert built.decode(latent).shape == x.shape
    assert build_unet(plans)(latent, time).shape == latent.shape
    assert build_classifier(plans)(latent, time).shape == (2, 2)


@pytest.mark.parametrize("codec", ["haar", "identity"])
def test_codecs_that_learn_nothing_return_the_patch_to_a_millionth_whatever_their_scaling(
    tiny_plans: Callable[..., Plans], with_codec: Callable[[Plans, str], Plans], codec: str
) -> None:
    plans = with_codec(tiny_plans("default", dataset="Dataset501_Kidney"), codec)
    network, generator = build_vqgan(plans), torch.Generator().manual_seed(0)
    x = 2 * torch.rand(2, 1, 16, 16, 16, generator=generator) - 1
    z = network.encode(x)
    scaling = {"mean": z.mean(dim=(0, 2, 3, 4)).tolist(), "std": z.std(dim=(0, 2, 3, 4)).tolist()}
    built = build_codec(plans, network, scaling)
    u = built.encode(x)
    torch.testing.assert_close(u.std(dim=(0, 2, 3, 4)), torch.ones(plans.vqgan.latent_channels))
    torch.testing.assert_close(built.decode(u), x, atol=1e-6, rtol=0)
    torch.testing.assert_close(network(x).reconstruction, x, atol=1e-6, rtol=0)
    assert network.state_dict() == {}


def test_the_mean_is_the_latent_of_kl_and_no_code_is_looked_up(
    tiny_plans: Callable[..., Plans], with_codec: Callable[[Plans, str], Plans]
) -> None:
    plans = with_codec(tiny_plans("default", dataset="Dataset501_Kidney"), "kl")
    network, x = build_vqgan(plans), torch.rand(1, 1, 16, 16, 16)
    built = build_codec(plans, network, {"mean": [0.0] * 4, "std": [1.0] * 4})
    torch.testing.assert_close(built.encode(x), network.posterior(x).mean)
    torch.testing.assert_close(built.decode(built.encode(x)), network(x).reconstruction, atol=1e-5, rtol=1e-5)


def test_discriminators_are_built_only_where_the_plans_weigh_them() -> None:
    plans = plans_of("default")
    with torch.device("meta"):
        assert set(build_discriminators(plans)) == {"slices", "volumes"}
        unjudged = replace(plans, vqgan=replace(plans.vqgan, adversarial_weight=0.0))
        assert set(build_discriminators(unjudged)) == set()
