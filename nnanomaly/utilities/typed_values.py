"""Values of plain types (a JSON document, a field of a checkpoint) as what our code annotates, and back.

A type says what a document holds: a dataclass (no other keys), a `TypedDict` (other keys may come and stay, for
documents that newer versions widen), lists, tuples, dictionaries, `Literal` choices, unions, scalars.
`Annotated[float, Between(0, 1)]` adds a rule. What does not fit is one line with place, key and value.
"""

import dataclasses
import functools
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Protocol, TypeVar

from nnanomaly.utilities.errors import ConfigurationError, DataError, UserError

T = TypeVar("T")
MAX_INTEGER = 2**64
"""Integers of a document lie below it on both sides: no count, value or seed is larger."""
_FORM_CODES = ("CFG-KEYS", "CFG-TYPE")
_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 100


class Rule(Protocol):
    """What an annotation may demand of a value besides its type."""

    def fault(self, value: Any) -> str | None:
        """What the value must be, if it is not."""


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """A number must lie between two others, which are allowed."""

    low: float
    high: float

    def fault(self, value: Any) -> str | None:
        """The range, for a number outside it."""
        return None if self.low <= value <= self.high else f"must lie in {self.low:g}..{self.high:g}"


def shown(value: object) -> str:
    """A value for a message: as Python writes it, in one line, shortened where it is long."""
    return _REPR.repr(value)


def to_document(value: Any) -> Any:
    """Turn nested dataclasses and tuples into dictionaries and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_document(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_document(item) for item in value]
    if isinstance(value, dict):
        return {key: to_document(item) for key, item in value.items()}
    return value


def typed(kind: type[T], value: Any, *, source: str, remedy: str) -> T:
    """A value of plain types as the annotated type; another form raises `DataError` (JSON), which names `source`."""
    try:
        converted: T = _convert(kind, value, source)
    except ConfigurationError as error:
        if error.code not in _FORM_CODES:
            raise
        raise DataError("JSON", f"{error.message}. {remedy}") from error
    return converted


def from_document(kind: type[T], document: Any, *, source: str) -> T:
    """Build the dataclass `kind` from a dictionary; unknown and missing keys raise, named with `source`.

    So do values of other types, and those that the dataclass refuses by a `ValueError`. What it refuses by an error
    with a code keeps its code.
    """
    if not isinstance(document, dict):
        raise ConfigurationError(
            "CFG-KEYS", f"{source}: expected an object for {kind.__name__}, found {shown(document)}"
        )
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    required = {name for name, field in known.items() if _is_required(field)}
    _check_keys(kind.__name__, document, known, required, source=source, others_may_come=False)
    values = _values(_hints(typing.cast(typing.Hashable, kind)), document, source)
    try:
        return kind(**values)
    except UserError:
        raise
    except ValueError as error:  # what `__post_init__` says of values that do not fit each other
        raise ConfigurationError("CFG-TYPE", f"{source}: {error}") from error


@functools.cache
def _hints(kind: typing.Hashable) -> dict[str, Any]:
    return typing.get_type_hints(typing.cast(type, kind), include_extras=True)


def _check_keys(
    name: str,
    document: dict[str, Any],
    known: typing.Collection[str],
    required: typing.Collection[str],
    *,
    source: str,
    others_may_come: bool,
) -> None:
    unknown = [] if others_may_come else sorted(set(document) - set(known))
    missing = sorted(set(required) - set(document))
    if unknown or missing:
        raise ConfigurationError(
            "CFG-KEYS",
            f"{source}: {name} has unknown keys {shown(unknown)} and lacks {missing}; known: {sorted(known)}",
        )


def _values(hints: Mapping[str, Any], document: dict[str, Any], source: str) -> dict[str, Any]:
    return {
        key: _convert(hints[key], item, f"{source}: {key}") if key in hints else item for key, item in document.items()
    }


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, source: str) -> Any:
    """Convert one JSON value to the annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _ruled(_convert(arguments[0], value, source), arguments[1:], source)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, source)
    if origin is Literal:
        return _checked(any(value == item and type(value) is type(item) for item in arguments), hint, value, source)
    if dataclasses.is_dataclass(hint):
        return from_document(typing.cast(type, hint), value, source=source)
    if typing.is_typeddict(hint):
        _checked(isinstance(value, dict), dict, value, source)
        hints = _hints(hint)
        _check_keys(hint.__name__, value, hints, hint.__required_keys__, source=source, others_may_come=True)
        return _values(hints, value, source)
    if origin is tuple:
        return _convert_tuple(arguments, value, source)
    if origin is list:
        _checked(isinstance(value, list), list, value, source)
        return [_convert(arguments[0], item, f"{source}[{number}]") for number, item in enumerate(value)]
    if origin is dict:
        _checked(isinstance(value, dict) and all(isinstance(key, str) for key in value), dict, value, source)
        return {key: _convert(arguments[1], item, f"{source}.{_key(key)}") for key, item in value.items()}
    return _convert_scalar(hint, value, source)


def _convert_scalar(hint: Any, value: Any, source: str) -> Any:
    if hint is float and type(value) is int:
        value = float(_ruled(value, [Between(-MAX_INTEGER, MAX_INTEGER)], source))
    if hint in (int, float, str, bool, dict, list):
        _checked(type(value) is hint, hint, value, source)
    if hint is float:
        _checked(math.isfinite(value), hint, value, source)
    return value


def _convert_union(arguments: tuple[Any, ...], value: Any, source: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    *others, last = [argument for argument in arguments if argument is not type(None)]
    for argument in others:
        try:
            return _convert(argument, value, source)
        except ConfigurationError:
            continue
    return _convert(last, value, source)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, source: str) -> tuple[Any, ...]:
    """Convert a JSON list to a tuple of the annotated length and types."""
    if not isinstance(value, (list, tuple)):
        raise ConfigurationError("CFG-TYPE", f"{source}: expected a list, found {shown(value)}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise ConfigurationError("CFG-TYPE", f"{source}: expected {len(hints)} values, found {shown(value)}")
    return tuple(_convert(hint, item, source) for hint, item in zip(hints, value, strict=True))


def _ruled(value: Any, rules: typing.Iterable[Rule], source: str) -> Any:
    for rule in rules:
        fault = rule.fault(value)
        if fault is not None:
            raise ConfigurationError("CFG-TYPE", f"{source} is {shown(value)}, but {fault}")
    return value


def _checked(sound: bool, hint: Any, value: Any, source: str) -> Any:
    if not sound:
        names = {dict: "an object", list: "a list"}
        expected = names.get(hint) or (f"one of {typing.get_args(hint)}" if typing.get_args(hint) else hint.__name__)
        raise ConfigurationError("CFG-TYPE", f"{source}: expected {expected}, found {shown(value)}")
    return value


def _key(key: str) -> str:
    return key if len(key) <= 100 and key.isprintable() else shown(key)
