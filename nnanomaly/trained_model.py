"""Networks of a trained fold, with their averaged weights, ready to use; shared by later stages and by inference."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, TypedDict, TypeVar

import torch
from torch import Tensor, nn

from nnanomaly.build import build_classifier, build_codec, build_head, build_unet, build_vqgan
from nnanomaly.checkpoint import FINAL, checkpoint_weights, load_checkpoint
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.networks.autoencoder import Autoencoder
from nnanomaly.paths import LATENT_SCALING_JSON
from nnanomaly.plans import Plans, training_command
from nnanomaly.utilities.errors import ConfigurationError, DataError, IntegrityError
from nnanomaly.utilities.json_io import Between, read_document, shown

Network = TypeVar("Network", bound=nn.Module)
SCALING_KEYS = {"standardise": ("mean", "std"), "codebook_range": ("low", "high")}
"""What latent_scaling.json holds for each form of scaling."""
SMALLEST_DEVIATION = 1e-6
"""Of a channel of latents: what is divided by less has no value that a network has seen."""
SCALING_REMEDY = "Delete the file and train the next stage: it is measured anew."


class LatentScaling(TypedDict):
    """Content of latent_scaling.json, besides the hash of the autoencoder."""

    values: dict[str, list[Annotated[float, Between(-1e6, 1e6)]]]
    """Numbers per channel of a latent."""


def require_checkpoint(path: Path, plans: Plans, stage: str, fold: int | str) -> None:
    """Raise ConfigurationError (CKPT-MISSING), with the command that trains it, where a checkpoint is not there."""
    if path.is_file():
        return
    command = training_command(plans.dataset_name, stage, fold, plans_name=plans.plans_name)
    remedy = f"Run: {command}"
    if path.name != FINAL and path.with_name(FINAL).is_file():
        remedy = f"Use {FINAL}, which is there, or train anew: {command} --force"
    raise ConfigurationError("CKPT-MISSING", f"{path} does not exist. {remedy}")


def load_vqgan(fold_folder: Path, plans: Plans, device: torch.device) -> Autoencoder:
    """The autoencoder of a fold."""
    return _load(build_vqgan, fold_folder / FINAL, plans, "vqgan", device)


def load_codec(fold_folder: Path, plans: Plans, device: torch.device) -> Codec:
    """The autoencoder of a fold behind the codec interface, with the latent scaling that was fitted after training."""
    scaling = read_latent_scaling(fold_folder / LATENT_SCALING_JSON, plans)
    return build_codec(plans, load_vqgan(fold_folder, plans, device), scaling)


def read_latent_scaling(path: Path, plans: Plans) -> dict[str, list[float]]:
    """How latents are scaled: `mean` and `std` per channel, or `low` and `high`, as the plans need it.

    Raises `DataError` (JSON) for a file that does not say it.
    """
    values = read_document(path, LatentScaling, remedy=SCALING_REMEDY)["values"]
    low, high = SCALING_KEYS[plans.ddpm.latent_scaling]
    count = plans.vqgan.latent_channels if low == "mean" else 1
    sound = all(len(values.get(key, ())) == count for key in (low, high))
    if sound:
        sound = min(values[high]) >= SMALLEST_DEVIATION if low == "mean" else values[low][0] < values[high][0]
    if not sound:
        raise DataError(
            "JSON", f"{path}: values must hold {low} and {high}, {count} numbers each that can scale. {SCALING_REMEDY}"
        )
    return values


def load_unet(fold_folder: Path, plans: Plans, device: torch.device, *, checkpoint: str = FINAL) -> nn.Module:
    """The denoising U-Net of a fold."""
    return _load(build_unet, fold_folder / checkpoint, plans, "ddpm", device)


def load_classifier(fold_folder: Path, plans: Plans, device: torch.device) -> nn.Module:
    """The noise-conditioned classifier of a fold."""
    return _load(build_classifier, fold_folder / FINAL, plans, "classifier", device)


def load_head(fold_folder: Path, plans: Plans, device: torch.device) -> nn.Module:
    """The lesion head of a fold."""
    return _load(build_head, fold_folder / FINAL, plans, "head", device)


def _load(build: Callable[[Plans], Network], path: Path, plans: Plans, stage: str, device: torch.device) -> Network:
    weights = checkpoint_weights(load_checkpoint(path, identity=plans.identity_of(stage)), path=path)
    with torch.device("meta"):  # so that plans cannot ask for more than the weights beside them hold
        check_weights(build(plans), weights, source=str(path))
    network = build(plans)
    network.load_state_dict(weights)
    return network.to(device).eval().requires_grad_(False)


def check_weights(network: nn.Module, weights: Mapping[str, Tensor], *, source: str) -> None:
    """Refuse weights that are not those of a network, by names and shapes: IntegrityError (CKPT-WEIGHTS)."""
    wanted = {name: list(value.shape) for name, value in network.state_dict().items()}
    found = {name: list(value.shape) for name, value in weights.items()}
    wrong = [name for name in sorted({*wanted, *found}) if wanted.get(name) != found.get(name)]
    if wrong:
        name = wrong[0]
        raise IntegrityError(
            "CKPT-WEIGHTS",
            f"{source} does not hold the weights of these plans: {shown(name)} has the shape "
            f"{found.get(name, 'none')}, must be {wanted.get(name, 'none')}; {len(wrong)} differ. Restore plans and "
            "weights that belong together, or train again.",
        )
