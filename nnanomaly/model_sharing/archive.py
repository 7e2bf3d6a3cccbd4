"""Model archives as files: packed reproducibly, unpacked with nothing taken on trust.

The list of members is judged before anything is read: names that are not on the list, links, doubles, encryption and
sizes beyond all reason end the installation. Then every member is copied under a name of ours, and its hash compared.
"""

import shutil
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnanomaly.model_sharing.manifest import FORMAT, FORMAT_VERSION, MANIFEST_JSON, MEMBER_PATTERN, FileEntry, Manifest
from nnanomaly.utilities.errors import ConfigurationError, DataError, IntegrityError
from nnanomaly.utilities.files import BLOCK_BYTES, file_hash
from nnanomaly.utilities.json_io import from_document, read_json

MAX_MEMBERS = 10_000
MAX_RATIO = 200
MAX_DOCUMENT_BYTES = 50_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)
_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError, ArithmeticError, OSError)
"""What zipfile raises for damaged files: RuntimeError for encrypted members, the last three for impossible offsets."""


def describe_files(folder: Path) -> dict[str, FileEntry]:
    """Hash and size of all files below a folder, by their names as members."""
    return {name: _entry(folder / name) for name in _names(folder)}


def pack(folder: Path, archive: Path) -> None:
    """Write all files below `folder` into a zip; equal files make equal archives."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:  # weights do not compress
        for name in _names(folder):
            info = zipfile.ZipInfo(name, date_time=EPOCH)
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            info.file_size = (folder / name).stat().st_size  # zipfile chooses the form for large files by it
            with target.open(info, "w") as member, (folder / name).open("rb") as source:
                shutil.copyfileobj(source, member, BLOCK_BYTES)


def _names(folder: Path) -> list[str]:
    """All files below a folder, as members."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files]


def unpack(archive: Path, folder: Path, *, max_bytes: float) -> Manifest:
    """Check an archive and copy its members into an empty folder.

    Raises ConfigurationError (CFG-INPUT) without such a file, and IntegrityError: MODEL-ZIP (no sound zip, or too
    large), MODEL-MEMBER (members that do not belong, or are missing), MODEL-HASH, MODEL-VERSION, MODEL-CONTENT.
    """
    if not archive.is_file():
        raise ConfigurationError("CFG-INPUT", f"{archive} is no file. Give the path of an exported model (.zip).")
    try:
        opened = zipfile.ZipFile(archive)
    except _DAMAGED as error:
        raise _damaged(archive, error) from error
    with opened:
        members = _check_members(opened.infolist(), archive, max_bytes)
        if MANIFEST_JSON not in members:
            raise IntegrityError("MODEL-MEMBER", f"{archive} has no {MANIFEST_JSON}: it is no exported model.")
        _copy(opened, members.pop(MANIFEST_JSON), folder / MANIFEST_JSON, archive)
        manifest = _read_manifest(folder / MANIFEST_JSON, archive)
        different = sorted(set(members) ^ set(manifest.files))
        if different:
            raise IntegrityError("MODEL-MEMBER", f"{archive}: {different[0]} is missing, or not in the manifest.")
        for name, info in members.items():
            _copy(opened, info, folder / name, archive)
            if _entry(folder / name) != manifest.files[name]:
                raise IntegrityError("MODEL-HASH", f"{archive}: {name} is not what was exported. Get it anew.")
    return manifest


def _check_members(infos: list[zipfile.ZipInfo], archive: Path, max_bytes: float) -> dict[str, zipfile.ZipInfo]:
    """The members by name, if all of them may be read."""
    if len(infos) > MAX_MEMBERS:
        raise IntegrityError("MODEL-ZIP", f"{archive} has {len(infos)} members, more than {MAX_MEMBERS}.")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        if info.orig_filename != info.filename or not MEMBER_PATTERN.fullmatch(info.filename):
            raise IntegrityError("MODEL-MEMBER", f"{archive}: {info.orig_filename!r} is no part of a model.")
        if info.filename in members:
            raise IntegrityError("MODEL-MEMBER", f"{archive} holds {info.filename} twice.")
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise IntegrityError("MODEL-MEMBER", f"{archive}: {info.filename} is a link or a device, not a file.")
        if info.flag_bits & 1:
            raise IntegrityError("MODEL-ZIP", f"{archive}: {info.filename} is encrypted. Export the model anew.")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise IntegrityError("MODEL-ZIP", f"{archive}: {info.filename} is compressed in an unusual way.")
        _check_size(info, archive)
        members[info.filename] = info
    total = sum(info.file_size for info in infos)
    if total > max_bytes:
        raise IntegrityError(
            "MODEL-ZIP",
            f"{archive} would inflate to {total / 1e9:.1f} GB, more than {max_bytes / 1e9:g} GB. If you trust it, "
            "allow more with -max_size.",
        )
    return members


def _check_size(info: zipfile.ZipInfo, archive: Path) -> None:
    ratio = info.file_size / max(info.compress_size, 1)
    if ratio > MAX_RATIO:
        raise IntegrityError(
            "MODEL-ZIP", f"{archive}: {info.filename} would inflate {ratio:.0f} times, more than {MAX_RATIO}."
        )
    if not info.filename.endswith(".safetensors") and info.file_size > MAX_DOCUMENT_BYTES:
        raise IntegrityError(
            "MODEL-ZIP", f"{archive}: {info.filename} has {info.file_size} bytes, more than {MAX_DOCUMENT_BYTES}."
        )


def _copy(opened: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path, archive: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        for block in _blocks(opened, info, archive):
            file.write(block)


def _blocks(opened: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Path) -> Iterator[bytes]:
    """The content of a member, at most as much as it declares, with its check sum."""
    try:
        with opened.open(info) as member:
            while block := member.read(BLOCK_BYTES):
                yield block
    except _DAMAGED as error:
        raise _damaged(archive, error) from error


def _damaged(archive: Path, error: Exception) -> IntegrityError:
    return IntegrityError("MODEL-ZIP", f"{archive} is no sound zip file ({error}). Get it anew.")


def _read_manifest(path: Path, archive: Path) -> Manifest:
    try:
        document: Any = read_json(path)
        found = document.get("format") if isinstance(document, dict) else None
        version = document.get("format_version") if isinstance(document, dict) else None
        if found == FORMAT and type(version) is int and version > FORMAT_VERSION:
            raise IntegrityError(
                "MODEL-VERSION",
                f"{archive} has format_version {version}, this program reads up to {FORMAT_VERSION}. Update nnanomaly.",
            )
        manifest = from_document(Manifest, document, source=MANIFEST_JSON)
    except (DataError, ConfigurationError) as error:
        reason = str(error).replace(str(path), MANIFEST_JSON)
        raise IntegrityError("MODEL-CONTENT", f"{archive}: its manifest cannot be read: {reason}") from error
    if (manifest.format, manifest.format_version) != (FORMAT, FORMAT_VERSION):
        raise IntegrityError(
            "MODEL-VERSION",
            f"{archive} is of format {manifest.format!r}, version {manifest.format_version}; this program reads "
            f"{FORMAT!r}, version {FORMAT_VERSION}.",
        )
    return manifest


def _entry(path: Path) -> FileEntry:
    return FileEntry(sha256=file_hash(path), num_bytes=path.stat().st_size)
