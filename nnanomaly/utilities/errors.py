"""The errors a user can cause, each with a stable code and the exit status of the command that meets it.

They are `ValueError`s, so that a caller of the Python interface needs to know nothing of this module. A message
names the value, the file and the remedy in one line; several faults follow on a line each.
"""


class UserError(ValueError):
    """Anything the user can mend; `exit_code` follows the table in documentation/reference/error-codes.md."""

    exit_code = 2

    def __init__(self, code: str, message: str) -> None:
        """`code` such as "CFG-DATASET"; `message`: the value, the file and the remedy in one line."""
        super().__init__(f"[NNA-{code}] {message}")
        self.code, self.message = code, message

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str]]:
        """Come back whole from a worker process; by default pickle would forget the code."""
        return type(self), (self.code, self.message)


class ConfigurationError(UserError):
    """Wrong usage: an unknown dataset, an unset folder variable, an impossible value. Exit status 2."""

    exit_code = 2


class DataError(UserError):
    """Invalid input data: an unreadable image, a mask on another grid, a bad label row. Exit status 3."""

    exit_code = 3


class EnvironmentFault(UserError):
    """Something this machine lacks: an extra, weights, permission, disk. Exit status 5."""

    exit_code = 5


class IntegrityError(UserError):
    """Refused because a file is not what it claims to be: wrong hash, newer format, unsafe content. Exit status 6."""

    exit_code = 6


class InternalFault(UserError):
    """What nobody foresaw: a fault of this program, which the user can only report. Exit status 1."""

    exit_code = 1


class Interrupted(Exception):
    """Work was stopped by a signal after its state was saved; `exit_code` is what a shell expects (128 + signal)."""

    def __init__(self, signal_number: int) -> None:
        """`signal_number`: the signal that asked to stop."""
        super().__init__(f"stopped by signal {signal_number}; the state is saved, continue with --c")
        self.exit_code = 128 + signal_number
