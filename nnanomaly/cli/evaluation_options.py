"""Arguments that the evaluations of masks share."""

import argparse


def add_predicted_values(parser: argparse.ArgumentParser) -> None:
    """Likewise of the predictions, where their values are others."""
    parser.add_argument(
        "-pred_labels",
        nargs="+",
        type=int,
        default=(),
        help="label values that are lesions in the predictions (default: as the dataset.json beside them says)",
    )
