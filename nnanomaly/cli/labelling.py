"""The command that turns reports into weak labels."""

import argparse
import logging
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command


def label_reports(argv: Arguments = None) -> int:
    """Turn reports into a weak label for every organ, with the sentences that decide."""
    parser = options.new_parser(label_reports)
    parser.add_argument(
        "reports", nargs="+", type=Path, help="folders of text files, or tables with the columns case and report"
    )
    parser.add_argument("-o", type=Path, required=True, help="table of labels to write, such as organ_labels.csv")
    parser.add_argument(
        "-lang", default="auto", help="language of the reports: en, nl, or auto for that of each (default %(default)s)"
    )
    parser.add_argument(
        "-pack",
        nargs="+",
        type=Path,
        default=(),
        help="rule packs of your own, in JSON, beside those that are built in",
    )
    parser.add_argument("-organs", nargs="+", default=(), help="organs to label (default: those of the dataset)")
    parser.add_argument(
        "-unmentioned",
        choices=("healthy", "uncertain"),
        default="healthy",
        help="label of an organ that a report does not speak of (default %(default)s)",
    )
    parser.add_argument("--no_text", action="store_true", help="leave the sentences out of the evidence")
    parser.add_argument("--overwrite", action="store_true", help="write an existing table anew")
    return run_command(parser, argv, _label)


def _label(arguments: argparse.Namespace) -> int:
    from nnanomaly.pseudo_labels.label_files import evidence_path
    from nnanomaly.pseudo_labels.label_reports_api import LabelOptions
    from nnanomaly.pseudo_labels.label_reports_api import label_reports as label

    summary = label(
        arguments.reports,
        arguments.o,
        LabelOptions(
            language=arguments.lang,
            packs=tuple(arguments.pack),
            organs=tuple(arguments.organs),
            unmentioned=arguments.unmentioned,
            with_sentences=not arguments.no_text,
            overwrite=arguments.overwrite,
        ),
    )
    for case, reason in summary.faults.items():
        logging.getLogger(__name__).error("%s: %s", case, reason)
    for organ, counts in summary.counts.items():
        say(f"{organ}: " + ", ".join(f"{number} {label}" for label, number in sorted(counts.items())))
    say(f"{arguments.o}, reasons in {evidence_path(arguments.o)}")
    return PARTIAL if summary.faults else 0
