"""Any exception as a line for the user; and what nobody foresaw, with its traceback kept in a file."""

import functools
import logging
import os
import tempfile
import traceback
from pathlib import Path

from nnanomaly.utilities.errors import DataError, EnvironmentFault, InternalFault, UserError
from nnanomaly.utilities.system_errors import is_memory, refused, system_error

logger = logging.getLogger(__name__)
INTERNAL = "INTERNAL"
PACKAGE = Path(__file__).resolve().parents[1]


def user_error(error: Exception, *, quote: bool = True) -> UserError:
    """What an exception is to the user, in one line with a code.

    What the user or the machine can mend keeps its code or gets that of the system's error. All else is INTERNAL, a
    fault of this program; without `quote` nothing of its text is said, which may hold what was read.
    """
    if isinstance(error, UserError):
        return error
    found = system_error(error)
    if found is None and isinstance(error, OSError):
        found = error
    if found is not None:
        return refused(found, name=quote)
    if is_memory(error):
        reason = (str(error).strip().splitlines() or ["no memory is left"])[0]
        return EnvironmentFault("ENV-MEMORY", f"out of memory ({reason}). End other programs, or use fewer processes.")
    if isinstance(error, UnicodeEncodeError) and any("\ud800" <= letter <= "\udfff" for letter in str(error.object)):
        return DataError("IO-NAME", f"a name is not UTF-8: {error.object!r:.200}. Rename the file or folder.")
    text = " ".join(str(error).split()) if quote else ""
    return InternalFault(INTERNAL, f"{type(error).__name__}{f': {text}' if text else ''} ({_place(error)})")


def traceback_text(error: Exception, *, quote: bool = True) -> str:
    """The traceback; without `quote` the places only, as what an exception says may hold what was read."""
    if quote:
        return "".join(traceback.format_exception(error))
    return "".join([*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"])


def keep_traceback(text: str, *, in_file: bool = True) -> Path | None:
    """Add a traceback to the debug log and, with `in_file`, to a file of this process in the system's temporary folder.

    The file can be read by this user alone. None where no file can be written.
    """
    logger.debug("%s", text)
    if not in_file:
        return None
    try:
        path = _file()
        with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
    except OSError:  # a full disk must not hide the fault itself
        return None
    return path


def told_traceback(path: Path | None) -> str:
    """Where the traceback is, and what to do with it."""
    place = f"The traceback is in {path}" if path else "--verbose shows the traceback"
    return f"{place}; this is a fault of nnanomaly, please report it."


@functools.cache
def _file() -> Path:
    handle, name = tempfile.mkstemp(prefix="nnanomaly-fault-", suffix=".log")
    os.close(handle)
    return Path(name)


def _place(error: Exception) -> str:
    """Our innermost line, else the innermost."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no line known"
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(PACKAGE)] or frames
    path = Path(ours[-1].filename)
    return f"{path.relative_to(PACKAGE) if path.is_relative_to(PACKAGE) else path.name}:{ours[-1].lineno}"
