"""JSON documents on disk: written atomically, read strictly. What they must hold, `typed_values` says."""

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.typed_values import MAX_INTEGER, Between, from_document, shown, to_document, typed

__all__ = [
    "MAX_INTEGER",
    "Between",
    "document_hash",
    "from_document",
    "parse_json",
    "read_document",
    "read_json",
    "shown",
    "to_document",
    "typed",
    "write_json",
]
T = TypeVar("T")
MAX_BYTES = 256 * 2**20
"""Largest document that is opened; a summary of thousands of cases has a tenth of it."""
MAX_DEPTH = 64
"""Objects and lists within each other; ours have at most eight."""


def write_json(path: Path, document: object) -> None:
    """Write a document of plain types atomically, with indentation, NaN refused."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    write_text(path, text)


def read_json(path: Path, *, remedy: str = "Correct the file.") -> Any:
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
        raise DataError("JSON", f"{path} is not a valid JSON document: {error}. {remedy}") from error


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


def _items(holder: Any) -> Iterable[Any]:
    inside = holder.values() if isinstance(holder, dict) else holder if isinstance(holder, list) else ()
    return (item for item in inside if isinstance(item, (dict, list)))


def document_hash(document: object) -> str:
    """SHA-256 of the canonical JSON text of a document of plain types."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_document(path: Path, kind: type[T], *, remedy: str) -> T:
    """A JSON file as the annotated type; another form raises `DataError` (JSON): file, key, value and the remedy."""
    return typed(kind, read_json(path, remedy=remedy), source=str(path), remedy=remedy)
