"""The demo."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.run import Arguments, run_command


def demo(argv: Arguments = None) -> int:
    """nnanomaly_demo."""
    parser = options.new_parser(
        "Write a phantom dataset, run the three commands and the evaluation on it, show the result."
    )
    parser.add_argument("-o", type=Path, default=Path("nnanomaly_demo"), help="folder for everything the demo writes")
    parser.add_argument("-seed", type=int, default=0, help="seed of the phantom")

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.demo import run_demo

        print(run_demo(arguments.o, seed=arguments.seed))
        return 0

    return run_command(parser, argv, run)
