"""What every command does around its own work: parse, log, turn what a user can mend into a line and a status."""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from nnanomaly.cli.completion import offer_completion
from nnanomaly.cli.options import DEFAULT_PROCESSES
from nnanomaly.paths import let_threads_sleep, number_of_workers_from_env
from nnanomaly.utilities.errors import Interrupted, UserError

NOBODY_READS = 141  # exit status: what shells say of a program that writes into a closed pipe
PARTIAL = 4  # exit status: some cases failed or have no organ, the rest is complete

Arguments = Sequence[str] | None


def run_command(parser: argparse.ArgumentParser, argv: Arguments, command: Callable[[argparse.Namespace], int]) -> int:
    """Parse, run, and turn what a user can mend into one line on stderr and an exit status."""
    offer_completion(parser)
    arguments = parser.parse_args(argv)
    let_threads_sleep()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("nnanomaly").setLevel(logging.DEBUG if arguments.verbose else logging.INFO)
    try:
        if "np" in arguments and arguments.np is None:
            arguments.np = number_of_workers_from_env() or DEFAULT_PROCESSES
        return command(arguments)
    except UserError as error:
        return _fail(error, error.exit_code, arguments.verbose)
    except FileNotFoundError as error:
        return _fail(error, 3, arguments.verbose)
    except (OSError, MemoryError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return NOBODY_READS
        return _fail(error, 5, arguments.verbose)
    except Interrupted as stop:
        return _fail(stop, stop.exit_code, arguments.verbose)
    except KeyboardInterrupt:
        return 130


def _nobody_reads() -> bool:
    """Whether the reader of our standard output has seen enough, as `head` does; what is left then goes nowhere."""
    try:
        print(flush=True)  # only what is written tells; the pipe of a worker process may have broken instead
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return True
    return False


def _fail(error: BaseException, status: int, verbose: bool) -> int:
    if verbose:
        logging.getLogger(__name__).exception("traceback")
    first, *others = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()] or [""]
    print(f"error: {first}", *(f"  {line}" for line in others), sep="\n", file=sys.stderr)
    return status
