"""What became of every organ of a dataset in preprocessing."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import NamedTuple


class CaseFailure(NamedTuple):
    """An organ that could not be preprocessed."""

    case: str
    """Case id."""
    organ: str
    """Organ name."""
    reason: str
    """One line."""
    traceback: str = ""
    """Of an exception that nobody foresaw; else empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingReport:
    """What became of every (case, organ) of a dataset."""

    stored: tuple[tuple[str, str], ...] = ()
    """Preprocessed now."""
    skipped: tuple[tuple[str, str], ...] = ()
    """Stored before, from the same files with the same settings."""
    absent: tuple[tuple[str, str], ...] = ()
    """Without organ: the mask is empty."""
    excluded: tuple[tuple[str, str], ...] = ()
    """Left out since the table of labels says so."""
    failures: tuple[CaseFailure, ...] = ()
    """Not preprocessed; everything else is complete."""


def merge_reports(reports: Iterable[PreprocessingReport]) -> PreprocessingReport:
    """The entries of all reports, in their order."""
    parts = list(reports)
    names = [field.name for field in fields(PreprocessingReport)]
    return PreprocessingReport(
        **{name: tuple(entry for part in parts for entry in getattr(part, name)) for name in names}
    )
