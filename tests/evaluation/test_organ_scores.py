"""Scores of organs and patients from candidates files written by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.organ_scores import organ_auroc, patient_auroc, score_organs

NO_DRAWS = Bootstrap(num_draws=0)
LEFT, RIGHT = "kidney_left", "kidney_right"
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


def _patch(organ: str, x_mm: float) -> dict[str, Any]:
    """A patch of 10 mm whose middle lies at x_mm."""
    origin = [-5.0, -5.0, x_mm - 5.0]
    return {"organ": organ, "shape": [11] * 3, "spacing_mm": [1.0] * 3, "origin_mm": origin, "direction": IDENTITY}


def _document(case: str, candidates: list[tuple[float, float]], **status: str) -> dict[str, Any]:
    """Candidates (x_mm, score) of a case; the left kidney lies at 60 mm, the right one at -60 mm."""
    organs = {LEFT: "ok", RIGHT: "ok", **status}
    places = {LEFT: 60.0, RIGHT: -60.0}
    return {
        "case": case,
        "organs": organs,
        "patches": [_patch(organ, places[organ]) for organ, state in organs.items() if state != "no_roi"],
        "candidates": [{"center_mm": [0.0, 0.0, x], "score": score} for x, score in candidates],
    }


def _write(folder: Path, *documents: dict[str, Any]) -> list[str]:
    """Write candidates files; returns the cases."""
    (folder / "detections").mkdir()
    for document in documents:
        (folder / "detections" / f"{document['case']}_boxes.json").write_text(json.dumps(document))
    return [document["case"] for document in documents]


def test_an_organ_has_the_largest_score_of_its_candidates_or_zero() -> None:
    labels = {("a", LEFT): "unhealthy", ("a", RIGHT): "healthy"}
    scored = score_organs([_document("a", [(50, 2.0), (70, 7.0), (10, 3.0)])], labels)
    assert dict(zip(scored.positive.tolist(), scored.scores.tolist(), strict=True)) == {True: 7.0, False: 0.0}
    assert scored.cases == ("a", "a")


def test_organs_that_were_not_looked_at_or_have_no_certain_label_are_left_out_and_counted() -> None:
    labels = {("a", LEFT): "unhealthy", ("a", RIGHT): "healthy", ("b", LEFT): "excluded", ("c", LEFT): "uncertain"}
    documents = [
        _document("a", [(60, 1.0)], kidney_right="no_roi"),
        _document("b", []),
        _document("c", [], kidney_left="truncated_roi", kidney_right="no_roi"),
    ]
    scored = score_organs(documents, labels)
    assert scored.scores.tolist() == [1.0]
    assert scored.left_out == {"no_roi": 2, "excluded": 1, "no label": 1, "uncertain": 1}


def test_the_auroc_of_organs_takes_their_weak_labels(tmp_path: Path) -> None:
    # Unhealthy: 5 (a left), 0 (b left). Healthy: 3 (a right), 0 (b right). Pairs: 5 > 3, 5 > 0, 0 < 3, 0 = 0: 2.5 of 4.
    cases = _write(tmp_path, _document("a", [(60, 5.0), (-60, 3.0), (-50, 1.0)]), _document("b", []))
    labels = {(case, organ): label for case in cases for organ, label in ((LEFT, "unhealthy"), (RIGHT, "healthy"))}
    result = organ_auroc(tmp_path, cases, labels, bootstrap=NO_DRAWS)
    assert (result.area.value, result.num_positive, result.num_negative) == (2.5 / 4, 2, 2)


def test_the_auroc_of_patients_takes_the_largest_score_of_the_case(tmp_path: Path) -> None:
    # With a lesion: 5 (a), 0 (b, where no organ was found). Without: 3 (c). One of two pairs is in the right order.
    nobody_looked = _document("b", [], kidney_left="no_roi", kidney_right="no_roi")
    _write(tmp_path, _document("a", [(60, 5.0), (-60, 4.0)]), nobody_looked, _document("c", [(-60, 3.0)]))
    result = patient_auroc(tmp_path, {"a": True, "b": True, "c": False}, bootstrap=NO_DRAWS)
    assert (result.area.value, result.num_positive, result.num_negative) == (0.5, 2, 1)


def test_a_case_that_is_not_evaluated_is_in_no_number(tmp_path: Path) -> None:
    _write(tmp_path, _document("a", [(60, 5.0)]), _document("b", []), _document("other", [(60, 9.0)]))
    assert patient_auroc(tmp_path, {"a": True, "b": False}, bootstrap=NO_DRAWS).num_positive == 1


def test_patients_of_one_class_have_no_auroc(tmp_path: Path) -> None:
    _write(tmp_path, _document("a", [(60, 5.0)]))
    result = patient_auroc(tmp_path, {"a": True}, bootstrap=NO_DRAWS)
    assert (result.area.value, result.reason) == (None, "one class only: 1 positive, 0 negative")


def test_masks_without_candidates_files_have_no_auroc(tmp_path: Path) -> None:
    _write(tmp_path, _document("a", []))
    has_lesion = {"a": True, "b": False}
    reason = "1 of 2 cases have no candidates file, such as b"
    assert patient_auroc(tmp_path, has_lesion, bootstrap=NO_DRAWS).reason == reason
    assert organ_auroc(tmp_path, has_lesion, {}, bootstrap=NO_DRAWS).reason == reason


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"candidates": [{"center_mm": [0.0, 0.0, 0.0]}]}, "has a candidate without a score"),
        ({"patches": []}, "has no patches"),
        ({"organs": {}}, "has no organs"),
    ],
)
def test_a_candidates_file_that_lacks_something_gives_the_reason(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    cases = _write(tmp_path, _document("a", [(60, 1.0)]) | change)
    result = organ_auroc(tmp_path, cases, {("a", LEFT): "unhealthy"}, bootstrap=NO_DRAWS)
    assert (result.area.value, result.reason) == (None, f"the candidates file of a {reason}")
