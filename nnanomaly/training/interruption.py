"""Stopping cleanly: SIGTERM, SIGUSR1 and Ctrl-C let the current step end, then the loop saves and leaves."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name))


class StopRequest:
    """Remembers that a signal arrived."""

    def __init__(self) -> None:
        """Nothing has arrived yet."""
        self.signal_number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: the first signal asks, a second Ctrl-C ends at once."""
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Install the handlers for the duration of a `with` block; outside the main thread nothing is installed."""
    request = StopRequest()
    previous = {}
    try:
        for number in SIGNALS:
            previous[number] = signal.signal(number, request)
    except ValueError:  # not the main thread: signals belong to somebody else
        pass
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
