"""What a disk refuses while a model is exported or installed, as one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnanomaly.utilities.errors import EnvironmentFault


@contextmanager
def disk_faults(place: Path, what_stays: str) -> Iterator[None]:
    """Raise EnvironmentFault (MODEL-WRITE) for a full disk or a folder that refuses, with what is as it was."""
    try:
        yield
    except EnvironmentFault as error:
        if error.code != "CKPT-WRITE":
            raise
        raise _fault(place, error.__cause__ or error, what_stays) from error
    except FileNotFoundError:  # something to be read, which says so itself
        raise
    except OSError as error:
        raise _fault(place, error, what_stays) from error


def _fault(place: Path, error: BaseException, what_stays: str) -> EnvironmentFault:
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return EnvironmentFault(
        "MODEL-WRITE",
        f"{place} could not be written: {reason}. {what_stays} Make room or mend the folder, then type the command "
        "again.",
    )
