"""The bytes of a NIfTI file, compressed or not, in blocks of bounded size and to the very end.

A gzip member ends with a CRC and a length. Only who reads that far has them checked, so every file is read through
`stream`; a reader that stops when it has enough bytes accepts damaged files.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nnanomaly.utilities.errors import DataError, EnvironmentFault

GZIP_MAGIC = b"\x1f\x8b"
GZIP_FRAME, ZLIB_FRAME = 31, 15
"""Framings as zlib numbers them; it checks CRC and length by itself."""
FIRST_BLOCK = 4096
LARGEST_BLOCK = 1 << 22
_COMPRESSED_BLOCK = 1 << 18


class TruncatedError(DataError):
    """The gzip stream ends before its trailer."""


def is_compressed(path: Path) -> bool:
    """Whether the file starts like gzip; a missing, empty or unreadable file and a folder raise.

    Raises `FileNotFoundError` (IO-MISSING), `DataError` (IO-ISDIR, IO-EMPTY) or `EnvironmentFault` (IO-PERM).
    """
    if path.is_dir():
        raise DataError(
            "IO-ISDIR", f"{path} is a folder, but an image file is needed. Remove it or name the file in it."
        )
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError:
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist (or is a link to nothing)") from None
    except PermissionError:
        raise EnvironmentFault("IO-PERM", f"{path} may not be read by this user. Change its permissions.") from None
    if not start:
        raise DataError("IO-EMPTY", f"{path} has 0 bytes. Copy the file again.")
    return start == GZIP_MAGIC


def stream(path: Path) -> Iterator[bytes]:
    """The uncompressed bytes of a file, the first `FIRST_BLOCK` of them early, never more than `LARGEST_BLOCK` at once.

    Raises `TruncatedError` (IO-TRUNCATED) or `DataError` (IO-CRC) when the compressed stream is damaged.
    """
    compressed = is_compressed(path)
    with path.open("rb") as file:
        if not compressed:
            yield file.read(FIRST_BLOCK)
            while block := file.read(LARGEST_BLOCK):
                yield block
            return
        yield from inflate(file, path, frame=GZIP_FRAME)


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file as they are stored. Raises as `is_compressed`."""
    is_compressed(path)
    with path.open("rb") as file:
        return file.read(count)


def inflate(file: BinaryIO, path: Path, *, frame: int) -> Iterator[bytes]:
    """The inflated bytes of an open file from where it stands to its end; `path` serves the messages.

    Raises `TruncatedError` (IO-TRUNCATED) and `DataError` (IO-CRC), the latter also for what follows a zlib stream.
    """
    try:
        yield from _members(file, path, frame)
    except zlib.error as error:
        raise DataError("IO-CRC", f"{path} is damaged ({error}). Copy the file again.") from error


def _members(file: BinaryIO, path: Path, frame: int) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=frame)
    data = file.read(_COMPRESSED_BLOCK)
    limit = FIRST_BLOCK
    while data:
        if member.eof:
            member = zlib.decompressobj(wbits=frame)  # bgzip and pigz write many members one after the other
        block = member.decompress(data, limit)
        limit = LARGEST_BLOCK
        if block:
            yield block
        if member.eof:
            data = _skip_padding(file, member.unused_data)
        else:
            data = member.unconsumed_tail or file.read(_COMPRESSED_BLOCK)
    if not member.eof:
        raise TruncatedError("IO-TRUNCATED", f"{path} is truncated (compressed data end early). Copy the file again.")


def _skip_padding(file: BinaryIO, data: bytes) -> bytes:
    """What follows the zero bytes that may stand after a member."""
    data = data.lstrip(b"\0")
    while not data and (following := file.read(_COMPRESSED_BLOCK)):
        data = following.lstrip(b"\0")
    return data
