"""How far a command is."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it brings multiprocessing, which -h has no time for
    from nnanomaly.utilities.case_runner import Progress


@contextmanager
def progress_bar(description: str) -> Iterator["Progress"]:
    """A bar over cases on standard error, where that is a terminal."""
    from tqdm import tqdm

    with tqdm(desc=description, unit="case", disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
