"""What the system refuses, in one line: the file, what was being done with it, and the remedy by the error's number.

Libraries wrap the system's errors in exceptions of their own (torch in RuntimeError, those written in Rust in a text
that ends in "(os error 28)"), so that they are looked for in the chain of causes and in the text.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from nnanomaly.utilities.errors import DataError, EnvironmentFault, UserError
from nnanomaly.utilities.leftovers import final_name

SIGNS_OF_MEMORY = ("out of memory", "alloc_failed", "can't allocate memory", "not enough memory")
"""How CUDA, cuDNN and cuBLAS, and the CPU allocators of torch word it; their exception is a mere RuntimeError."""


class Refusal(NamedTuple):
    """What an error number means to a user."""

    code: str
    what: str
    remedy: str


_AGAIN = "and start the command again; what is finished is kept."
_FULL = Refusal("IO-WRITE", "the disk is full", f"Make room there {_AGAIN}")
_QUOTA = Refusal("IO-WRITE", "your share of the disk is used up", f"Make room there {_AGAIN}")
_PERMISSION = Refusal("IO-PERM", "this user may not do that", "Change the permissions, or name another place.")
_ELSEWHERE = "Move it away, or name another place."
_FILES = Refusal("IO-FILES", "too many files are open at once", "Use fewer processes (-np), or raise ulimit -n.")
_DEVICE = Refusal("IO-DEVICE", "the disk, or the way to it, fails", f"Look after it {_AGAIN}")
REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _QUOTA,
    errno.EFBIG: Refusal(
        "IO-WRITE", "the file would be larger than it may be here", "Raise ulimit -f, or name another disk."
    ),
    errno.EROFS: Refusal("IO-WRITE", "the disk can only be read", "Name a folder on another disk."),
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EEXIST: Refusal("IO-EXISTS", "something else lies there already", _ELSEWHERE),
    errno.ENOTDIR: Refusal("IO-NOTDIR", "a file lies where a folder is needed", _ELSEWHERE),
    errno.EISDIR: Refusal("IO-ISDIR", "a folder lies where a file is needed", "Move it away, or name another file."),
    errno.ENOTEMPTY: Refusal("IO-BUSY", "something else writes into this folder", "Wait for it, and start again."),
    errno.EBUSY: Refusal("IO-BUSY", "something else uses it", "Wait for it, and start again."),
    errno.ENOENT: Refusal(
        "IO-MISSING", "it does not exist (or is a link to nothing)", "Restore it, or correct the name."
    ),
    errno.ELOOP: Refusal(
        "IO-LOOP", "it is a link that leads back to itself", "Remove the link, or mend where it points to."
    ),
    errno.ENAMETOOLONG: Refusal("IO-NAME", "the name is too long for the disk", "Choose a shorter name."),
    errno.EILSEQ: Refusal("IO-NAME", "the disk does not take these letters", "Choose a name of plain letters."),
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOMEM: Refusal("ENV-MEMORY", "out of memory", f"End other programs {_AGAIN}"),
    errno.EIO: _DEVICE,
    errno.ENXIO: _DEVICE,
    errno.ENODEV: _DEVICE,
    errno.ESTALE: _DEVICE,
    errno.ETIMEDOUT: _DEVICE,
}
EVERY_CASE_MEETS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)
"""What the machine lacks, so that the next case would fail as well."""
DOING = {
    "mkdir": "making the folder",
    "iterdir": "listing",
    "glob": "listing",
    "rglob": "listing",
    "unlink": "removing",
    "rmdir": "removing",
    "rmtree": "removing",
    "rename": "renaming",
    "replace": "renaming",
    "resolve": "looking for it",
    "stat": "looking for it",
    "copyfile": "copying",
    "read_text": "reading",
    "read_bytes": "reading",
    "read_json": "reading",
    "write_text": "writing",
    "write_bytes": "writing",
    "write_atomically": "writing",
    "naming": "writing",
}
"""Functions, ours and of the standard library, and what they do, for the user."""


def is_memory(error: BaseException) -> bool:
    """Whether an exception says that no memory is left, of the machine or of the GPU."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(sign in text for sign in SIGNS_OF_MEMORY)


def system_error(error: BaseException) -> OSError | None:
    """The error of the system that an exception is, or that it was raised from, or quotes."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen
        quoted = re.search(r"\(os error (\d+)\)", str(seen))
        if quoted:
            number = int(quoted[1])
            return OSError(number, os.strerror(number)).with_traceback(seen.__traceback__)
        if isinstance(seen, RuntimeError) and str(seen).startswith("Symlink loop"):
            name = re.search(r"from '(.*)'$", str(seen))
            return OSError(errno.ELOOP, os.strerror(errno.ELOOP), name[1] if name else None).with_traceback(
                seen.__traceback__
            )
        seen = seen.__cause__
    return None


def every_case_meets(error: BaseException) -> bool:
    """Whether the machine lacks something, so that to go on with the next case is of no use."""
    if isinstance(error, EnvironmentFault):
        return error.code != "IO-PERM"  # the permissions of one file
    found = system_error(error)
    return is_memory(error) or (found is not None and found.errno in EVERY_CASE_MEETS)


def refused(error: OSError, *, name: bool = True) -> UserError:
    """The line for the user: a DataError where a file is missing, else an EnvironmentFault.

    Its code is one of `REFUSALS`, or IO-SYSTEM for a number that is not there. Without `name` the file is not named,
    whose path may be made of a patient's name.
    """
    if name and str(error).startswith("[NNA-"):
        code, _, message = str(error).removeprefix("[NNA-").partition("] ")
        return (DataError if isinstance(error, FileNotFoundError) else EnvironmentFault)(code, message)
    told = error.strerror or str(error) or type(error).__name__
    code, what, remedy = REFUSALS.get(error.errno or 0, Refusal("IO-SYSTEM", told, "Mend that and start again."))
    names = [os.fsdecode(file) for file in (error.filename, error.filename2) if isinstance(file, (str, bytes))]
    files = " to ".join(str(final_name(Path(file))) for file in names) if name and names else "a file"
    message = f"{files}: {_doing(error.__traceback__)} failed, {what} ({told}). {remedy}"
    return (DataError if error.errno == errno.ENOENT else EnvironmentFault)(code, message)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """While a file is written: an error of the system names it, whatever a library or a temporary name made of it."""
    try:
        yield
    except Exception as error:
        found = system_error(error)
        if found is None or (found.filename and not _is_temporary(found.filename)):
            raise
        if found is error:
            error.filename = str(path)
            raise
        raise OSError(found.errno, found.strerror, str(path)) from error


def _is_temporary(name: object) -> bool:
    path = Path(os.fsdecode(name)) if isinstance(name, (str, bytes)) else None
    return path is not None and final_name(path) != path


def _doing(traceback: TracebackType | None) -> str:
    """What the innermost function that is known was doing."""
    doing = "working on it"
    while traceback is not None:
        frame = traceback.tb_frame
        name = frame.f_code.co_name
        if name == "open" and isinstance(mode := frame.f_locals.get("mode"), str):
            doing = "reading" if mode.startswith("r") and "+" not in mode else "writing"
        else:
            doing = DOING.get(name, doing)
        traceback = traceback.tb_next
    return doing
