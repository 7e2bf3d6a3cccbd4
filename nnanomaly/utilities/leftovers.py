"""Temporary files that a killed process left behind, and the names that tell whose they were."""

import os
import platform
import re
import time
from pathlib import Path

OLD_SECONDS = 24 * 3600.0
_HOST = re.sub(r"[^A-Za-z0-9]", "_", platform.node())[:64] or "localhost"
_NAME = re.compile(r"\.tmp-(?P<host>\w+)-(?P<process>\d+)-(?P<name>.+)")


def temporary_name(path: Path) -> Path:
    """Where this process writes the content of `path`: beside it, hidden, with the same ending."""
    return path.with_name(f".tmp-{_HOST}-{os.getpid()}-{path.name}")


def final_name(path: Path) -> Path:
    """What `path` is, or what it becomes if it is a temporary name."""
    match = _NAME.fullmatch(path.name)
    return path.with_name(match["name"]) if match else path


def remove_leftovers(*folders: Path) -> None:
    """Delete temporary files of processes of this machine that are gone, and of any machine that are a day old."""
    for folder in folders:
        for path in folder.glob(".tmp-*"):
            match = _NAME.fullmatch(path.name)
            if match and _is_left_over(path, match["host"], int(match["process"])):
                path.unlink(missing_ok=True)


def _is_left_over(path: Path, host: str, process: int) -> bool:
    if host == _HOST and os.name == "posix":
        return not _is_running(process)
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
