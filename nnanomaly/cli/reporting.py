"""The command that shows predictions."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.utilities.progress import progress_bar

if TYPE_CHECKING:
    from nnanomaly.report.report_api import Report

DEFAULT_MAX_MB = 3.0


def report(argv: Arguments = None) -> int:
    """Show predictions: HTML pages with pictures and a viewer, which need no network."""
    parser = options.new_parser(report)
    parser.add_argument("predictions", type=Path, help="folder that nnanomaly_predict wrote")
    parser.add_argument("-o", type=Path, required=True, help="folder for the report")
    parser.add_argument("-i", type=Path, default=None, help="folder of the images (default: those that were predicted)")
    parser.add_argument(
        "-ref",
        type=Path,
        default=None,
        help="folder of reference label maps, such as labelsTs (default: none are shown)",
    )
    options.add_lesion_labels(parser)
    parser.add_argument(
        "-comparison", type=Path, default=None, help="folder that nnanomaly_compare wrote (default: the predictions)"
    )
    parser.add_argument(
        "-max_mb",
        type=float,
        default=DEFAULT_MAX_MB,
        help="largest size of one organ in its page, in MB; 0: pictures only (default %(default)g)",
    )
    parser.add_argument(
        "--serve", action="store_true", help="afterwards show the report to browsers on this machine, until Ctrl-C"
    )
    options.add_processes(parser)
    return run_command(parser, argv, _report)


def _report(arguments: argparse.Namespace) -> int:
    from nnanomaly.report.report_api import ReportOptions, build_report

    wanted = ReportOptions(
        images=arguments.i,
        references=arguments.ref,
        dataset_json=arguments.djfile,
        lesion_values=tuple(arguments.l),
        comparison=arguments.comparison,
        max_mb=arguments.max_mb,
        num_processes=arguments.np,
    )
    with progress_bar("drawing") as show:
        written = build_report(arguments.predictions, arguments.o, wanted, progress=show)
    for case, reason in written.faults.items():
        logging.getLogger(__name__).error("%s left out: %s", case, reason)
    if written.unfinished:
        logging.getLogger(__name__).error("%s", written.unfinished)
    if written.num_coarse or written.num_without_viewer:
        say(
            f"{written.num_coarse} organs in larger voxels, {written.num_without_viewer} with pictures only, "
            f"to stay under {arguments.max_mb:g} MB an organ"
        )
    say(f"{written.index} ({written.num_bytes / 1e6:.1f} MB in {len(written.files)} files)")
    if arguments.serve:
        _serve(written)
    return PARTIAL if written.faults or written.unfinished else 0


def _serve(written: "Report") -> None:
    from nnanomaly.report.server import ReportServer

    folder = written.index.parent
    with ReportServer({f"/{name}": folder / name for name in written.files}) as server:
        say(f"{server.address()} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:  # the report is complete, and this is how one leaves it
            say("ended")
