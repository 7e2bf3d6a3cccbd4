"""Names that are compared: what lacks its partner, what is surplus, what is there twice, and how that is said."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from nnanomaly.utilities.errors import DataError

MOST_NAMES, MOST_FAULTS = 10, 20


class Partners(NamedTuple):
    """Two sets of names side by side."""

    missing: list[str]
    """Wanted, but not there; sorted."""
    surplus: list[str]
    """There, but not wanted; sorted."""
    twice: list[str]
    """There more than once; sorted."""


def partners(wanted: Iterable[str], present: Iterable[str]) -> Partners:
    """Compare the names that are wanted with those that are there, in both directions."""
    wanted_names, counts = set(wanted), Counter(iter(present))
    return Partners(
        missing=sorted(wanted_names - set(counts)),
        surplus=sorted(set(counts) - wanted_names),
        twice=sorted(name for name, number in counts.items() if number > 1),
    )


class Clash(NamedTuple):
    """One name of several sources."""

    names: list[str]
    """The name, in every spelling; sorted."""
    sources: list[str]
    """All sources, in the order given."""

    def __str__(self) -> str:
        """The names and the sources, for a message."""
        return f"{' = '.join(self.names)}: {' and '.join(self.sources)}"


def same_names(named: Iterable[tuple[str, str]]) -> list[Clash]:
    """The names that several sources have, with all of them; `named`: pairs of (name, source).

    Names that differ in upper and lower case only, or in how an accent is stored, are the same: some file systems
    hold one file of them.
    """
    alike: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, source in named:
        alike[unicodedata.normalize("NFC", name).casefold()].append((name, source))
    return [
        Clash(sorted({name for name, _ in several}), [source for _, source in several])
        for several in alike.values()
        if len(several) > 1
    ]


def refuse_same_names(named: Iterable[tuple[str, str]], *, code: str, place: object, remedy: str) -> None:
    """Raise one `DataError` that names all sources of every name that `same_names` finds."""
    faults = [str(clash) for clash in same_names(named)]
    if faults:
        raise DataError(code, f"{place} has {len(faults)} case ids of several files. {remedy}{one_a_line(faults)}")


def some_of(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    rest = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {rest} more" if rest > 0 else "")


def one_a_line(faults: Sequence[str]) -> str:
    """Faults for the end of a message: one in the same line, several on a line each; after twenty how many more."""
    shown = [" ".join(fault.split()) for fault in faults[:MOST_FAULTS]]
    rest = [f"and {len(faults) - MOST_FAULTS} more"] if len(faults) > MOST_FAULTS else []
    return f" {shown[0]}" if len(faults) == 1 else "".join(f"\n  {fault}" for fault in [*shown, *rest])
