"""Temporary files and folders that a killed process left behind, and the names that tell whose they were."""

import os
import platform
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OLD_SECONDS = 24 * 3600.0
_HOST = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:64] or "localhost"
_NAME = re.compile(r"\.tmp-(?P<host>\w+)-(?P<process>\d+)-(?P<name>.+)")
_FORMER_NAME = re.compile(r"\.tmp-(?:install-\w{8}|export-\w{8}|\d+-.+)")
"""Folders of versions that had other names for them."""


def temporary_name(path: Path) -> Path:
    """Where this process writes the content of `path`: beside it, hidden, with the same ending."""
    return path.with_name(f".tmp-{_HOST}-{os.getpid()}-{path.name}")


def final_name(path: Path) -> Path:
    """What `path` is, or what it becomes if it is a temporary name."""
    match = _NAME.fullmatch(path.name)
    return path.with_name(match["name"]) if match else path


def remove_leftovers(*folders: Path) -> None:
    """Delete temporary files and folders of processes of this machine that are gone, and of any that are a day old."""
    for folder in folders:
        for path in folder.glob(".tmp-*"):
            match = _NAME.fullmatch(path.name)
            former = _FORMER_NAME.fullmatch(path.name)
            if (match and _is_left_over(path, match["host"], int(match["process"]))) or (former and _is_old(path)):
                _remove(path)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, to be filled and perhaps renamed; removed in the end.

    What killed processes left beside it is removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent)
    work = temporary_name(path)
    shutil.rmtree(work, ignore_errors=True)  # of an earlier process of this number
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _is_left_over(path: Path, host: str, process: int) -> bool:
    if host == _HOST and os.name == "posix":
        return not _is_running(process)
    return _is_old(path)


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > OLD_SECONDS
    except FileNotFoundError:  # its owner has finished meanwhile
        return False


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)  # asks, and sends nothing
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
