"""The arguments of the commands: what several commands share, and the long list of the prediction.

Nothing is read, written or computed here; the other modules turn the parsed arguments into calls.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from nnanomaly.paths import TRAINER
from nnanomaly.plans import PLANS_NAMES
from nnanomaly.utilities.errors import ConfigurationError

DEFAULT_PROCESSES = 2


def command_name(command: Callable[..., int]) -> str:
    """The console script of a command."""
    return f"nnanomaly_{command.__name__}"


def new_parser(command: Callable[..., int]) -> argparse.ArgumentParser:
    """A parser with the name and the docstring of a command, and what every command has; abbreviations are refused."""
    parser = argparse.ArgumentParser(prog=command_name(command), description=command.__doc__, allow_abbrev=False)
    parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    return parser


def add_dataset(parser: argparse.ArgumentParser) -> None:
    """`-d`: one or several datasets."""
    parser.add_argument("-d", nargs="+", required=True, help="dataset names or ids")


def add_extraction(parser: argparse.ArgumentParser) -> None:
    """How the fingerprint is extracted."""
    parser.add_argument(
        "--verify_dataset_integrity",
        action="store_true",
        help="first read every file to its end and list all faults",
    )
    parser.add_argument(
        "--clean", action="store_true", help="extract the fingerprint anew, even if there is one that fits"
    )


def add_planning(parser: argparse.ArgumentParser) -> None:
    """What the planner is told."""
    parser.add_argument(
        "-gpu_memory_target",
        type=float,
        default=8.0,
        help="GPU memory that the plans may fill, in GB (default %(default)g)",
    )
    parser.add_argument(
        "-preset",
        choices=tuple(PLANS_NAMES),
        default="default",
        help="our own settings (the default), or those of the paper as published",
    )


def add_plans(parser: argparse.ArgumentParser) -> None:
    """`-p` or `-preset`: which plans; `plans_name` reads them."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-p", default=None, help=f"name of the plans (default {PLANS_NAMES['default']})")
    group.add_argument("-preset", choices=tuple(PLANS_NAMES), default=None, help="plans of that preset")


def plans_name(arguments: argparse.Namespace) -> str:
    """The plans that a user of `add_plans` asked for."""
    return str(arguments.p or PLANS_NAMES[arguments.preset or "default"])


def add_processes(parser: argparse.ArgumentParser) -> None:
    """`-np`: number of processes; None = the environment decides, else `DEFAULT_PROCESSES`."""
    parser.add_argument(
        "-np",
        type=int,
        default=None,
        help=f"number of processes (default: nnanomaly_def_n_proc if it is set, else {DEFAULT_PROCESSES})",
    )


def add_new_dataset(parser: argparse.ArgumentParser, *, name: str | None) -> None:
    """`-d` and `-name`: the dataset that a conversion makes; None = the name follows from the input."""
    parser.add_argument("-d", type=int, required=True, help="number of the new dataset, such as 501")
    parser.add_argument("-name", default=name, help=f"name of the new dataset (default: {name or 'that of the input'})")


def add_lesion_labels(parser: argparse.ArgumentParser) -> None:
    """Which values of the references are lesions."""
    parser.add_argument(
        "-djfile",
        type=Path,
        default=None,
        help="dataset.json that names the lesion labels (default: that of the references)",
    )
    add_lesion_values(parser)


def add_lesion_values(parser: argparse.ArgumentParser) -> None:
    """The values themselves, for those whose dataset.json does not name them."""
    parser.add_argument(
        "-l", nargs="+", type=int, default=(), help="label values that are lesions (default: as dataset.json says)"
    )


def add_prediction(parser: argparse.ArgumentParser) -> None:
    """All arguments of the prediction."""
    parser.add_argument("-i", default=None, help="folder of images, or its name in the raw dataset (imagesTs)")
    written = (
        "folder for the predictions; a lesion is 1 in their masks, or 2 where that is the dataset's label of lesions"
    )
    parser.add_argument("-o", default=None, type=Path, help=written)
    parser.add_argument(
        "--val",
        action="store_true",
        help="instead of -i and -o: predict the validation cases of each fold with that fold alone, into its folder "
        "validation, where nnanomaly_evaluate -f finds them",
    )
    parser.add_argument("-d", default=None, help="dataset name or id (default: the one trained dataset)")
    parser.add_argument(
        "-f", nargs="+", default=None, help="folds whose maps are averaged (default: all that are trained)"
    )
    add_plans(parser)
    add_trainer(parser)
    parser.add_argument("-c", default="3d", help="configuration: 3d, or 3d_fullres as in nnU-Net (default %(default)s)")
    parser.add_argument(
        "-organ_masks",
        type=Path,
        default=None,
        help="folder of organ masks (default: the one beside the images, as organMasksTs for imagesTs)",
    )
    add_checkpoint(parser)
    add_device(parser)
    parser.add_argument(
        "-npp",
        type=int,
        default=1,
        help="cases that are read and preprocessed ahead; 0: one after the other (default %(default)s)",
    )
    parser.add_argument(
        "-nps",
        type=int,
        default=1,
        help="cases that are written in the background; 0: one after the other (default %(default)s)",
    )
    _add_samples(parser)
    _add_parts(parser)
    parser.add_argument("--continue_prediction", "--c", action="store_true", help="skip the cases that are complete")
    parser.add_argument(
        "--save_autoencoded",
        action="store_true",
        help="also write the scan after encoding and decoding alone, in autoencoded/; nnanomaly_report shows it",
    )


def add_segmentation(parser: argparse.ArgumentParser) -> None:
    """All arguments of the organ segmentation."""
    parser.add_argument(
        "-d", default=None, help="dataset name or id; its dataset.json, or that of its model, names the organs"
    )
    parser.add_argument(
        "-organs", nargs="+", default=(), help="with -i and -o: organs to segment, instead of those of -d"
    )
    parser.add_argument("-i", type=Path, default=None, help="folder of images (default: imagesTr and imagesTs)")
    parser.add_argument(
        "-o", type=Path, default=None, help="folder for their masks (default: organMasksTr and organMasksTs)"
    )
    add_device(parser)
    _add_parts(parser)


def check_part(arguments: argparse.Namespace) -> None:
    """Refuse a part that does not exist: `ConfigurationError` (CFG-PARTS)."""
    if not 0 <= arguments.part_id < arguments.num_parts:
        raise ConfigurationError(
            "CFG-PARTS", f"-part_id {arguments.part_id} of -num_parts {arguments.num_parts}: parts count from 0"
        )


def add_export(parser: argparse.ArgumentParser) -> None:
    """All arguments of the export of a model."""
    parser.add_argument("-d", required=True, help="dataset name or id")
    parser.add_argument("-o", required=True, type=Path, help="the zip to write")
    parser.add_argument(
        "-f", nargs="+", default=None, help="folds to export (default: all that are trained and calibrated)"
    )
    add_plans(parser)
    add_trainer(parser)
    parser.add_argument("-c", default="3d", help="configuration: 3d, or 3d_fullres as in nnU-Net (default %(default)s)")
    parser.add_argument(
        "-chk",
        default="checkpoint_final.pth",
        help="checkpoint of the ddpm; it is the final one after installation (default %(default)s)",
    )
    parser.add_argument(
        "-licence", default="", help="what others may do with the model, for its card (default: not stated)"
    )
    parser.add_argument("-origin", default="", help="who made the model, for its card (default: not stated)")
    parser.add_argument("--force", action="store_true", help="replace an existing zip")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    """`-chk`: which checkpoint of the ddpm."""
    parser.add_argument(
        "-chk",
        default="checkpoint_final.pth",
        help="checkpoint of the ddpm: checkpoint_final.pth (default), checkpoint_best.pth or checkpoint_latest.pth",
    )


def add_trainer(parser: argparse.ArgumentParser) -> None:
    """nnU-Net's choice of a trainer."""
    parser.add_argument("-tr", default=TRAINER, help="trainer; there is only one (default %(default)s)")


def _add_samples(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-num_samples",
        type=int,
        default=None,
        help="samples of the noise that are averaged: more give steadier maps and a surer score_spread, and take "
        "longer (default: as planned)",
    )


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-num_parts", type=int, default=1, help="number of parts that the cases are split into (default %(default)s)"
    )
    parser.add_argument(
        "-part_id", type=int, default=0, help="part that this run does, from 0 to num_parts - 1 (default %(default)s)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`-device`: what computes; None = the best there is."""
    parser.add_argument(
        "-device",
        default=None,
        help="device to compute on: cuda, cuda:N, mps or cpu (default: cuda if there is one, else cpu)",
    )
