"""Networks of a trained fold, with their averaged weights, ready to use; shared by later stages and by inference."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from nnanomaly.build import build_classifier, build_codec, build_head, build_unet, build_vqgan
from nnanomaly.checkpoint import FINAL, load_checkpoint
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.paths import LATENT_SCALING_JSON
from nnanomaly.plans import Plans
from nnanomaly.utilities.json_io import read_json

Network = TypeVar("Network", bound=nn.Module)


def load_vqgan(fold_folder: Path, plans: Plans, device: torch.device) -> Autoencoder:
    """The autoencoder of a fold."""
    return _load(build_vqgan(plans), fold_folder / FINAL, plans.identity_of("vqgan"), device)


def load_codec(fold_folder: Path, plans: Plans, device: torch.device) -> Codec:
    """The autoencoder of a fold behind the codec interface, with the latent scaling that was fitted after training."""
    scaling = read_json(fold_folder / LATENT_SCALING_JSON)
    return build_codec(plans, load_vqgan(fold_folder, plans, device), scaling["values"])


def load_unet(fold_folder: Path, plans: Plans, device: torch.device, *, checkpoint: str = FINAL) -> nn.Module:
    """The denoising U-Net of a fold."""
    return _load(build_unet(plans), fold_folder / checkpoint, plans.identity_of("ddpm"), device)


def load_classifier(fold_folder: Path, plans: Plans, device: torch.device) -> nn.Module:
    """The noise-conditioned classifier of a fold."""
    return _load(build_classifier(plans), fold_folder / FINAL, plans.identity_of("classifier"), device)


def load_head(fold_folder: Path, plans: Plans, device: torch.device) -> nn.Module:
    """The lesion head of a fold."""
    return _load(build_head(plans), fold_folder / FINAL, plans.identity_of("head"), device)


def _load(network: Network, path: Path, identity: str, device: torch.device) -> Network:
    network.load_state_dict(load_checkpoint(path, identity=identity)["averaged_weights"])
    return network.to(device).eval().requires_grad_(False)
