"""Tables, captions, document and LaTeX of a comparison of two drawn methods."""

import json
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.evaluation.case_pairs import (
    CasePairs,
    boxes_of_mask,
    measure_mask,
    measure_reference,
    pair_boxes,
    pair_masks,
)
from nnanomaly.evaluation.comparison import MAX_CANDIDATES_PER_SCAN, Compared, Comparison, compare
from nnanomaly.evaluation.comparison_captions import captions
from nnanomaly.evaluation.comparison_files import comparison_document, tables, write_comparison
from nnanomaly.evaluation.comparison_tables import Estimate, numeric_frame, text_frame
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.evaluation.tables import to_latex
from nnanomaly.evaluation.thresholds import ALL_CANDIDATES, Threshold
from nnanomaly.volume import Grid, Volume

GRID = Grid((10, 10, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
RULE, BOX_RULE = MatchRule(), MatchRule(assignment="score")


def _mask(starts: list[int]) -> Volume:
    array = np.zeros((1, *GRID.shape), dtype=bool)
    for start in starts:
        array[0, 2:6, 2:6, start : start + 4] = True
    return Volume(array, GRID)


def _pairs(lesions: list[int], found: list[int], scores: list[float] | None = None) -> dict[str, CasePairs]:
    drawn = measure_reference(_mask(lesions), connectivity=26)
    mask = measure_mask(_mask(found), connectivity=26, floor=SizeFloor())
    boxes = ScoredBoxes(boxes=boxes_of_mask(mask).boxes, scores=None if scores is None else np.array(scores))
    return {"masks": pair_masks(mask, drawn), "boxes": pair_boxes(boxes, drawn)}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """Cases a (lesions at 1 and 20) and free; the masks find one lesion, the boxes both, each with a false alarm."""
    of_masks = {"a": _pairs([1, 20], [1, 30]), "free": _pairs([], [])}
    of_boxes = {"a": _pairs([1, 20], [1, 20], [0.9, 0.4]), "free": _pairs([], [10], [0.2])}
    threshold = Threshold(value=0.3, source="validation", mean_f1=0.5, n_cases=7)
    compared = [
        Compared(
            method=name,
            form=form,
            native=native,
            threshold=chosen,
            rule=RULE if form == "masks" else BOX_RULE,
            pairs={case: pairs[form] for case, pairs in cases.items()},
        )
        for name, form, native, cases, chosen in (
            ("m_1", "masks", True, of_masks, ALL_CANDIDATES),
            ("m_1", "boxes", False, of_masks, ALL_CANDIDATES),
            ("b", "boxes", True, of_boxes, threshold),
        )
    ]
    rows, differences = compare(compared, Bootstrap(num_draws=10, seed=1))
    return Comparison(
        dataset="Dataset501_Kidney",
        cases_from="test set",
        rows=rows,
        differences=differences,
        bootstrap=Bootstrap(num_draws=10, seed=1),
        left_out={"bad": "reason"},
        missing={"b": ["free"]},
    )


def test_methods_in_their_own_form_come_first(comparison: Comparison) -> None:
    rows = [(row.compared.method, row.compared.form, row.compared.native) for row in comparison.rows]
    assert rows == [("m_1", "masks", True), ("b", "boxes", True), ("m_1", "boxes", False)]


def test_table_1_holds_means_over_the_cases_with_lesions(comparison: Comparison) -> None:
    table = numeric_frame(tables(comparison)["table1"])
    assert table["cases"].tolist() == [1, 1, 1]
    assert table["precision"].tolist() == [0.5, 1.0, 0.5]
    assert table["recall"].tolist() == [0.5, 1.0, 0.5]
    assert table["DSC"].tolist()[:1] == [0.5]
    assert table["DSC"].isna().tolist() == [False, True, True]


def test_the_threshold_decides_what_counts_but_not_the_curves(comparison: Comparison) -> None:
    counts = numeric_frame(tables(comparison)["counts"])
    assert counts["threshold"].tolist()[1] == 0.3
    assert counts["FP/scan"].tolist() == [0.5, 0.0, 0.5]  # the false alarm of b has the score 0.2
    assert counts["AP@0.2"].tolist()[1] == 1.0
    assert counts["AP@0.2"].isna().tolist() == [True, False, True]
    # Both lesions come before the false alarm: sensitivity 1 from no false positive on.
    assert counts["FROC@0.2"].tolist()[1] == 1.0
    assert counts["clean"].tolist() == [1.0, 1.0, 1.0]


def test_table_2_has_a_row_for_every_method_and_size(comparison: Comparison) -> None:
    table = text_frame(tables(comparison)["table2"])
    assert table["size [cm]"].tolist() == ["<=2", "2-4", "4-7", ">7"] * 3
    first = table.iloc[0]
    assert (first["cases"], first["TP"], first["FP"], first["FN"]) == ("1", "1", "1", "1")
    assert table.iloc[1]["F1"] == "–"


def test_differences_are_between_methods_of_one_form(comparison: Comparison) -> None:
    (row,) = numeric_frame(tables(comparison)["differences"]).to_dict("records")
    assert (row["first"], row["second"], row["as"]) == ("m_1", "b", "boxes")
    assert (row["precision"], row["recall"], row["FP/scan"]) == (-0.5, -0.5, 0.5)


def test_captions_state_rules_denominators_and_what_is_left_out(comparison: Comparison) -> None:
    text = captions(comparison)
    assert set(text) == {*tables(comparison), "froc", "precision_recall", "f1_by_size"}
    for words in (
        "the 1 cases with a lesion",
        "2 cases of Dataset501_Kidney (test set)",
        "could not be read: bad.",
        "Missing predictions of b, counted as empty: free.",
        "m_1 none; b >= 0.3 (best mean F1 over 7 validation cases with lesions, frozen)",
        "10 draws of cases, seed 1",
    ):
        assert words in text["table1"]


def test_everything_lies_in_the_folder_and_the_document_is_strict_json(comparison: Comparison, tmp_path: Path) -> None:
    files = write_comparison(comparison, tmp_path)
    assert sorted(files) == sorted(tmp_path.iterdir())
    assert all(path.stat().st_size > 100 for path in files)
    assert (tmp_path / "froc.png").read_bytes()[:4] == b"\x89PNG"
    assert "<svg" in (tmp_path / "froc.svg").read_text()
    document = json.loads((tmp_path / "detection_summary.json").read_text())
    assert document == json.loads(json.dumps(comparison_document(comparison)))
    assert document["schema_version"] == 1
    assert [len(method["cases"]) for method in document["methods"]] == [2, 2, 2]
    assert document["left_out"] == {"bad": "reason"}


def test_an_estimate_is_written_as_far_as_it_is_known() -> None:
    assert str(Estimate(value=0.5, std=0.25, n=3, low=0.1, high=0.9)) == "0.500 ± 0.250 [0.100, 0.900]"
    assert str(Estimate(value=0.5, low=0.1, high=0.9)) == "0.500 [0.100, 0.900]"
    assert str(Estimate(value=0.5)) == "0.500"
    assert str(Estimate(value=None, low=0.1, high=0.9)) == "–"


def test_latex_escapes_what_it_would_read_as_its_own() -> None:
    table = text_frame([{"method": "m_1 & co", "size": "<=2", "F1": Estimate(value=0.5, std=0.1)}])
    assert to_latex(table, caption="50 % of {a}", label="tab:x").splitlines() == [
        r"\begin{table}",
        r"\caption{50 \% of \{a\}}",
        r"\label{tab:x}",
        r"\begin{tabular}{lll}",
        r"\hline",
        r"method & size & F1 \\",
        r"\hline",
        r"m\_1 \& co & $\leq$2 & 0.500 $\pm$ 0.100 \\",
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]


def test_curves_take_the_best_hundred_candidates_of_a_scan() -> None:
    drawn = measure_reference(_mask([1]), connectivity=26)
    rows = [[6, 6, 30, 9, 9, 35]] * MAX_CANDIDATES_PER_SCAN + [[1, 1, 0, 6, 6, 5]]
    scores = np.array([0.5] * MAX_CANDIDATES_PER_SCAN + [0.1])
    pairs = pair_boxes(ScoredBoxes(boxes=np.array(rows, dtype=float), scores=scores), drawn)
    item = Compared(method="b", form="boxes", native=True, threshold=ALL_CANDIDATES, rule=BOX_RULE, pairs={"a": pairs})
    detections = item.detections(0.2)
    assert detections is not None
    assert len(detections.hits) == MAX_CANDIDATES_PER_SCAN
    assert not detections.hits.any()  # the hit has the lowest score
    assert [record.kind for record in item.records["a"]].count("TP") == 1
