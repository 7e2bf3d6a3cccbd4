"""A folder that one process at a time works in, on whatever machine."""

import contextlib
import datetime
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nnanomaly.utilities.errors import EnvironmentFault

CLAIM = ".in_use"


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a folder for the duration of a `with` block; EnvironmentFault (ENV-BUSY) while another process holds it.

    The lock is the kernel's: it ends with its process, however that ends, so that nothing can be left locked and no
    clock is asked. Where there are no such locks (Windows) nothing is locked. Folders that were made for it and are
    empty in the end are removed again: a command that is refused leaves nothing.
    """
    path = folder / CLAIM
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    file = _open_and_lock(path)
    try:
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()} on {platform.node()} since {datetime.datetime.now():%Y-%m-%d %H:%M:%S}")
        file.flush()
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is locked: whoever waits for this file sees that it is gone
        with contextlib.suppress(OSError):  # not empty, or somebody else's meanwhile
            for place in missing:
                place.rmdir()
        file.close()


def remove_stale_claim(folder: Path) -> None:
    """Remove what a killed holder left in a folder; nothing where somebody holds it, or where it cannot be removed."""
    if (folder / CLAIM).exists():
        with contextlib.suppress(EnvironmentFault, OSError), claimed(folder):
            pass


def _open_and_lock(path: Path) -> IO[str]:
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            if path.is_symlink():
                raise  # a link to nowhere, which no second try mends
            continue  # the holder before removed the folder between our two lines
        try:
            locked = _lock(file)
        except OSError:
            file.close()
            raise
        if not locked:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise EnvironmentFault(
                "ENV-BUSY", f"{path.parent} is in use by {holder}. Wait for it or end it, then start again."
            )
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
        file.close()  # the holder before removed it between our opening and our locking


def _lock(file: IO[str]) -> bool:
    """Whether the lock was free and is ours now."""
    if os.name != "posix":
        return True
    import fcntl  # exists where os.name is posix

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
