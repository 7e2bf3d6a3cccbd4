"""The arguments of the commands: what several commands share, and the long lists of training and prediction.

Nothing is read, written or computed here; the other modules turn the parsed arguments into calls.
"""

import argparse
from pathlib import Path

from nnanomaly.paths import TRACKERS, TRAINER
from nnanomaly.plans import HEAD, PLANS_NAMES, REDUCTION, STAGES
from nnanomaly.utilities.errors import ConfigurationError

DEFAULT_PROCESSES = 2


def new_parser(description: str) -> argparse.ArgumentParser:
    """A parser that has what every command has; abbreviations of long options are refused."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
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
        help="read every file to its end, list all faults",
    )
    parser.add_argument("--clean", action="store_true", help="extract the fingerprint anew even if there is one")


def add_planning(parser: argparse.ArgumentParser) -> None:
    """What the planner is told."""
    parser.add_argument(
        "-gpu_memory_target", type=float, default=8.0, help="memory the plans may fill, in GB (default 8)"
    )
    parser.add_argument("-preset", choices=tuple(PLANS_NAMES), default="default", help="default, or paper as published")


def add_plans(parser: argparse.ArgumentParser) -> None:
    """`-p` or `-preset`: which plans; `plans_name` reads them."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("-p", default=None, help=f"plans name (default {PLANS_NAMES['default']})")
    group.add_argument("-preset", choices=tuple(PLANS_NAMES), default=None, help="plans of that preset")


def plans_name(arguments: argparse.Namespace) -> str:
    """The plans that a user of `add_plans` asked for."""
    return str(arguments.p or PLANS_NAMES[arguments.preset or "default"])


def add_processes(parser: argparse.ArgumentParser) -> None:
    """`-np`: number of processes; None = the environment decides, else `DEFAULT_PROCESSES`."""
    parser.add_argument("-np", type=int, default=None, help=f"processes (default {DEFAULT_PROCESSES})")


def add_new_dataset(parser: argparse.ArgumentParser, *, name: str | None) -> None:
    """`-d` and `-name`: the dataset that a conversion makes; None = the name follows from the input."""
    parser.add_argument("-d", type=int, required=True, help="number of the new dataset, such as 501")
    parser.add_argument("-name", default=name, help=f"its name (default {name or 'that of the input'})")


def add_training(parser: argparse.ArgumentParser) -> None:
    """All arguments of the training."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument("configuration", choices=(*STAGES, HEAD, REDUCTION, "all"), help="stage to train")
    parser.add_argument("fold", nargs="?", default="0", help="fold number, or all (default 0)")
    add_plans(parser)
    _add_trainer(parser)
    parser.add_argument("-num_gpus", type=int, default=1, help="1: several GPUs train several folds")
    parser.add_argument("--c", action="store_true", help="continue from the newest checkpoint")
    parser.add_argument("--val", action="store_true", help="only calibrate a trained ddpm")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--val_best", action="store_true", help="calibrate checkpoint_best.pth (after training: it too)"
    )
    chosen.add_argument("-chk", default=None, help="checkpoint that --val calibrates (default checkpoint_final.pth)")
    _add_device(parser)
    parser.add_argument("-num_iterations", type=int, default=None, help="iterations of every stage this command trains")
    parser.add_argument("-lr", type=float, default=None, help="learning rate of every stage this command trains")
    parser.add_argument("-batch_size", type=int, default=None, help="batch size of every stage this command trains")
    parser.add_argument("-seed", type=int, default=None, help="seed of weights, batches and noise")
    parser.add_argument(
        "-num_workers", type=int, default=None, help="processes that load batches (default: 0 on a cpu)"
    )
    parser.add_argument(
        "-tracker",
        choices=TRACKERS,
        default=None,
        help="also write curves for it (default: nnanomaly_tracker, or none)",
    )


def add_prediction(parser: argparse.ArgumentParser) -> None:
    """All arguments of the prediction."""
    parser.add_argument("-i", required=True, help="folder of images, or its name in the raw dataset (imagesTs)")
    parser.add_argument("-o", required=True, type=Path, help="folder for the predictions")
    parser.add_argument("-d", default=None, help="dataset name or id (default: the one trained dataset)")
    parser.add_argument("-f", nargs="+", default=None, help="folds whose maps are averaged (default: all trained ones)")
    add_plans(parser)
    _add_trainer(parser)
    parser.add_argument("-c", default="3d", help="configuration: 3d, or 3d_fullres as in nnU-Net (default 3d)")
    parser.add_argument(
        "-organ_masks", type=Path, default=None, help="organ masks (default: organMasksTs for imagesTs)"
    )
    _add_checkpoint(parser)
    _add_device(parser)
    parser.add_argument(
        "-npp", type=int, default=1, help="cases read and preprocessed ahead; 0: one after the other (default 1)"
    )
    parser.add_argument("-nps", type=int, default=1, help="cases written in the background (default 1)")
    _add_parts(parser)
    parser.add_argument("--continue_prediction", "--c", action="store_true", help="skip cases that are complete")
    parser.add_argument(
        "--save_autoencoded",
        action="store_true",
        help="also write the scan after encoding and decoding alone, in autoencoded/; nnanomaly_report shows it",
    )


def add_best_configuration(parser: argparse.ArgumentParser) -> None:
    """All arguments of the choice of a configuration."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument(
        "-f", nargs="+", default=None, help="folds whose validation sides are used (default: all trained ones)"
    )
    add_plans(parser)
    parser.add_argument("--drawn", action="store_true", help="use lesions drawn by a person (labelsTr); else inserted")
    parser.add_argument("--disable_ensembling", action="store_true", help="try no combination of detectors")
    parser.add_argument(
        "-max_false_candidates", type=_share, default=0.5, help="most per healthy validation organ (default 0.5)"
    )
    parser.add_argument("-variants", type=_positive_number, default=4, help="trials per healthy organ (default 4)")
    parser.add_argument("-seed", type=int, default=0, help="seed of the inserted lesions")
    _add_device(parser)


def add_segmentation(parser: argparse.ArgumentParser) -> None:
    """All arguments of the organ segmentation."""
    parser.add_argument("-d", required=True, help="dataset name or id; its dataset.json names the organs")
    parser.add_argument("-i", type=Path, default=None, help="folder of images (default: imagesTr and imagesTs)")
    parser.add_argument("-o", type=Path, default=None, help="folder for their masks (default: organMasksTr and ...Ts)")
    _add_device(parser)
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
    parser.add_argument("-f", nargs="+", default=None, help="folds (default: all that are trained and calibrated)")
    add_plans(parser)
    _add_trainer(parser)
    parser.add_argument("-c", default="3d", help="configuration: 3d, or 3d_fullres as in nnU-Net (default 3d)")
    parser.add_argument("-chk", default="checkpoint_final.pth", help="checkpoint of the ddpm, final after installation")
    parser.add_argument("-licence", default="", help="what others may do with the model, for its card")
    parser.add_argument("-origin", default="", help="who made the model, for its card")
    parser.add_argument("--force", action="store_true", help="replace an existing zip")


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """All arguments of the sweep."""
    _add_validation_side(parser)
    parser.add_argument(
        "-sigmas", nargs="+", type=float, default=None, help="noise levels (default: around the plan's)"
    )
    parser.add_argument("-scales", nargs="+", type=float, default=None, help="guidance scales (default likewise)")
    parser.add_argument("-metric", choices=("dice", "f1"), default="dice", help="what must be best (default dice)")


def add_diagnose(parser: argparse.ArgumentParser) -> None:
    """All arguments of the diagnosis."""
    _add_validation_side(parser)
    _add_checkpoint(parser)
    parser.add_argument(
        "-rounds",
        type=_positive_number,
        default=2,
        help="lesions inserted into every healthy organ, one at a time (default 2)",
    )


def _add_validation_side(parser: argparse.ArgumentParser) -> None:
    """A fold of a dataset and the known lesions of its validation side."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument("-f", default="0", help="fold whose validation side is used (default 0)")
    add_plans(parser)
    parser.add_argument(
        "--drawn", action="store_true", help="use lesions drawn by a person (labelsTr), as the paper did; else inserted"
    )
    parser.add_argument("-seed", type=int, default=0, help="seed of the inserted lesions")
    _add_device(parser)


def _positive_number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is not at least 0")
    return value


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-chk", default="checkpoint_final.pth", help="checkpoint of the ddpm: checkpoint_final.pth, _best or _latest"
    )


def _add_trainer(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-tr", default=TRAINER, help=f"trainer (default {TRAINER}, the only one)")


def _add_parts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-num_parts", type=int, default=1, help="split the cases into this many parts")
    parser.add_argument("-part_id", type=int, default=0, help="which part this run does, 0 ... num_parts-1")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-device", default=None, help="cuda, cuda:N, mps or cpu (default: cuda if there is one, else cpu)"
    )
