"""The command that draws organ masks on scans, to be looked at before a day of training."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import OVERLAYS, Paths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.progress import progress_bar
from nnanomaly.utilities.shown_text import command_line


def plot_overlay_pngs(argv: Arguments = None) -> int:
    """Draw the organ masks of every training case on its scan, as PNG.

    Each picture shows three planes.
    """
    parser = options.new_parser(plot_overlay_pngs)
    parser.add_argument("-d", required=True, help="dataset name or id")
    parser.add_argument("-o", type=Path, default=None, help=f"folder (default: {OVERLAYS} in the preprocessed dataset)")
    options.add_plans(parser)
    options.add_processes(parser)
    return run_command(parser, argv, _plot_overlay_pngs)


def _plot_overlay_pngs(arguments: argparse.Namespace) -> int:
    from nnanomaly.plans import load_plans
    from nnanomaly.preprocessing.overlays import draw_overlays

    paths = Paths.from_env()
    dataset = paths.dataset_name(arguments.d)
    path = paths.plans(dataset, options.plans_name(arguments))
    if not path.exists():
        remedy = command_line("nnanomaly_plan_and_preprocess", "-d", dataset)
        raise ConfigurationError("CFG-PLANS", f"{path} does not exist. Run {remedy}")
    plans = load_plans(path)
    folder = arguments.o or paths.preprocessed(dataset) / OVERLAYS
    with progress_bar(f"{dataset}: overlays") as show:
        report = draw_overlays(
            paths.raw(dataset), plans.preprocessing, folder, num_processes=arguments.np, progress=show
        )
    say(f"{report.num_drawn} drawn, {len(report.suspicious)} of them suspicious, {len(report.failed)} failed: {folder}")
    return PARTIAL if report.failed else 0
