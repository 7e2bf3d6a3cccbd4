"""Files as a whole: written under their final name only when they are complete, copied, linked, and hashed."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from nnanomaly.utilities.errors import ConfigurationError, DataError
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
    """The same file under another name where the file system can do that, else a copy; links to `source` are followed.

    What is there already stays, and raises `DataError` (IO-TAKEN): it may be another name of a file of the user's,
    and writing into it would change that file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_existing(target, source)
    content = Path(os.path.realpath(source))
    try:
        os.link(content, target)
    except FileExistsError:
        refuse_existing(target, source)
        raise
    except OSError:
        copy_atomically(content, target)


def refuse_existing(target: Path, source: Path) -> None:
    """Raise `DataError` (IO-TAKEN) where there is a file, a folder or a link of that name, be it a link to nothing."""
    if os.path.lexists(target):
        raise DataError(
            "IO-TAKEN", f"{target} is there already; {source} is not written over it. Move it away, or rename one."
        )


def refuse_link(folder: Path, name: str) -> None:
    """Raise `DataError` (IO-LINK) where `folder/name` is reached through a link below `folder`.

    A link in a dataset is read through, but what is written behind it would land among the files of somebody else.
    """
    path = folder
    for part in Path(name).parts:
        path = path / part
        if path.is_symlink():
            raise DataError(
                "IO-LINK",
                f"{path} is a link to {os.path.realpath(path)}, and nothing is written through a link. "
                "Replace it by a folder or file of its own, or name another output folder.",
            )


def refuse_within(output: Path, source: Path) -> None:
    """Raise `ConfigurationError` (CFG-OUTPUT) for an output that is, or lies in, a folder that is read."""
    inside, outside = (Path(os.path.realpath(path)) for path in (output, source))
    if inside == outside or outside in inside.parents:
        raise ConfigurationError(
            "CFG-OUTPUT", f"the output {output} lies in {source}, which is read. Name a folder outside of it."
        )
