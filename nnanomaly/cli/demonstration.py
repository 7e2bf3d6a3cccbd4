"""The demo."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import Arguments, run_command


def demo(argv: Arguments = None) -> int:
    """Write a phantom dataset, run the three commands and the evaluation on it.

    It says what was found and where everything lies.
    """
    parser = options.new_parser(demo)
    parser.add_argument(
        "-o",
        type=Path,
        default=Path("nnanomaly_demo"),
        help="folder for everything the demo writes (default %(default)s)",
    )
    parser.add_argument("-seed", type=int, default=0, help="seed of the phantom (default %(default)s)")

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.demo import run_demo

        say(run_demo(arguments.o, seed=arguments.seed))
        return 0

    return run_command(parser, argv, run)
