"""What every command does around its own work: parse, log, turn whatever ends it into a line and a status."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from nnanomaly.cli.absent_folders import absent_folders
from nnanomaly.cli.completion import offer_completion
from nnanomaly.cli.interruption import Terminated, said, terminated_like_interrupted
from nnanomaly.cli.options import DEFAULT_PROCESSES
from nnanomaly.cli.output import log_to_terminal, say_error, take_any_letter
from nnanomaly.paths import let_threads_sleep, number_of_workers_from_env
from nnanomaly.utilities.errors import InternalFault, Interrupted
from nnanomaly.utilities.faults import keep_traceback, told_traceback, traceback_text, user_error

NOBODY_READS = 141  # exit status: what shells say of a program that writes into a closed pipe
PARTIAL = 4  # exit status: some cases failed or have no organ at all, the rest is complete
STOPPED, TERMINATED = 130, 143  # exit statuses of Ctrl-C and SIGTERM

Arguments = Sequence[str] | None


def run_command(parser: argparse.ArgumentParser, argv: Arguments, command: Callable[[argparse.Namespace], int]) -> int:
    """Parse, run, and turn whatever ends the command early into one line on stderr and an exit status."""
    take_any_letter()
    offer_completion(parser)
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = parser.parse_args(words)
    let_threads_sleep()
    log_to_terminal(verbose=arguments.verbose)
    try:
        with terminated_like_interrupted():
            if "np" in arguments and arguments.np is None:
                arguments.np = number_of_workers_from_env() or DEFAULT_PROCESSES
            return command(arguments)
    except (Interrupted, KeyboardInterrupt) as stop:
        say_error(said(parser.prog, words))
        return stop.exit_code if isinstance(stop, Interrupted) else _status(stop)
    except Exception as error:  # noqa: BLE001 (the boundary of a command)
        if isinstance(error, BrokenPipeError) and nobody_reads():
            return NOBODY_READS
        return _fail(error)


def _status(stop: KeyboardInterrupt) -> int:
    return TERMINATED if isinstance(stop, Terminated) else STOPPED


def nobody_reads() -> bool:
    """Whether the reader of our standard output has seen enough, as `head` does; what is left then goes nowhere."""
    try:
        print(flush=True)  # only what is written tells; the pipe of a worker process may have broken instead
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        return True
    return False


def _fail(error: Exception) -> int:
    """The fault for the user, several of them a line each; the traceback in the debug log, and of one of ours in a
    file."""
    told = user_error(error)
    path = keep_traceback(traceback_text(error), in_file=isinstance(told, InternalFault))
    remedy = f". {told_traceback(path)}" if isinstance(told, InternalFault) else ""
    absent = "".join(f" ({phrase})" for phrase in absent_folders(str(told)))
    say_error(f"error: {told}{remedy}{absent}")
    return told.exit_code
