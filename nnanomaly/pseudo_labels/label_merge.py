"""New labels and the table that is there already: nothing that a person wrote, and no patient, is lost.

A label that stands in the table with another source than `report`, or that is not the one in the evidence beside it, is
a person's and stays. Rows of cases without a report and all other columns stay as well.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nnanomaly.pseudo_labels.label_files import LABEL_COLUMNS, SOURCE

Key = tuple[str, str]
"""Case and organ."""
Rows = Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedLabels:
    """The table that is to be written, and how it came about."""

    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    new: int
    """Labels of organs that had none."""
    changed: int
    """Labels from reports that the rules now read otherwise."""
    kept: int
    """Labels that stay as they are."""
    differing: dict[Key, str]
    """Labels that stay although the report says otherwise, and what it says."""
    differing_of_reports: int
    """How many of them came from a report themselves, and would be written with `overwrite`."""


def merge_labels(
    old: Rows, fresh: Mapping[Key, str], *, edited: Collection[Key] = (), overwrite: bool = False
) -> MergedLabels:
    """Put labels into a table: those that are missing, and with `overwrite` those that came from a report before.

    `old`: rows with the columns case, organ and label; `edited`: organs whose label a person changed.
    """
    columns = tuple(dict.fromkeys((*(old[0] if old else ()), *LABEL_COLUMNS)))
    rows: list[dict[str, str]] = []
    differing: dict[Key, str] = {}
    counts = dict.fromkeys(("new", "changed", "kept", "of_reports"), 0)
    for row in ({**dict.fromkeys(columns, ""), **row} for row in old):
        key, before = (row["case"], row["organ"]), row["label"].lower()
        label = fresh.get(key, before)
        of_report = row["source"] == SOURCE and key not in edited
        if not before and label:
            counts["new"] += 1
            row = {**row, "label": label, "source": SOURCE}
        elif label != before and of_report and overwrite:
            counts["changed"] += 1
            row = {**row, "label": label}
        elif before:
            counts["kept"] += 1
            if label != before:
                differing[key] = label
                counts["of_reports"] += of_report
        rows.append(row)
    there = {(row["case"], row["organ"]) for row in rows}
    patients = {row["case"]: row["patient"] for row in rows if row.get("patient")}
    for (case, organ), label in fresh.items():
        if (case, organ) not in there:
            counts["new"] += 1
            own = {"case": case, "organ": organ, "label": label, "source": SOURCE}
            own |= {"patient": patients.get(case, "")} if "patient" in columns else {}
            rows.append({**dict.fromkeys(columns, ""), **own})
    return MergedLabels(
        columns=columns,
        rows=rows,
        new=counts["new"],
        changed=counts["changed"],
        kept=counts["kept"],
        differing=differing,
        differing_of_reports=counts["of_reports"],
    )


def edited_labels(labels: Rows, evidence: Rows) -> set[Key]:
    """Organs whose label in the table is not the one that the evidence beside it gives reasons for."""
    reasoned = {(row["case"], row["organ"]): row["label"] for row in evidence}
    keys = {(row["case"], row["organ"]): row["label"].lower() for row in labels if row["label"]}
    return {key for key, label in keys.items() if reasoned.get(key, label) != label}
