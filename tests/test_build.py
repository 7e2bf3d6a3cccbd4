"""Every name a plans file may hold has a network, and the networks of a preset fit each other. Shapes only."""

from dataclasses import replace

import pytest
import torch

from nnanomaly.build import UNETS, build_classifier, build_discriminators, build_unet, build_vqgan
from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.plans import PLANS_NAMES, Plans


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


def test_architecture_of_the_plans_decides_the_unet() -> None:
    with torch.device("meta"):
        assert isinstance(build_unet(plans_of("default")), UNet3D)
        assert isinstance(build_unet(plans_of("paper")), FactorisedUNet)
    assert set(UNETS) == {"unet3d", "factorised"}


def test_discriminators_are_built_only_where_the_plans_weigh_them() -> None:
    plans = plans_of("default")
    with torch.device("meta"):
        assert set(build_discriminators(plans)) == {"slices", "volumes"}
        unjudged = replace(plans, vqgan=replace(plans.vqgan, adversarial_weight=0.0))
        assert set(build_discriminators(unjudged)) == set()
