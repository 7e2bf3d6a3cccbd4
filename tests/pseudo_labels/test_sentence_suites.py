"""Sentences with the labels that a reader would give, written before the rules saw them (`*_blind`: after tuning)."""

import csv
from pathlib import Path

import pytest

from nnanomaly.dataset.organ_labels import LABELS
from nnanomaly.pseudo_labels.label_report import label_report
from nnanomaly.pseudo_labels.rule_pack import Rules

SUITES = {path.stem: path for path in sorted((Path(__file__).parent / "sentences").glob("*.csv"))}


def _rows(suite: str) -> list[dict[str, str]]:
    with SUITES[suite].open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("language", ["en", "nl"])
def test_each_language_has_at_least_120_sentences_of_every_label(language: str) -> None:
    rows = _rows(language)
    assert len({row["text"] for row in rows}) == len(rows) >= 120
    assert {row[side] for row in rows for side in ("left", "right")} == set(LABELS)


@pytest.mark.parametrize(("suite", "row"), [(suite, row) for suite in SUITES for row in _rows(suite)])
def test_sentence_gets_the_labels_of_a_reader(suite: str, row: dict[str, str], rules: tuple[Rules, ...]) -> None:
    found = label_report(row["text"], rules)
    labels = {side: found.organs[f"kidney_{side}"].label for side in ("left", "right")}
    assert labels == {"left": row["left"], "right": row["right"]}, found.organs
    assert suite.startswith(found.language)
