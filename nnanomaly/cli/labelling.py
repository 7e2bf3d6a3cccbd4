"""The command that turns reports into weak labels."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command

if TYPE_CHECKING:
    from nnanomaly.pseudo_labels.label_reports_api import LabelSummary


def label_reports(argv: Arguments = None) -> int:
    """Turn reports into a weak label for every organ, with the sentences that decide."""
    parser = options.new_parser(label_reports)
    parser.add_argument(
        "reports", nargs="+", type=Path, help="folders of text files, or tables with the columns case and report"
    )
    parser.add_argument("-o", type=Path, required=True, help="table of labels to write, such as organ_labels.csv")
    parser.add_argument(
        "-lang",
        default="auto",
        help="language of the reports: en, nl, de, or auto for that of each (default %(default)s)",
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
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="renew labels of an existing table that came from reports and that nobody edited",
    )
    return run_command(parser, argv, _label)


def _label(arguments: argparse.Namespace) -> int:
    from nnanomaly.pseudo_labels.label_files import evidence_path
    from nnanomaly.pseudo_labels.label_reports_api import LabelOptions
    from nnanomaly.pseudo_labels.label_reports_api import label_reports as label
    from nnanomaly.pseudo_labels.report_files import unread_line

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
    if summary.unread:
        logging.getLogger(__name__).error("[NNA-REPORT-FILES] %s", unread_line(summary.unread))
    for organ, counts in summary.counts.items():
        unsaid = summary.not_mentioned[organ]
        numbers = ", ".join(f"{number} {label}" for label, number in sorted(counts.items()))
        say(f"{organ}: {numbers}" + (f" ({unsaid} of the healthy not mentioned)" if unsaid else ""))
    _tell_merge(summary, arguments.o)
    say(f"{arguments.o}, reasons in {evidence_path(arguments.o)}")
    return 0 if summary.is_complete else PARTIAL


def _tell_merge(summary: "LabelSummary", output: Path) -> None:
    """What became of a table that was there before."""
    merged = summary.merged
    if merged.kept or merged.changed or summary.backups:
        say(f"{output.name} before: {merged.kept} labels kept, {merged.changed} changed; {merged.new} new")
    if merged.differing:
        names = ", ".join(
            f"{case} {organ} (report: {label})" for (case, organ), label in [*merged.differing.items()][:10]
        )
        say(f"{len(merged.differing)} kept although the report says otherwise, such as {names}")
    if merged.differing_of_reports:
        logging.getLogger(__name__).error(
            "[NNA-LABELS-KEPT] %d of them came from reports before. Add --overwrite to renew these.",
            merged.differing_of_reports,
        )
    for path in summary.backups:
        say(f"the table of before: {path}")
