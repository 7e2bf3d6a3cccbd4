"""Processes that this one starts end with it, however it ends, and leave Ctrl-C to it.

A parent that is killed by SIGKILL can tell its children nothing. On Linux the kernel does (PR_SET_PDEATHSIG); beside
that, and elsewhere, a thread of the child waits for the end of the parent.
"""

import contextlib
import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import connection
from typing import Any

PR_SET_PDEATHSIG = 1


def follow_parent() -> None:
    """In a worker process of multiprocessing: end when the parent is gone; leave Ctrl-C to it, which sees it too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    end_with_parent(parent.pid or 0)
    threading.Thread(target=_wait_and_end, args=(parent.sentinel,), daemon=True).start()


def run_child(command: Sequence[str], **settings: Any) -> subprocess.CompletedProcess[str]:
    """`subprocess.run` of a program that ends when this process does; the settings are those of that function."""
    before_start = functools.partial(end_with_parent, os.getpid()) if _LIBC is not None else None
    return subprocess.run(list(command), text=True, check=False, preexec_fn=before_start, **settings)


def end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when the process `parent`, which started it, is gone; only on Linux.

    Safe between fork and exec.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # gone before the kernel was asked
        os._exit(1)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded here: nothing may be loaded after a fork


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Start children within: they are born deaf to Ctrl-C, and print no traceback while they import."""
    if os.name != "posix":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def ended_with_block() -> Iterator[None]:
    """End the worker processes that were started within, if the block ends by an exception such as Ctrl-C."""
    before = {child.pid for child in multiprocessing.active_children()}
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            if child.pid not in before:
                child.terminate()
        raise


def _wait_and_end(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
