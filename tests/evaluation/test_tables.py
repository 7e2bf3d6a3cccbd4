"""Tables of numbers: what stands where, and what undefined looks like."""

from collections.abc import Callable

import pandas as pd

from nnanomaly.evaluation.lesion_matching import LesionRecord
from nnanomaly.evaluation.metrics import LesionMetrics, Mean, case_metrics, lesion_metrics
from nnanomaly.evaluation.tables import case_table, format_mean, overall_table, size_table, to_csv, to_markdown

Record = Callable[..., LesionRecord]


def metrics_of(found: Record, missed: Record, false_alarm: Record) -> LesionMetrics:
    records = {
        "a": [found(1, 30)],
        "b": [missed(1, 30, outside_roi_fraction=0.9), false_alarm(1, 10)],
        "free": [false_alarm(1, 10)],
    }
    return lesion_metrics(records, min_iou=0.2)


def test_the_overall_table_has_a_row_per_method(found: Record, missed: Record, false_alarm: Record) -> None:
    metrics = metrics_of(found, missed, false_alarm)
    table = overall_table({"ours": metrics, "other": metrics})
    assert list(table["method"]) == ["ours", "other"]
    row = table.iloc[0]
    assert row["precision"] == row["recall"] == row["F1"] == "0.500 ± 0.500 (n=2)"
    assert (row["TP"], row["FP"], row["FN"], row["FP/scan"]) == (1, 1, 1, "0.667")
    assert (row["lesion-free cases"], row["clean"]) == (1, "0.000")


def test_the_size_table_has_a_row_per_bin_and_shows_what_the_crop_lost(
    found: Record, missed: Record, false_alarm: Record
) -> None:
    table = size_table({"ours": metrics_of(found, missed, false_alarm)})
    assert list(table["size [cm]"]) == ["<=2", "2-4", "4-7", ">7"]
    assert list(table["cases"]) == [0, 2, 0, 0]
    assert list(table["F1"]) == ["–", "0.500 ± 0.500 (n=2)", "–", "–"]
    assert list(table["outside patches"]) == ["–", "0.900", "–", "–"]
    assert list(table["FN beyond reach"]) == ["–", 1, "–", "–"]


def test_the_case_table_has_a_row_per_case(found: Record, false_alarm: Record) -> None:
    table = case_table([case_metrics("a", [found(1, 30)]), case_metrics("free", [false_alarm(1, 10)])])
    assert to_csv(table) == (
        "case,TP,FP,FN,precision,recall,F1,DSC\na,1,0,0,1.000,1.000,1.000,0.500\nfree,0,1,0,–,–,–,0.000\n"
    )


def test_markdown_is_padded_and_escaped(found: Record) -> None:
    table = case_table([case_metrics("a|b", [])])[["case", "TP"]]
    assert to_markdown(table) == "| case | TP |\n| ---- | -- |\n| a\\|b | 0  |\n"


def test_an_undefined_mean_is_a_dash() -> None:
    assert format_mean(Mean(mean=None, std=None, n=0)) == "–"


def test_no_cell_of_a_table_is_a_formula_and_numbers_stay() -> None:
    table = pd.DataFrame({"=case": ["=cmd()", "a"], "value": [-1.5, float("nan")], "text": ["-0.5", None]})
    assert to_csv(table) == "'=case,value,text\n'=cmd(),-1.5,-0.5\na,,\n"
