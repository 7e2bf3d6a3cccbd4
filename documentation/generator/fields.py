"""Fields of dataclasses: their types in words, their defaults, and the sentence under each in the source."""

import ast
import dataclasses
import functools
import inspect
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

import nnanomaly.plans
from documentation.generator.markdown import code
from nnanomaly.plans import LENGTHS, LIMITS
from nnanomaly.utilities.json_io import to_document

WORDS = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
Links = Mapping[type, str]
"""Where on the page each dataclass is described."""


def sentences(kind: type) -> dict[str, str]:
    """The docstring under every field of a dataclass."""
    module = _parsed(kind.__module__)
    (definition,) = (n for n in ast.walk(module) if isinstance(n, ast.ClassDef) and n.name == kind.__name__)
    return {
        ast.unparse(field.target): " ".join(str(after.value.value).split())
        for field, after in zip(definition.body, definition.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
    }


@functools.cache
def _parsed(module: str) -> ast.Module:
    """The source of a module: that of a class alone is found in different ways by different versions of Python."""
    return ast.parse(inspect.getsource(sys.modules[module]))


def rows(kind: type, links: Links, *, defaults: bool) -> list[tuple[str, ...]]:
    """A row per field: name, type, default if wanted, meaning. A field without a sentence raises `KeyError`."""
    meaning, hints = sentences(kind), typing.get_type_hints(kind)
    return [
        (
            code(field.name),
            type_words(hints[field.name], links),
            *([default_text(field.default)] if defaults else []),
            " ".join([re.sub(r"\bNone\b", "null", meaning[field.name]), *_range(kind, field.name)]),
        )
        for field in dataclasses.fields(kind)
    ]


def _range(kind: type, field: str) -> list[str]:
    """What a number and a list may be, for a dataclass of the plans."""
    of_plans = getattr(nnanomaly.plans, kind.__name__, None) is kind
    limits, lengths = (
        table[kind.__name__] if of_plans and kind.__name__ in table else {} for table in (LIMITS, LENGTHS)
    )
    words = [f"{_plain(limits[field][0])} to {_plain(limits[field][1])}"] if field in limits else []
    words += ["{} to {} values".format(*lengths[field])] if field in lengths else []
    return [f"({'; '.join(words)})"] if words else []


def _plain(value: float) -> str:
    """A limit as a person writes it; the largest number below one is named so."""
    if 0.999 < value < 1:
        return "below 1"
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def type_words(hint: Any, links: Links) -> str:
    """A type as it appears in JSON, in words."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(type_words(argument, links) for argument in arguments)
    if origin is typing.Literal:
        return ", ".join(code(str(argument)) for argument in arguments)
    if origin is dict:
        return f"object of {_plural(type_words(arguments[1], links))}"
    if origin in (tuple, list):
        count = "" if origin is list or arguments[-1] is Ellipsis else f"{len(arguments)} "
        return f"list of {count}{_plural(type_words(arguments[0], links))}"
    if dataclasses.is_dataclass(hint):
        return links[typing.cast(type, hint)]
    return WORDS[hint]


def _plural(words: str) -> str:
    first, _, rest = words.partition(" of ")
    if rest:
        return f"{first}s of {rest}"
    return f"{words}s" if words in ("whole number", "number", "text") else words


def default_text(value: Any) -> str:
    """A default as JSON; of a dataclass what it sets, nothing where there is no default."""
    if value is dataclasses.MISSING:
        return ""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        changed = changes(value)
        return ", ".join(f"{code(name)}: {json_text(item)}" for name, item in changed.items()) or "its defaults"
    return json_text(value)


def json_text(value: Any) -> str:
    """A value as it stands in a JSON file."""
    return code(json.dumps(to_document(value)))


def changes(value: Any) -> dict[str, Any]:
    """Fields of a dataclass that do not have their default."""
    values = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    defaults = {field.name: field.default for field in dataclasses.fields(value)}
    return {name: item for name, item in values.items() if item != defaults[name]}
