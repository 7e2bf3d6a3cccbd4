"""The boundary around one case: whatever goes wrong in it is the fault of that case, and the others go on.

Only what the machine lacks (disk, memory, open files) ends the run, since every following case would meet it.
"""

import logging
from dataclasses import dataclass

from nnanomaly.utilities.errors import EnvironmentFault, InternalFault, UserError
from nnanomaly.utilities.faults import keep_traceback, told_traceback, traceback_text, user_error
from nnanomaly.utilities.system_errors import every_case_meets, is_memory

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CaseFault:
    """Why there is nothing of a case. It can be sent from one process to another."""

    error: UserError
    """What went wrong, for the user."""
    traceback: str = ""
    """Of an exception that nobody foresaw; else empty."""

    @property
    def reason(self) -> str:
        """One line that begins with the code."""
        return " ".join(str(self.error).split())


KILLED = CaseFault(
    EnvironmentFault("CASE-KILLED", "its process was killed, most likely for memory; use fewer processes (-np)")
)
"""The fault of a case whose worker process died twice."""


def case_fault(error: Exception, *, quote: bool = True) -> CaseFault:
    """The fault of a case in which `error` was raised; called where it was caught.

    Without `quote` nothing of the text of an exception that is not ours is said: it may hold what was read of a
    patient. Raises what ends the run: an EnvironmentFault, or `error` itself where it speaks of memory.
    """
    if is_memory(error):
        raise error
    told = user_error(error, quote=quote)
    if every_case_meets(error):
        raise told from error
    unforeseen = isinstance(told, InternalFault)
    return CaseFault(told, traceback_text(error, quote=quote) if unforeseen else "")


def record(case: str, reason: str, traceback: str) -> None:
    """Keep the traceback of a fault that nobody foresaw, if it is one, and say where; called in the main process."""
    if traceback:
        logger.error("%s: %s. %s", case, reason, told_traceback(keep_traceback(traceback)))
