"""JSON documents on disk: written atomically, read strictly, converted to and from frozen dataclasses."""

import dataclasses
import hashlib
import json
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import write_text

T = TypeVar("T")


def write_json(path: Path, document: object) -> None:
    """Write a document of plain types atomically, with indentation, NaN refused."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def read_json(path: Path) -> Any:
    """Read a JSON document; duplicate keys, NaN and malformed text raise `DataError` with the place."""
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist")
    try:
        return json.loads(
            path.read_text(encoding="utf-8-sig"),
            object_pairs_hook=_refuse_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError) as error:
        raise DataError("JSON", f"{path} is not a valid JSON document: {error}. Correct the file.") from error


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in keys if keys.count(key) > 1)!r}")
    return document


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not allowed")


def document_hash(document: object) -> str:
    """SHA-256 of the canonical JSON text of a document of plain types."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def to_document(value: Any) -> Any:
    """Turn nested dataclasses and tuples into dictionaries and lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_document(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_document(item) for item in value]
    if isinstance(value, dict):
        return {key: to_document(item) for key, item in value.items()}
    return value


def from_document(kind: type[T], document: Any, *, source: str) -> T:
    """Build the dataclass `kind` from a dictionary; unknown and missing keys raise, named with `source`."""
    if not isinstance(document, dict):
        raise ConfigurationError("CFG-KEYS", f"{source}: expected an object for {kind.__name__}, found {document!r}")
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(document) - set(known))
    required = {name for name, field in known.items() if _is_required(field)}
    missing = sorted(required - set(document))
    if unknown or missing:
        raise ConfigurationError(
            "CFG-KEYS",
            f"{source}: {kind.__name__} has unknown keys {unknown} and lacks {missing}; known: {sorted(known)}",
        )
    values = {key: _convert(hints[key], item, f"{source}: {key}") for key, item in document.items()}
    return kind(**values)


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, source: str) -> Any:
    """Convert one JSON value to the annotated type: dataclass, tuple, dictionary, optional or scalar."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _convert(next(argument for argument in arguments if argument is not type(None)), value, source)
    if dataclasses.is_dataclass(hint):
        return from_document(typing.cast(type, hint), value, source=source)
    if origin is tuple:
        return _convert_tuple(arguments, value, source)
    if origin is dict:
        if not isinstance(value, dict):
            raise ConfigurationError("CFG-TYPE", f"{source}: expected an object, found {value!r}")
        return {key: _convert(arguments[1], item, f"{source}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float, str, bool) and type(value) is not hint:
        raise ConfigurationError("CFG-TYPE", f"{source}: expected {hint.__name__}, found {value!r}")
    return value


def _convert_tuple(arguments: tuple[Any, ...], value: Any, source: str) -> tuple[Any, ...]:
    """Convert a JSON list to a tuple of the annotated length and types."""
    if not isinstance(value, list):
        raise ConfigurationError("CFG-TYPE", f"{source}: expected a list, found {value!r}")
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise ConfigurationError("CFG-TYPE", f"{source}: expected {len(hints)} values, found {value!r}")
    return tuple(_convert(hint, item, source) for hint, item in zip(hints, value, strict=True))
