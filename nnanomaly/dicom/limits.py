"""Bounds of memory and time for a worker process that parses files from outside."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")  # its first number: pages of address space


@contextmanager
def bounded(*, extra_bytes: int, seconds: float) -> Iterator[None]:
    """Let this process take `extra_bytes` more of memory than it has, and end it after `seconds`.

    Beyond the memory, allocations fail (`MemoryError`, or a crash of the parser). The time is kept by the kernel: a
    parser that hangs in C is killed as well. Only for a process that may die: the one who started it is told.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if _STATM.exists():  # Linux; elsewhere the time alone is bounded
        wanted = int(_STATM.read_text().split()[0]) * resource.getpagesize() + extra_bytes
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
