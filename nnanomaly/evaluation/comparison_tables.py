"""The tables of a comparison: Table 1 (overall), Table 2 (by lesion size), counts and curves, paired differences.

A table is a list of rows of text, whole numbers and estimates (mean, SD, interval). From it come a frame of numbers,
one column each, for CSV, and a frame of text for markdown and LaTeX.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from nnanomaly.evaluation.bootstrap import Interval
from nnanomaly.evaluation.comparison import Comparison, Curves, Row
from nnanomaly.evaluation.metrics import Aggregate, Mean
from nnanomaly.evaluation.tables import UNDEFINED

RATIOS = {"DSC": "dsc", "precision": "precision", "recall": "recall", "F1": "f1"}
"""Column and name of the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A cell with a number, its spread over cases and its confidence interval."""

    value: float | None
    """The number."""
    std: float | None = None
    """Standard deviation over cases, where it is a mean."""
    n: int | None = None
    """Number of cases, where it is a mean."""
    low: float | None = None
    """Lower end of the interval."""
    high: float | None = None
    """Upper end of the interval."""

    def __str__(self) -> str:
        """Number ± SD [interval], as far as they are known."""
        if self.value is None:
            return UNDEFINED
        spread = "" if self.std is None else f" ± {self.std:.3f}"
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{spread}{ends}"


Cells = list[dict[str, str | int | Estimate]]
"""Rows of a table."""


def table_1(comparison: Comparison) -> Cells:
    """DSC, precision, recall and F1 of every method over the cases with lesions."""
    return [
        {**_method(row), "cases": row.metrics.all.n_cases, **_ratios(row.metrics.all, row.intervals)}
        for row in comparison.rows
    ]


def table_2(comparison: Comparison) -> Cells:
    """The same by lesion size, over the cases with a lesion of that size."""
    return [
        {
            **_method(row),
            "size [cm]": size,
            "cases": aggregate.n_cases,
            **_ratios(aggregate, row.size_intervals[size]),
            "TP": aggregate.tp,
            "FP": aggregate.fp,
            "FN": aggregate.fn,
        }
        for row in comparison.rows
        for size, aggregate in row.metrics.by_size.items()
    ]


def table_counts(comparison: Comparison) -> Cells:
    """Pooled counts and ratios, false positives per scan, lesion-free cases apart, and the curves at every IoU."""
    ious = sorted({curve.min_iou for row in comparison.rows for curve in row.curves})
    return [
        {
            **_method(row),
            "threshold": Estimate(value=row.compared.threshold.value),
            "TP": row.metrics.all.tp,
            "FP": row.metrics.all.fp,
            "FN": row.metrics.all.fn,
            **{name: _estimate(row.intervals[f"pooled_{key}"]) for name, key in list(RATIOS.items())[1:]},
            "FP/scan": _estimate(row.intervals["fp_per_scan"]),
            "lesion-free cases": row.metrics.lesion_free.n_cases,
            "FP/lesion-free scan": _estimate(row.intervals["fp_per_lesion_free_scan"]),
            "clean": Estimate(value=row.metrics.lesion_free.clean_fraction),
            **_curves(row.curves, ious),
            "mAP": Estimate(value=row.mean_average_precision),
        }
        for row in comparison.rows
    ]


def table_differences(comparison: Comparison) -> Cells:
    """Differences of every two methods in one form, paired by case."""
    names = {**RATIOS, **{f"pooled {key}": f"pooled_{key}" for key in ("precision", "recall", "f1")}}
    return [
        {
            "first": item.first,
            "second": item.second,
            "as": item.form,
            **{name: _estimate(item.intervals[key]) for name, key in names.items()},
            "FP/scan": _estimate(item.intervals["fp_per_scan"]),
        }
        for item in comparison.differences
    ]


def numeric_frame(cells: Cells) -> pd.DataFrame:
    """A frame with a column for each number; estimates become value, `_sd`, `_n`, `_low` and `_high`."""
    rows = []
    for cell_row in cells:
        row: dict[str, object] = {}
        for name, cell in cell_row.items():
            if isinstance(cell, Estimate):
                parts = {"": cell.value, "_sd": cell.std, "_n": cell.n, "_low": cell.low, "_high": cell.high}
                row.update({f"{name}{suffix}": value for suffix, value in parts.items()})
            else:
                row[name] = cell
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def text_frame(cells: Cells) -> pd.DataFrame:
    """A frame of text, as a reader sees it."""
    return pd.DataFrame([{name: str(cell) for name, cell in row.items()} for row in cells])


def _method(row: Row) -> dict[str, str | int | Estimate]:
    return {"method": row.compared.method, "as": row.compared.form}


def _ratios(aggregate: Aggregate, intervals: dict[str, Interval]) -> dict[str, str | int | Estimate]:
    means: dict[str, Mean] = {key: getattr(aggregate, key) for key in RATIOS.values()}
    return {
        name: Estimate(
            value=means[key].mean,
            std=means[key].std,
            n=means[key].n,
            low=intervals[key].low,
            high=intervals[key].high,
        )
        for name, key in RATIOS.items()
    }


def _estimate(interval: Interval) -> Estimate:
    return Estimate(value=interval.value, low=interval.low, high=interval.high)


def _curves(curves: Sequence[Curves], ious: Sequence[float]) -> dict[str, str | int | Estimate]:
    known = {curve.min_iou: curve for curve in curves}
    cells: dict[str, str | int | Estimate] = {}
    for iou in ious:
        cells[f"AP@{iou:g}"] = Estimate(value=known[iou].average_precision if iou in known else None)
        cells[f"FROC@{iou:g}"] = Estimate(value=known[iou].froc_score if iou in known else None)
    return cells
