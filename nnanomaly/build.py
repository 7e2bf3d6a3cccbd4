"""From plans to networks: explicit tables of names, so that a new variant is a new class and one entry here."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from nnanomaly.diffusion.codecs import Codec, HaarCodec, IdentityCodec, RangeCodec, StandardisedCodec
from nnanomaly.diffusion.noise import NOISES
from nnanomaly.diffusion.process import EDM, VP, Process
from nnanomaly.diffusion.schedule import SCHEDULES
from nnanomaly.networks.autoencoder import Autoencoder, FixedAutoencoder
from nnanomaly.networks.classifier import LatentClassifier
from nnanomaly.networks.conditioning import ClassConditionedUNet
from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.kl_autoencoder import KLAutoencoder
from nnanomaly.networks.lesion_head import LesionHead
from nnanomaly.networks.unet import UNet3D
from nnanomaly.networks.unet_factorised import FactorisedUNet
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import DiffusionPlan, Plans, VQGANPlan


def _fixed(codec: Codec) -> Callable[[VQGANPlan], Autoencoder]:
    return lambda plan: FixedAutoencoder(codec.encode, codec.decode)


AUTOENCODERS: dict[str, Callable[[VQGANPlan], Autoencoder]] = {
    "vq": VQGAN,
    "kl": KLAutoencoder,
    "haar": _fixed(HaarCodec()),
    "identity": _fixed(IdentityCodec()),
}
UNETS: dict[str, type[UNet3D] | type[FactorisedUNet]] = {"unet3d": UNet3D, "factorised": FactorisedUNet}


PROCESSES: dict[str, Callable[[DiffusionPlan], Process]] = {
    "edm": lambda plan: EDM(
        noise=NOISES[plan.noise],
        log_sigma_mean=plan.log_sigma_mean,
        log_sigma_std=plan.log_sigma_std,
        largest_sigma=plan.max_sigma,
    ),
    "ddpm": lambda plan: VP(noise=NOISES[plan.noise], schedule=SCHEDULES[plan.schedule](plan.num_timesteps)),
}


def build_vqgan(plans: Plans) -> Autoencoder:
    """The autoencoder of patches `[B, 1, Z, Y, X]`, of whichever codec: the stage is called `vqgan` for all of them."""
    return AUTOENCODERS[plans.vqgan.codec](plans.vqgan)


def build_discriminators(plans: Plans) -> nn.ModuleDict:
    """`slices` judges axial, coronal and sagittal slices, `volumes` whole patches; none without adversarial term."""
    dimensions = {"slices": 2, "volumes": 3} if plans.vqgan.adversarial_weight > 0 else {}
    return nn.ModuleDict(
        {name: PatchDiscriminator(d, plans.vqgan.discriminator_norm) for name, d in dimensions.items()}
    )


def build_unet(plans: Plans) -> nn.Module:
    """The network of the diffusion model: `net(x [B, C, *latent], time [B])` like x.

    Where the plans train it on labelled organs of both classes, it takes their labels `[B]` as well.
    """
    unet = UNETS[plans.ddpm.architecture](plans.ddpm, plans.vqgan.latent_channels)
    network = ClassConditionedUNet(unet) if plans.ddpm.class_dropout > 0 else unet
    # Every activation follows the layout of the weights; convolutions of few channels run up to twice as fast in it.
    return network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def build_process(plan: DiffusionPlan) -> Process:
    """The diffusion process that a network of this plan is trained and asked in."""
    return PROCESSES[plan.process](plan)


def build_classifier(plans: Plans) -> LatentClassifier:
    """The network that tells healthy from unhealthy latents: `net(x [B, C, *latent], time [B])` -> logits `[B, 2]`."""
    return LatentClassifier(plans.classifier, plans.vqgan.latent_channels)


def build_head(plans: Plans) -> nn.Module:
    """The lesion head: `net(x [B, C, *patch])` -> logits `[B, 1, *patch]`."""
    return LesionHead(plans.head).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def build_codec(plans: Plans, vqgan: Autoencoder, scaling: Mapping[str, Sequence[float]]) -> Codec:
    """The autoencoder behind the codec interface; `scaling` holds `mean` and `std` per channel, or `low` and `high`.

    Latents are encoded without quantisation; whether they snap to codes, if there are any, before decoding is the
    plan's choice.
    """
    decode = vqgan.decode
    if plans.inference.quantise:
        assert isinstance(vqgan, VQGAN)  # plans of another codec cannot ask for it
        decode = vqgan.decode_nearest
    if plans.ddpm.latent_scaling == "codebook_range":
        return RangeCodec(to_latent=vqgan.encode, from_latent=decode, low=scaling["low"][0], high=scaling["high"][0])
    mean, std = (torch.tensor(scaling[key]) for key in ("mean", "std"))
    return StandardisedCodec(to_latent=vqgan.encode, from_latent=decode, mean=mean, std=std)
