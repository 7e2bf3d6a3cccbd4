"""The page of all commands, from their parsers."""

import argparse
import inspect
from pathlib import Path
from unittest import mock

from documentation.generator.markdown import code, mark_names, page, sentence, table
from nnanomaly.cli.options import command_name
from nnanomaly.cli.overview import GROUPS, MAIN_JOB, Command, summary
from nnanomaly.cli.training_options import trained
from nnanomaly.cli.tuning_options import not_negative, positive_number

OF_EVERY_COMMAND = ("help", "verbose")
KINDS = {
    None: "text",
    int: "whole number",
    float: "number",
    Path: "path",
    positive_number: "whole number from 1",
    not_negative: "number from 0",
    trained: "text",
}
"""What the functions that read a value take."""

INTRODUCTION = f"""\
All commands, in the order in which they are used. `nnanomaly` lists them, and `nnanomaly train ...` is the same as
`nnanomaly_train ...`. The main job is three lines:

```bash
{MAIN_JOB}
```

Every command also has `-h` (usage and options) and `--verbose` (shows the traceback of an error). Options are typed
as they stand here: abbreviations are refused. What goes wrong has a code and an exit status: [Error
codes](error-codes.md). Files that the commands write: [Formats](formats.md).
"""


class _Found(Exception):
    """Carries a parser out of the command that made it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def parser_of(command: Command) -> argparse.ArgumentParser:
    """The parser of a command, which is stopped before it parses anything."""

    def stop(parser: argparse.ArgumentParser, *_: object) -> None:
        raise _Found(parser)

    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            command([])
        except _Found as found:
            return found.parser
    raise AssertionError(f"{command} parses no arguments")


def commands_page() -> str:
    """The page."""
    parts = [_contents()]
    for group, commands in GROUPS.items():
        parts.append(f"## {group}")
        parts += [_section(command, parser_of(command)) for command in commands]
    return page("Commands", INTRODUCTION, parts)


def _contents() -> str:
    rows = (
        (
            "" if number else group,
            f"[{code(command.__name__)}](#{command_name(command)})",
            mark_names(summary(command)),
        )
        for group, commands in GROUPS.items()
        for number, command in enumerate(commands)
    )
    return table(("for", "command", "what it does"), rows)


def _section(command: Command, parser: argparse.ArgumentParser) -> str:
    text = "\n\n".join(
        mark_names(" ".join(part.split())) for part in inspect.cleandoc(command.__doc__ or "").split("\n\n")
    )
    actions = [action for action in parser._actions if action.dest not in OF_EVERY_COMMAND]
    rows = [(_names(action), _values(action), _meaning(action, parser)) for action in actions]
    return "\n\n".join(
        [
            f"### {parser.prog}",
            text,
            f"```\n{usage(parser)}\n```",
            table(("argument", "value", "meaning"), rows),
        ]
    )


def usage(parser: argparse.ArgumentParser) -> str:
    """What must be typed: arguments without a flag, and the options that are required."""
    words = [parser.prog]
    for action in parser._actions:
        if not action.option_strings:
            words.append(_repeated(action, _metavar(action)))
        elif action.required:
            words.append(f"{action.option_strings[0]} {_repeated(action, _metavar(action))}")
    return " ".join([*words, "[options]"])


def _repeated(action: argparse.Action, name: str) -> str:
    return {"+": f"{name} [{name} ...]", "?": f"[{name}]"}.get(str(action.nargs), name)


def _metavar(action: argparse.Action) -> str:
    name = action.dest.upper() if action.option_strings else action.dest
    return " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or name


def _names(action: argparse.Action) -> str:
    return ", ".join(map(code, action.option_strings)) or code(_metavar(action))


def _values(action: argparse.Action) -> str:
    """What may be typed after an option; nothing after a flag."""
    if action.nargs == 0:
        return ""
    kind = KINDS[action.type]  # type: ignore[index]
    if action.choices is not None:
        kind = ", ".join(code(str(choice)) for choice in action.choices)
    elif action.metavar is not None:
        kind = code(_metavar(action))
    return f"{kind}; one or more" if action.nargs == "+" else kind


def _meaning(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    text = sentence(mark_names((action.help or "") % vars(action)))
    others = [
        name
        for group in parser._mutually_exclusive_groups
        if action in group._group_actions
        for other in group._group_actions
        if other is not action
        for name in other.option_strings
    ]
    text += f" Not together with {', '.join(map(code, others))}." if others else ""
    return f"**Required.** {text}" if action.required and action.option_strings else text
