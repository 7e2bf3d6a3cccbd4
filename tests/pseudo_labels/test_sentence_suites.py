"""Sentences with the labels that a reader would give, written before the rules saw them (`*_blind`: after tuning).

Those in `held_out` never served to mend a rule: of them a share is wrong, and a test that fails is no reason to tune.
"""

import csv
from pathlib import Path

import pytest

from nnanomaly.dataset.organ_labels import EXCLUDED, HEALTHY, LABELS, UNCERTAIN, UNHEALTHY
from nnanomaly.pseudo_labels.label_report import label_report
from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, Rules
from nnanomaly.utilities.errors import DataError

HELD_OUT = Path(__file__).parent / "sentences" / "held_out"
HELD_OUT_FLOOR = 0.95
SUITES = {path.stem: path for path in sorted((Path(__file__).parent / "sentences").glob("*.csv"))}


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("language", BUILT_IN)
def test_each_language_has_at_least_120_sentences_of_every_label(language: str) -> None:
    rows = _rows(SUITES[language])
    assert len({row["text"] for row in rows}) == len(rows) >= 120
    assert {row[side] for row in rows for side in ("left", "right")} == set(LABELS)


@pytest.mark.parametrize(("suite", "row"), [(suite, row) for suite in SUITES for row in _rows(SUITES[suite])])
def test_sentence_gets_the_labels_of_a_reader(suite: str, row: dict[str, str], rules: tuple[Rules, ...]) -> None:
    found = label_report(row["text"], rules)
    labels = {side: found.organs[f"kidney_{side}"].label for side in ("left", "right")}
    assert labels == {"left": row["left"], "right": row["right"]}, found.organs
    assert suite.startswith(found.language)


@pytest.mark.parametrize("language", BUILT_IN)
def test_sentences_that_no_rule_was_tuned_on_are_read_well_and_no_sick_organ_is_called_healthy(
    language: str, rules: tuple[Rules, ...]
) -> None:
    rows = _rows(HELD_OUT / f"{language}.csv")
    assert len({row["text"] for row in rows}) == len(rows) >= 40
    pairs = []
    for row in rows:
        try:
            organs = label_report(row["text"], rules).organs
            found = {side: organs[f"kidney_{side}"].label for side in ("left", "right")}
        except DataError:
            found = {"left": UNCERTAIN, "right": UNCERTAIN}
        pairs += [(row[side], found[side]) for side in ("left", "right")]
    assert not [pair for pair in pairs if pair[0] in (UNHEALTHY, EXCLUDED) and pair[1] == HEALTHY]
    assert sum(wanted == label for wanted, label in pairs) >= HELD_OUT_FLOOR * len(pairs)
