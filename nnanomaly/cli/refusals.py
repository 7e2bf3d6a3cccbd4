"""Flags of nnU-Net that are understood here, but have only one value: another one is refused with those there are."""

from nnanomaly.paths import TRAINER
from nnanomaly.utilities.errors import ConfigurationError

TRAINERS = (TRAINER,)
CONFIGURATIONS = ("3d", "3d_fullres", "ddpm")
"""One configuration, by the name of its patches, by nnU-Net's name for it, and by that of the model's folder."""


def refuse_other_trainer(name: str) -> None:
    """`-tr`: raise ConfigurationError (CFG-TRAINER) for a trainer that does not exist."""
    if name not in TRAINERS:
        raise ConfigurationError("CFG-TRAINER", f"-tr {name}: there is no such trainer, only {', '.join(TRAINERS)}")


def refuse_other_configuration(name: str) -> None:
    """`-c` of the prediction: raise ConfigurationError (CFG-CONFIGURATION) for one that does not exist."""
    if name not in CONFIGURATIONS:
        raise ConfigurationError(
            "CFG-CONFIGURATION",
            f"-c {name}: there is one configuration, 3d (3d_fullres and ddpm mean the same). Leave -c out",
        )


def refuse_several_gpus(number: int) -> None:
    """`-num_gpus`: raise ConfigurationError (CFG-GPUS) for anything but 1, rather than to pretend."""
    if number != 1:
        raise ConfigurationError(
            "CFG-GPUS",
            f"-num_gpus {number}: a training runs on one device. Leave -num_gpus out; several GPUs train several folds "
            "at once (fold 0 with -device cuda:0, fold 1 with -device cuda:1), and -device cpu needs none.",
        )
