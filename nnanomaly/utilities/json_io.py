"""JSON documents on disk: written atomically, read strictly, converted to and from what our code annotates.

Whoever reads a document says by a type what it holds: a dataclass (no other keys), a `TypedDict` (other keys may come
and stay, for documents that newer versions widen), lists, tuples, dictionaries, `Literal` choices, unions, scalars.
`Annotated[float, Between(0, 1)]` adds a rule. What does not fit is one line with file, key and value.
"""

import dataclasses
import functools
import hashlib
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from nnanomaly.utilities.errors import ConfigurationError, DataError, UserError
from nnanomaly.utilities.files import write_text

T = TypeVar("T")
MAX_BYTES = 256 * 2**20
"""Largest document that is opened; a summary of thousands of cases has a tenth of it."""
MAX_DEPTH = 64
"""Objects and lists within each other; ours have at most eight."""
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


def write_json(path: Path, document: object) -> None:
    """Write a document of plain types atomically, with indentation, NaN refused."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def read_json(path: Path) -> Any:
    """Read a JSON document; what is none, or beyond all reason, raises `DataError` (JSON) with the place.

    Refused are duplicate keys, NaN, numbers that no float or 64-bit integer holds, text that cannot be written again,
    more than `MAX_DEPTH` levels and more than `MAX_BYTES`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise DataError("JSON", f"{path} has {size} bytes, but at most {MAX_BYTES} are read. Is it the right file?")
    try:
        return parse_json(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DataError("JSON", f"{path} is not a valid JSON document: {error}. Correct the file.") from error


def parse_json(content: bytes) -> Any:
    """The same of bytes in UTF-8; `ValueError` or `RecursionError` for what is refused."""
    document = json.loads(
        content.decode("utf-8-sig"),
        object_pairs_hook=_refuse_duplicates,
        parse_constant=_refuse_constant,
        parse_float=_finite,
        parse_int=_integer,
    )
    _refuse_depth(document)
    if b"\\u" in content:
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair is a ValueError
    return document


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"duplicate key {shown(twice)}")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {shown(text)} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) >= MAX_INTEGER:
        raise ValueError(f"the integer {shown(text)} is too large")
    return int(text)


def _refuse_depth(document: Any) -> None:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return
    raise ValueError(f"more than {MAX_DEPTH} levels of objects and lists")


def _items(holder: Any) -> typing.Iterable[Any]:
    inside = holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()
    return (item for item in inside if isinstance(item, (dict, list)))


def document_hash(document: object) -> str:
    """SHA-256 of the canonical JSON text of a document of plain types."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


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


def read_document(path: Path, kind: type[T], *, remedy: str) -> T:
    """A JSON file as the annotated type; another form raises `DataError` (JSON): file, key, value and the remedy."""
    return typed(kind, read_json(path), source=str(path), remedy=remedy)


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
