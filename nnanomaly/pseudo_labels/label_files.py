"""The two tables that labelling leaves: the labels, and why each is what it is."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnanomaly.pseudo_labels.label_report import OrganLabel
from nnanomaly.utilities.csv_table import write_table

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

CaseLabels = Mapping[str, Sequence[OrganLabel]]


def evidence_path(labels: Path) -> Path:
    """File of the evidence beside a file of labels."""
    return labels.with_name(f"{labels.stem}_evidence.csv")


def write_labels(path: Path, cases: CaseLabels) -> None:
    """One row per case and organ, in the form of organ_labels.csv."""
    rows = ((case, organ.organ, organ.label, SOURCE) for case, organs in cases.items() for organ in organs)
    write_table(path, LABEL_COLUMNS, rows)


def write_evidence(path: Path, cases: CaseLabels, *, with_sentences: bool) -> None:
    """One row per mention of an organ, and one without a sentence for an organ that is not mentioned."""
    rows = (
        row
        for case, organs in cases.items()
        for organ in organs
        for row in _evidence(case, organ, with_sentences=with_sentences)
    )
    write_table(path, EVIDENCE_COLUMNS, rows)


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
