"""The terminal: all that a command says goes through here; no name acts on it, and no letter ends in an error."""

import io
import logging
import sys

from nnanomaly.utilities.shown_text import visible


def say(text: object = "", *, flush: bool = False) -> None:
    """Print to the standard output."""
    print(visible(str(text)), flush=flush)


def say_error(text: object) -> None:
    """Print a message to the standard error stream, further lines of it set in."""
    first, *others = [" ".join(line.split()) for line in str(text).splitlines() if line.strip()] or [""]
    print(visible("\n".join([first, *(f"  {line}" for line in others)])), file=sys.stderr)


def take_any_letter() -> None:
    r"""Let a terminal that lacks a letter show its number instead (\xb1) of ending the command in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def log_to_terminal(*, verbose: bool) -> None:
    """Show our log on the standard error stream, with `verbose` all of it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Visible("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("nnanomaly").setLevel(logging.DEBUG if verbose else logging.INFO)


class _Visible(logging.Formatter):
    """Formats foreign text so that it cannot act on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))
