"""How far a command is: a bar in a terminal, and in the log of a cluster job a plain line now and then."""

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:  # it brings multiprocessing, which -h has no time for
    from nnanomaly.utilities.case_runner import Progress

Item = TypeVar("Item")
logger = logging.getLogger(__name__)
PLAIN_LINE_SECONDS = 30.0
"""Without a terminal, one plain line this often."""


@contextmanager
def progress_bar(what: str) -> Iterator["Progress"]:
    """Gives a function that is told the number of finished cases and the number of all."""
    from tqdm import tqdm

    with tqdm(desc=what, unit="case", disable=None) as bar:
        lines = _PlainLines(what)

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if bar.disable:
                lines.tell(done, total)

        yield show


def shown(items: Iterable[Item], what: str, *, total: int | None = None) -> Iterator[Item]:
    """The items, while it is shown how many of `total` (None: nobody knows) are done."""
    from tqdm import tqdm

    with tqdm(desc=what, total=total, disable=None) as bar:
        lines = _PlainLines(what)
        for done, item in enumerate(items, start=1):
            yield item
            bar.update()
            if bar.disable:
                lines.tell(done, total)


def all_shown(items: Collection[Item], what: str) -> Iterator[Item]:
    """`shown` for items that can be counted."""
    return shown(items, what, total=len(items))


def in_words(seconds: float) -> str:
    """A duration as one reads it: 45 s, 12 min, 3 h 05 min."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02d} min"


class _PlainLines:
    """A line when the last one is long enough ago."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._start = self._last = time.monotonic()

    def tell(self, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_LINE_SECONDS or done in (0, total):
            return
        if total is None:
            logger.info("%s: %d done", self._what, done)
        else:
            left = (now - self._start) / done * (total - done)
            logger.info("%s: %d of %d, %s left", self._what, done, total, in_words(left))
        self._last = now
