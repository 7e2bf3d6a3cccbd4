"""The two tables that labelling leaves, read and written: the labels, and why each is what it is."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from nnanomaly.dataset.organ_labels import EXAMPLE, REQUIRED_COLUMNS
from nnanomaly.pseudo_labels.label_report import OrganLabel
from nnanomaly.utilities.csv_table import read_table, table_text
from nnanomaly.utilities.files import copy_atomically, write_text

LABEL_COLUMNS = {
    "case": "Case id.",
    "organ": "Organ, as `dataset.json` names it.",
    "label": "`healthy`, `unhealthy`, `excluded` or `uncertain`.",
    "source": "Where the label comes from: `report`.",
}
EVIDENCE_COLUMNS = {
    "case": "Case id.",
    "organ": "Organ, as `dataset.json` names it.",
    "label": "Label of the organ, the same in all its rows.",
    "reason": "The rule that decided, in words.",
    "decides": "`yes` in the rows that decided, else `no`.",
    "rule": "Kind, word and status of the finding, and the word that made the status.",
    "line": "Line of the report, from 1; empty where the organ is not mentioned.",
    "sentence": "The sentence; empty with `--no_text` and where the organ is not mentioned.",
}
"""Columns of both tables and what they hold, for the tables and for their reference page."""
SOURCE = "report"
NO_TABLE = "LABELS-CSV"
"""Code of a file that is no table with the required columns."""

CaseLabels = Mapping[str, Sequence[OrganLabel]]


def evidence_path(labels: Path) -> Path:
    """File of the evidence beside a file of labels."""
    return labels.with_name(f"{labels.stem}_evidence.csv")


def read_labels(path: Path) -> list[dict[str, str]]:
    """Rows of a table of labels, whose labels may be empty; none where there is no table.

    DataError (LABELS-CSV, LABELS-ROWS) for what is no such table.
    """
    return _read(path, required=REQUIRED_COLUMNS, optional=("patient", "source"))


def read_evidence(path: Path) -> list[dict[str, str]]:
    """Rows of the evidence, if there is one; DataError as above."""
    return _read(path, required=tuple(EVIDENCE_COLUMNS), optional=())


def write_rows(path: Path, columns: Collection[str], rows: Sequence[Mapping[str, str]]) -> Path | None:
    """Write a table, and return the name under which one that was there before and is another is kept."""
    text = table_text(columns, [[row[column] for column in columns] for row in rows])
    if not path.is_file():
        write_text(path, text)
        return None
    if path.read_bytes() == text.encode():
        return None
    kept = next(name for name in _backup_names(path) if not name.exists() and not name.is_symlink())
    copy_atomically(path, kept)
    write_text(path, text)
    return kept


def evidence_rows(cases: CaseLabels, *, with_sentences: bool) -> list[dict[str, str]]:
    """One row per mention of an organ, and one without a sentence for an organ that is not mentioned."""
    return [
        dict(zip(EVIDENCE_COLUMNS, row, strict=True))
        for case, organs in cases.items()
        for organ in organs
        for row in _evidence(case, organ, with_sentences=with_sentences)
    ]


def _read(path: Path, *, required: Sequence[str], optional: Sequence[str]) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    rows = read_table(path, required=required, optional=optional, codes=(NO_TABLE, "LABELS-ROWS"), example=EXAMPLE)
    return [row.values for row in rows]


def _backup_names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.bak")
    yield from (path.with_name(f"{path.name}.bak{number}") for number in itertools.count(2))


def _evidence(case: str, organ: OrganLabel, *, with_sentences: bool) -> list[tuple[str, ...]]:
    head = (case, organ.organ, organ.label, organ.reason)
    rows: list[tuple[str, ...]] = [
        (
            *head,
            "yes" if index < organ.num_deciding else "no",
            mention.rule,
            str(mention.line),
            mention.sentence if with_sentences else "",
        )
        for index, mention in enumerate(organ.mentions)
    ]
    return rows if organ.num_deciding else [(*head, "yes", organ.reason, "", ""), *rows]
