"""The command `nnanomaly`: it lists all others in the order in which a new user meets them, and runs them.

What a command does is said in the first line of its docstring alone; the list, `-h` and the reference page take it
from there.
"""

import difflib
import sys
from collections.abc import Callable

from nnanomaly import __version__, cli
from nnanomaly.cli.output import say, say_error, take_any_letter
from nnanomaly.cli.run import NOBODY_READS, Arguments, nobody_reads
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault

Command = Callable[[Arguments], int]

GROUPS: dict[str, tuple[Command, ...]] = {
    "Bring data": (
        cli.make_dataset,
        cli.convert_dicom,
        cli.convert_kits,
        cli.convert_msd,
        cli.import_nndetection,
        cli.segment_organs,
        cli.label_reports,
    ),
    "Prepare": (
        cli.plan_and_preprocess,
        cli.extract_fingerprint,
        cli.plan_experiment,
        cli.preprocess,
        cli.plot_overlay_pngs,
    ),
    "Train": (cli.train,),
    "Tune": (cli.sweep, cli.find_best_configuration, cli.diagnose),
    "Predict": (cli.predict,),
    "Look and compare": (cli.report, cli.evaluate, cli.evaluate_folder, cli.compare, cli.export_nndetection),
    "Share": (cli.export_dicom, cli.export_model_to_zip, cli.install_pretrained_model_from_zip),
    "Help": (cli.demo, cli.doctor),
}
"""All commands in the order of use."""

MAIN_JOB = """\
nnanomaly_plan_and_preprocess -d 501
nnanomaly_train 501 ddpm
nnanomaly_predict -i imagesTs -o preds"""
NAME_WIDTH = 24
"""Column of the descriptions, as in Python's own help; longer names have a line to themselves."""


def main(argv: Arguments = None) -> int:
    """nnanomaly: list the commands, or run the one that is named."""
    take_any_letter()
    words = list(sys.argv[1:] if argv is None else argv)
    commands = {command.__name__: command for group in GROUPS.values() for command in group}
    if not words or words[0] in ("-h", "--help"):
        try:
            say(overview(GROUPS), flush=True)
        except BrokenPipeError:
            return NOBODY_READS if nobody_reads() else EnvironmentFault.exit_code
        return 0
    if words[0] == "--version":
        say(f"nnanomaly {__version__}")
        return 0
    if words[0] in commands:
        return commands[words[0]](words[1:])
    error = _unknown(words[0], list(commands))
    say_error(f"error: {error}")
    return error.exit_code


def overview(groups: dict[str, tuple[Command, ...]]) -> str:
    """What `nnanomaly --help` shows: the main job, and a line for every command."""
    lines = ["usage: nnanomaly COMMAND ...     the same as nnanomaly_COMMAND ...", "       nnanomaly --version"]
    lines += ["", "The main job, on a raw dataset with the id 501:", *(f"  {line}" for line in MAIN_JOB.splitlines())]
    for title, commands in groups.items():
        lines += ["", f"{title}:"]
        for command in commands:
            name = f"  {command.__name__}"
            lines += [name] if len(name) > NAME_WIDTH - 2 else []
            lines.append(f"{'' if len(name) > NAME_WIDTH - 2 else name:{NAME_WIDTH}}{summary(command)}")
    return "\n".join([*lines, "", "nnanomaly COMMAND -h says more."])


def summary(command: Command) -> str:
    """What a command does, in one line."""
    return (command.__doc__ or "").strip().partition("\n")[0]


def _unknown(name: str, known: list[str]) -> ConfigurationError:
    similar = difflib.get_close_matches(name.removeprefix("nnanomaly_"), known, n=3)
    hint = f"Did you mean {' or '.join(similar)}? " if similar else ""
    return ConfigurationError("CFG-COMMAND", f"there is no command {name!r}. {hint}nnanomaly -h lists all of them.")
