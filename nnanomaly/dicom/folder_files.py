"""The files of a folder, and which of them are DICOM by their first bytes.

Links to folders are followed, every folder is entered once, so that loops of links end. What cannot be entered is
counted. No path leaves this module but as a path: it may hold a patient's name.
"""

import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

PREAMBLE, MAGIC = 128, b"DICM"
START_BYTES = 1024
INDEX = "DICOMDIR"
DICOM, INDEX_FILE, ARCHIVE, OTHER = "dicom", "index", "archive", "other"
"""What a file is: an object, the index of a medium, an archive with objects in it, anything else."""
_FIRST_GROUPS = (b"\x02\x00", b"\x08\x00")
_VALUE_KINDS = (b"UL", b"UI", b"CS", b"SH", b"OB", b"DA", b"LO", b"DT", b"TM")
_LONGEST_FIRST_VALUE = 256
_NUM_MEMBERS = 50
_INFLATED_BYTES = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFiles:
    """What lies below a folder."""

    paths: tuple[Path, ...]
    """Files, sorted, each once."""
    num_unreadable: int
    """Folders that cannot be entered, and links that lead nowhere."""


def find_files(folder: Path) -> FolderFiles:
    """All files below a folder; a file or folder that several links name is taken once."""
    seen: set[tuple[int, int]] = set()
    found: list[Path] = []
    refused: list[OSError] = []
    _is_new(folder, seen, refused)
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=refused.append):
        folders[:] = sorted(name for name in folders if _is_new(Path(parent, name), seen, refused))
        found += [path for path in (Path(parent, name) for name in sorted(names)) if _is_new(path, seen, refused)]
    return FolderFiles(paths=tuple(sorted(path for path in found if path.is_file())), num_unreadable=len(refused))


def kind_of_file(path: Path) -> str:
    """One of DICOM, INDEX_FILE, ARCHIVE, OTHER. Raises `OSError`.

    Many files begin without the preamble, with their first element at once; these are taken for DICOM if that element
    looks like one.
    """
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    if path.name.upper() == INDEX:
        return INDEX_FILE
    if is_start(start):
        return DICOM
    return ARCHIVE if _holds_dicom(path, start) else OTHER


def is_start(start: bytes) -> bool:
    """Whether a DICOM file may begin with these bytes."""
    if start[PREAMBLE : PREAMBLE + len(MAGIC)] == MAGIC:
        return True
    if len(start) < START_BYTES // 4 or start[:2] not in _FIRST_GROUPS:
        return False
    explicit = start[4:6] in _VALUE_KINDS
    length = int.from_bytes(start[6:8] if explicit else start[4:8], "little")
    return length % 2 == 0 and length <= _LONGEST_FIRST_VALUE


def _is_new(path: Path, seen: set[tuple[int, int]], refused: list[OSError]) -> bool:
    try:
        status = path.stat()
    except OSError as error:
        refused.append(error)
        return False
    identity = status.st_dev, status.st_ino
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _holds_dicom(path: Path, start: bytes) -> bool:
    """Whether an archive has a DICOM file among its first members; little of it is unpacked."""
    if start.startswith(b"\x1f\x8b"):
        inflated = _inflated(path)
        return is_start(inflated) or is_start(inflated[512:])  # a file, or the first one of a tar archive
    if start[257:262] == b"ustar":
        with path.open("rb") as file:
            return MAGIC in file.read(_INFLATED_BYTES)
    if not start.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist()[:_NUM_MEMBERS]:
                with archive.open(name) as member:
                    if is_start(member.read(START_BYTES)):
                        return True
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
        return False  # damaged or encrypted: nothing is known of it
    return False


def _inflated(path: Path) -> bytes:
    with path.open("rb") as file:
        packed = file.read(_INFLATED_BYTES)
    try:
        return zlib.decompressobj(wbits=31).decompress(packed, _INFLATED_BYTES)
    except zlib.error:
        return b""
