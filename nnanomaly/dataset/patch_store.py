"""The store of preprocessed patches: one float16 `.npy` and one JSON document per patch.

A patch is named `{case}__{organ}`, or `{case}__{organ}__{tile}` where an organ has several. The document is written
last and carries the SHA-256 of the array's file, so a patch without its document is not there, and one whose array is
cut short or exchanged is refused. Labels are not stored: they may change without preprocessing again.
"""

import hashlib
import io
import re
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from nnanomaly.patch import Patch
from nnanomaly.utilities.errors import DataError, IntegrityError, UserError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.json_io import from_document, read_document, write_json
from nnanomaly.volume import Count, Grid

SCHEMA_VERSION = 1
REMEDY = "Run nnanomaly_preprocess again."
UNREADABLE = (OSError, ValueError, EOFError, MemoryError, OverflowError, TypeError, SyntaxError, tokenize.TokenError)
"""What numpy raises for headers of random bytes."""


class _Always(TypedDict):
    sha256: str
    shape: list[Count]
    grid: dict[str, Any]


class PatchMetadata(_Always, total=False):
    """The document of a patch, of what others read; more may stand in it."""

    case: str
    """Case id."""
    organ: str
    """Organ."""
    variant: int
    """Number of the variant of an example."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredPatch:
    """A patch as it lies on disk."""

    array: NDArray[np.float16]
    """Channels `[C, Z, Y, X]`; read-only where it is mapped from the file."""
    grid: Grid
    """Where its voxels lie in the world."""
    metadata: dict[str, Any]
    """Its document: what was given to `save_patch`, and `sha256`, `shape`, `schema_version`."""

    @property
    def case(self) -> str:
        """Case id. Raises `IntegrityError` (PATCH-VERSION) where its document names none."""
        return _named(self.metadata, "case")

    @property
    def organ(self) -> str:
        """Organ, likewise."""
        return _named(self.metadata, "organ")


def _named(metadata: Mapping[str, Any], key: str, source: str = "the document of a patch") -> str:
    if key not in metadata:
        raise IntegrityError("PATCH-VERSION", f"{source} names no {key}. {REMEDY}")
    return str(metadata[key])


def patch_name(case: str, organ: str, *, tile: int, num_tiles: int) -> str:
    """Name of a patch; unambiguous, since organ names begin with a letter and have no double underscore."""
    return f"{case}__{organ}" if num_tiles == 1 else f"{case}__{organ}__{tile}"


def save_patch(folder: Path, name: str, array: NDArray[np.float16], *, metadata: Mapping[str, Any]) -> None:
    """Write a patch `[C, Z, Y, X]`; `metadata` holds plain types, with its grid under "grid"."""
    if array.dtype != np.float16 or array.ndim != 4:
        raise ValueError(f"{name}: patches are float16 [C, Z, Y, X], got {array.dtype} {array.shape}")
    document = _document_path(folder, name)
    document.unlink(missing_ok=True)  # so that an old document never vouches for a new array
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_atomically(_array_path(folder, name), lambda temporary: temporary.write_bytes(content))
    facts = {
        "schema_version": SCHEMA_VERSION,
        "sha256": hashlib.sha256(content).hexdigest(),
        "shape": list(array.shape),
    }
    write_json(document, {**facts, **metadata})


def load_patch(folder: Path, name: str, *, verify: bool) -> StoredPatch:
    """Read a patch: mapped from disk, or with `verify` read whole and its hash compared.

    A missing, truncated or (with `verify`) changed patch raises `IntegrityError`.
    """
    metadata = read_metadata(folder, name)
    path = _array_path(folder, name)
    try:
        content = path.read_bytes() if verify else None
    except OSError as error:
        raise IntegrityError("PATCH-ARRAY", f"{path} cannot be read: {error}. {REMEDY}") from error
    if content is not None and hashlib.sha256(content).hexdigest() != metadata["sha256"]:
        raise IntegrityError("PATCH-HASH", f"{path} is not the file that was written (its SHA-256 differs). {REMEDY}")
    try:
        array = np.load(
            path if content is None else io.BytesIO(content), mmap_mode=None if verify else "r", allow_pickle=False
        )
    except UNREADABLE as error:
        raise IntegrityError("PATCH-ARRAY", f"{path} cannot be read: {error}. {REMEDY}") from error
    if not isinstance(array, np.ndarray) or array.dtype != np.float16 or list(array.shape) != metadata["shape"]:
        raise IntegrityError("PATCH-ARRAY", f"{path} holds no float16 array of the shape {metadata['shape']}. {REMEDY}")
    return StoredPatch(array=array, grid=from_document(Grid, metadata["grid"], source=str(path)), metadata=metadata)


def load_organ_patch(folder: Path, name: str) -> Patch:
    """A patch that preprocessing stored, mapped from disk; IntegrityError as `load_patch`."""
    stored = load_patch(folder, name, verify=False)
    return Patch(name=name, case=stored.case, organ=stored.organ, array=stored.array, grid=stored.grid)


def read_metadata(folder: Path, name: str) -> dict[str, Any]:
    """The document of a patch; one that is missing or of another format raises `IntegrityError`."""
    path = _document_path(folder, name)
    if not path.is_file():
        raise IntegrityError("PATCH-MISSING", f"{path} does not exist. {REMEDY}")
    try:
        metadata = read_document(path, PatchMetadata, remedy=REMEDY)
        if metadata.get("schema_version") != SCHEMA_VERSION:
            raise DataError("JSON", f"{path} has another format than {SCHEMA_VERSION}. {REMEDY}")
        from_document(Grid, metadata["grid"], source=f"{path}: grid")
    except UserError as error:
        reason = error.message.removesuffix(REMEDY).rstrip(". ")
        raise IntegrityError("PATCH-VERSION", f"{reason}. {REMEDY}") from error
    return dict(metadata)


def read_place(folder: Path, name: str) -> tuple[str, str]:
    """Case and organ of a patch; raises what `read_metadata` raises, also where the document names none."""
    metadata, source = read_metadata(folder, name), str(_document_path(folder, name))
    return _named(metadata, "case", source), _named(metadata, "organ", source)


def read_variant(folder: Path, name: str) -> int:
    """Number of the variant of an example, likewise."""
    return int(_named(read_metadata(folder, name), "variant", str(_document_path(folder, name))))


def list_patches(folder: Path) -> list[str]:
    """Names of all complete patches in a folder, sorted; empty if there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path.stem for path in folder.glob("*.json") if not path.name.startswith("."))


def patches_of(folder: Path, case: str, organ: str) -> list[str]:
    """Names of the complete patches of an organ, in the order of the tiles."""
    pattern = re.compile(rf"{re.escape(case)}__{re.escape(organ)}(?:__(\d+))?")
    candidates = (path.stem for path in folder.glob(f"{case}__{organ}*.json"))
    matches = [match for match in map(pattern.fullmatch, candidates) if match]
    return [match[0] for match in sorted(matches, key=lambda match: int(match[1] or -1))]


def remove_patches(folder: Path, case: str, organ: str) -> None:
    """Delete the patches of an organ, documents first."""
    for name in patches_of(folder, case, organ):
        _document_path(folder, name).unlink(missing_ok=True)
        _array_path(folder, name).unlink(missing_ok=True)


def _array_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.npy"


def _document_path(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"
