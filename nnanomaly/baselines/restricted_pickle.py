"""The only module that reads or writes pickles: plain types and numpy arrays, nothing that can run code.

nnDetection keeps boxes and splits as pickles. A pickle is a program: whatever class it names is imported and called.
Here it may name the few constructors that numpy arrays and ordered dictionaries need (both names of numpy's core, every
protocol up to 5); anything else is refused before it is imported. What comes out holds no Python objects but those
plain types, and no array of objects.
"""

import pickle
from collections import OrderedDict
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from nnanomaly.utilities.errors import DataError, IntegrityError
from nnanomaly.utilities.files import write_atomically

MAX_VALUES = 10_000_000
"""Most values that a file may stand for."""
_UNFINISHED = -1
MAX_BYTES = 64 * 2**20
"""Largest file that is opened: boxes of a case fill kilobytes."""
PROTOCOL = 3
"""Written: the newest whose names stand in plain lines, so that numpy's core can be named as numpy 1 has it."""

_CORE: dict[tuple[str, str], Any] = {
    ("multiarray", "_reconstruct"): np.ndarray([]).__reduce__()[0],
    ("multiarray", "scalar"): np.float64(0).__reduce__()[0],
    ("numeric", "_frombuffer"): np.ndarray([]).__reduce_ex__(5)[0],
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): lambda text, encoding="latin1": str(text).encode("latin1"),  # protocol 2 spells bytes so
    **{(f"numpy.{core}.{module}", name): made for core in ("core", "_core") for (module, name), made in _CORE.items()},
}
_NEUTRAL = (str, bytes, bool, int, float, np.number, np.bool_, type(None))


class _RestrictedUnpickler(pickle.Unpickler):
    """An unpickler that finds the constructors of arrays and ordered dictionaries, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """The constructor of that name; another one raises `UnpicklingError`."""
        constructor = _ALLOWED.get((module, name))
        if constructor is None:
            raise _ForbiddenType(f"{module}.{name}")
        # A pickle may also set attributes of what it names: it gets a wrapper of its own, never the function itself.
        return constructor if isinstance(constructor, type) else lambda *arguments: constructor(*arguments)


class _ForbiddenType(pickle.UnpicklingError):
    """A pickle names a type that is not on the list."""


def load_pickle(path: Path) -> Any:
    """Content of a pickle of plain types, ordered dictionaries and numeric or text arrays.

    Raises `FileNotFoundError`, and `IntegrityError`: PKL-SIZE (too large), PKL-TYPE (another type, which is named and
    was not imported; or an array of objects), PKL-DAMAGED (no pickle, or cut off).
    """
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise IntegrityError(
            "PKL-SIZE", f"{path} has {size} bytes, but at most {MAX_BYTES} are read. Is it the right file?"
        )
    try:
        with path.open("rb") as file:
            content = _RestrictedUnpickler(file).load()
        _refuse_objects(content, path)
    except IntegrityError:
        raise
    except _ForbiddenType as error:
        raise IntegrityError("PKL-TYPE", f"{path} holds the type {error}, which is not read. {_REMEDY}") from error
    except Exception as error:  # a damaged pickle raises anything: IndexError, MemoryError, RecursionError ...
        raise IntegrityError(
            "PKL-DAMAGED", f"{path} cannot be read as a pickle ({type(error).__name__}: {error}). Write it again."
        ) from error
    return content


def save_pickle(path: Path, content: object) -> None:
    """Write plain types and arrays atomically, so that numpy 1 (and nnDetection's Python 3.8) reads them.

    What `load_pickle` would not give back is refused with its `IntegrityError`; then nothing is written.
    """
    data = pickle.dumps(content, protocol=PROTOCOL)
    for module in (b"multiarray", b"numeric"):  # numpy 2 calls its core _core, which numpy 1 does not know
        data = data.replace(b"cnumpy._core." + module + b"\n", b"cnumpy.core." + module + b"\n")

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)
        load_pickle(temporary)

    write_atomically(path, write)


def require_keys(content: Any, path: Path, *, required: Set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """The content as a dictionary with exactly these keys; anything else raises `DataError` (PKL-KEYS)."""
    if not isinstance(content, dict):
        raise DataError("PKL-KEYS", f"{path} holds {type(content).__name__}, not {sorted(required)}. {_OTHER_FILE}")
    missing, unknown = sorted(required - set(content)), sorted(map(str, set(content) - required - optional))
    if missing or unknown:
        raise DataError("PKL-KEYS", f"{path} lacks the keys {missing} and has unknown ones {unknown}. {_OTHER_FILE}")
    return dict(content)


_OTHER_FILE = "Is it a prediction? Label files end likewise."
_REMEDY = "Only numbers, text and numpy arrays are read from pickles; ask whoever wrote the file."


def _refuse_objects(content: Any, path: Path) -> None:
    """Walk through what was read: plain types, and arrays of numbers or text.

    Lists that hold a list twice, each of which holds another twice, stand for any number of values: whoever reads the
    content would walk through all of them. So they are counted as often as they stand there, but looked at once.
    """
    if _count_values(content, path, {}) > MAX_VALUES:
        raise IntegrityError("PKL-SIZE", f"{path} stands for more than {MAX_VALUES} values. Is it the right file?")


def _count_values(item: Any, path: Path, counts: dict[int, int]) -> int:
    """Values in `item`, shared ones counted at each place; RecursionError for a list that holds itself."""
    if not isinstance(item, Mapping | Sequence | set | frozenset) or isinstance(item, str | bytes):
        _refuse_object(item, path)
        return 1
    known = counts.get(id(item))
    if known is None:
        counts[id(item)] = _UNFINISHED
        inside = [*item, *item.values()] if isinstance(item, Mapping) else item
        known = counts[id(item)] = 1 + sum(_count_values(value, path, counts) for value in inside)
    if known == _UNFINISHED:
        raise RecursionError("a list holds itself")
    return known


def _refuse_object(content: Any, path: Path) -> None:
    """One value that holds no others."""
    if isinstance(content, np.ndarray):
        if content.dtype.hasobject or content.dtype.kind not in "biufU":
            raise IntegrityError("PKL-TYPE", f"{path} holds an array of the type {content.dtype}. {_REMEDY}")
        if content.nbytes > MAX_BYTES:  # a few bytes can ask for an array of any size
            raise IntegrityError("PKL-SIZE", f"{path} holds an array of {content.nbytes} bytes. Is it the right file?")
    elif not isinstance(content, _NEUTRAL):
        raise IntegrityError("PKL-TYPE", f"{path} holds the type {type(content).__name__}. {_REMEDY}")
