"""The arguments of the training."""

import argparse

from nnanomaly.cli.options import add_device, add_plans, add_trainer
from nnanomaly.paths import TRACKERS
from nnanomaly.stages import TRAINABLE


def trained(text: str) -> str:
    """What is trained; whoever types a configuration of nnU-Net is told what stands in its place."""
    if text in TRAINABLE:
        return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is none of {', '.join(TRAINABLE)}. Where nnU-Net has 3d_fullres, type ddpm; it trains what it needs."
    )


def _add_folds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("fold", nargs="?", default=None, help="number of the fold, or all (default 0)")
    parser.add_argument("-f", nargs="+", default=None, help="folds, instead of the fold: trained one after the other")


def add_training(parser: argparse.ArgumentParser) -> None:
    """All arguments of the training."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument("configuration", type=trained, choices=TRAINABLE, help="what to train")
    _add_folds(parser)
    add_plans(parser)
    add_trainer(parser)
    parser.add_argument(
        "-num_gpus", type=int, default=1, help="must be 1: several GPUs train several folds (default %(default)s)"
    )
    _add_going_on(parser)
    parser.add_argument("--val", action="store_true", help="train nothing, only calibrate what is trained")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument(
        "--val_best",
        action="store_true",
        help="calibrate checkpoint_best.pth; after a training, both it and the final one",
    )
    chosen.add_argument("-chk", default=None, help="checkpoint that --val calibrates (default: checkpoint_final.pth)")
    add_device(parser)
    parser.add_argument(
        "-num_iterations",
        type=int,
        default=None,
        help="iterations of every stage that this command trains (default: as planned)",
    )
    parser.add_argument(
        "-lr",
        type=float,
        default=None,
        help="learning rate of every stage that this command trains (default: as planned)",
    )
    parser.add_argument(
        "-batch_size",
        type=int,
        default=None,
        help="batch size of every stage that this command trains (default: as planned)",
    )
    parser.add_argument(
        "-seed", type=int, default=None, help="seed of weights, batches and noise (default: as planned)"
    )
    parser.add_argument(
        "-num_workers", type=int, default=None, help="processes that load batches (default: 0 on a cpu, else 4)"
    )
    parser.add_argument(
        "-tracker",
        choices=TRACKERS,
        default=None,
        help="program that also gets the curves (default: nnanomaly_tracker if it is set, else none)",
    )


def _add_going_on(parser: argparse.ArgumentParser) -> None:
    """What happens to what is there."""
    parser.add_argument(
        "--c",
        action="store_true",
        help="continue, which is done anyway; a finished stage goes on if it is to have more iterations now",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="train a finished stage anew, beside the old one, which stays until the new one is finished",
    )
