"""Commands that compare predictions with references."""

import argparse
import logging
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.evaluation_options import add_predicted_values
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.utilities.progress import progress_bar


def evaluate_folder(argv: Arguments = None) -> int:
    """Compare a folder of predictions with one of references; write summary.json."""
    parser = options.new_parser(evaluate_folder)
    parser.add_argument("gt_folder", type=Path, help="folder of reference label maps")
    parser.add_argument("pred_folder", type=Path, help="folder of predicted masks")
    options.add_lesion_labels(parser)
    add_predicted_values(parser)
    parser.add_argument(
        "-o", type=Path, default=None, help="folder for the summaries (default: that of the predictions)"
    )
    parser.add_argument("--allow_missing", action="store_true", help="count a missing prediction as an empty one")
    options.add_processes(parser)
    return run_command(parser, argv, _evaluate_folder)


def _evaluate_folder(arguments: argparse.Namespace) -> int:
    from nnanomaly.evaluation.evaluate_folder import evaluate_folder as evaluate
    from nnanomaly.evaluation.lesion_labels import find_lesion_labels, labels_ending
    from nnanomaly.evaluation.tables import overall_table, size_table, to_markdown

    labels = find_lesion_labels(
        arguments.gt_folder,
        arguments.pred_folder,
        dataset_json=arguments.djfile,
        reference=arguments.l,
        prediction=arguments.pred_labels,
    )
    with progress_bar("evaluating") as show:
        evaluation = evaluate(
            arguments.gt_folder,
            arguments.pred_folder,
            labels=labels,
            allow_missing=arguments.allow_missing,
            output_folder=arguments.o,
            file_ending=labels_ending(arguments.gt_folder, arguments.djfile),
            num_processes=arguments.np,
            progress=show,
        )
    for case, reason in evaluation.failures.items():
        logging.getLogger(__name__).error("%s left out: %s", case, reason)
    if evaluation.unfinished:
        logging.getLogger(__name__).error("%s", evaluation.unfinished)
    methods = {arguments.pred_folder.name: evaluation.metrics}
    say(to_markdown(overall_table(methods)))
    say(to_markdown(size_table(methods)))
    return PARTIAL if evaluation.failures or evaluation.unfinished else 0
