"""Files as a whole: written under their final name only when they are complete, copied, linked, and hashed."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nnanomaly.utilities.leftovers import temporary_name
from nnanomaly.utilities.system_errors import naming

BLOCK_BYTES = 1 << 20


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk and rename it into place.

    A reader therefore never sees a half-written file under its final name, whatever kills the writer. Where `path` is a
    link, the link is replaced; what it points to stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_name(path)
    with naming(path):
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically, line ends as they are."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def copy_atomically(source: Path, target: Path) -> None:
    """The content of `source` under the name `target`, which is never there in part."""
    write_atomically(target, lambda temporary: shutil.copyfile(source, temporary))


def file_hash(path: Path) -> str:
    """SHA-256 of a file, read block by block."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name where the file system can do that, else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        copy_atomically(source, target)
