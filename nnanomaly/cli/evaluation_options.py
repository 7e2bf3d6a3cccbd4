"""Arguments that the evaluations of masks share."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnanomaly.evaluation.lesion_matching import MatchRule


def add_predicted_values(parser: argparse.ArgumentParser) -> None:
    """Likewise of the predictions, where their values are others."""
    parser.add_argument(
        "-pred_labels",
        nargs="+",
        type=int,
        default=(),
        help="label values that are lesions in the predictions (default: as the dataset.json beside them says)",
    )


def add_rule(parser: argparse.ArgumentParser) -> None:
    """What counts as found."""
    parser.add_argument(
        "-iou", type=float, default=0.2, help="smallest IoU of a match, inclusive (default %(default)s)"
    )
    parser.add_argument(
        "-connectivity",
        type=int,
        choices=(6, 18, 26),
        default=26,
        help="how many neighbours of a voxel may belong to its component (default %(default)s)",
    )
    parser.add_argument(
        "-assignment",
        choices=("hungarian", "greedy"),
        default="hungarian",
        help="how candidates of masks are given to lesions: most matches, or largest IoU first (default %(default)s)",
    )
    parser.add_argument(
        "-extra",
        choices=("false_positive", "neutral"),
        default="false_positive",
        help="what a further candidate on a lesion that is already found counts as (default %(default)s)",
    )
    for flag, what in (
        ("-reference_floor", "lesions of the reference are ignored"),
        ("-candidate_floor", "predicted masks are removed"),
    ):
        parser.add_argument(
            flag,
            nargs=2,
            type=float,
            default=(20, 3.0),
            metavar=("VOXELS", "MM"),
            help=f"{what} under that many voxels or that axial diameter (default: 20 3)",
        )
    parser.add_argument("--allow_missing", action="store_true", help="count a missing prediction as an empty one")


def rule_of(arguments: argparse.Namespace) -> "MatchRule":
    """The rule that the options say."""
    from nnanomaly.evaluation.lesion_matching import MatchRule
    from nnanomaly.evaluation.regions import SizeFloor

    reference, candidate = (
        SizeFloor(min_voxels=int(voxels), min_diameter_mm=millimetres)
        for voxels, millimetres in (arguments.reference_floor, arguments.candidate_floor)
    )
    return MatchRule(
        min_iou=arguments.iou,
        connectivity=arguments.connectivity,
        reference_floor=reference,
        candidate_floor=candidate,
        assignment=arguments.assignment,
        extra_candidates=arguments.extra,
    )
