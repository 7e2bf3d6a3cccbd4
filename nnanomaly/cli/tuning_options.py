"""The arguments of the commands that choose or judge settings on validation folds."""

import argparse

from nnanomaly.cli.options import add_checkpoint, add_device, add_plans


def add_best_configuration(parser: argparse.ArgumentParser) -> None:
    """All arguments of the choice of a configuration."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument(
        "-f", nargs="+", default=None, help="folds whose validation cases are used (default: all that are trained)"
    )
    add_plans(parser)
    parser.add_argument(
        "--drawn", action="store_true", help="use lesions drawn by a person (labelsTr), not inserted ones"
    )
    parser.add_argument("--disable_ensembling", action="store_true", help="try no combination of detectors")
    parser.add_argument(
        "-max_false_candidates",
        type=not_negative,
        default=0.5,
        help="largest number of false candidates per healthy validation organ (default %(default)s)",
    )
    parser.add_argument(
        "-variants",
        type=positive_number,
        default=4,
        help="trials with inserted lesions for every healthy organ (default %(default)s)",
    )
    parser.add_argument("-seed", type=int, default=0, help="seed of the inserted lesions (default %(default)s)")
    add_device(parser)


def add_sweep(parser: argparse.ArgumentParser) -> None:
    """All arguments of the sweep."""
    _add_validation_side(parser)
    parser.add_argument(
        "-sigmas", nargs="+", type=float, default=None, help="noise levels to try (default: around that of the plans)"
    )
    parser.add_argument(
        "-scales",
        nargs="+",
        type=float,
        default=None,
        help="guidance scales to try (default: around that of the plans)",
    )
    parser.add_argument(
        "-metric",
        choices=("dice", "f1"),
        default="dice",
        help="what the best setting is chosen by (default %(default)s)",
    )


def add_diagnose(parser: argparse.ArgumentParser) -> None:
    """All arguments of the diagnosis."""
    _add_validation_side(parser)
    add_checkpoint(parser)
    parser.add_argument(
        "-rounds",
        type=positive_number,
        default=2,
        help="lesions inserted into every healthy organ, one at a time (default %(default)s)",
    )


def _add_validation_side(parser: argparse.ArgumentParser) -> None:
    """A fold of a dataset and the known lesions of its validation side."""
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    parser.add_argument("-f", default="0", help="fold whose validation cases are used (default %(default)s)")
    add_plans(parser)
    parser.add_argument(
        "--drawn",
        action="store_true",
        help="use lesions drawn by a person (labelsTr), as the paper did, not inserted ones",
    )
    parser.add_argument("-seed", type=int, default=0, help="seed of the inserted lesions (default %(default)s)")
    add_device(parser)


def positive_number(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def not_negative(text: str) -> float:
    """A finite number from 0."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{value} is not at least 0")
    return value
