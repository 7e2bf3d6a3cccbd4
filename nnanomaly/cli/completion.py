"""Completion of options by the shell, where the extra `completion` is installed and the shell asks for it."""

import argparse


def offer_completion(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that wants to complete a command line, and end the process; return at once for all others."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        return
    argcomplete.autocomplete(parser)
