"""The figures of a comparison as PNG and SVG: FROC, precision-recall, F1 by lesion size.

Curves show all methods as boxes, the one form that all have. A method without scores is a single point.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnanomaly.evaluation.comparison import Comparison, Row
from nnanomaly.evaluation.detection_curves import FROC_FP_PER_SCAN, froc, precision_recall
from nnanomaly.evaluation.metrics import SIZE_BINS_MM
from nnanomaly.utilities.files import write_atomically

SIZE_INCHES = (6.0, 4.2)
FORMATS: dict[str, dict[str, Any]] = {"png": {"dpi": 200}, "svg": {"metadata": {"Date": None}}}
"""Options of each format: no time in the files, so that the same comparison gives the same bytes."""


def draw_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write `froc`, `precision_recall` and `f1_by_size`, each as PNG and SVG, and return the files."""
    drawings: dict[str, Callable[[Axes, Comparison], None]] = {
        "froc": _draw_froc,
        "precision_recall": _draw_precision_recall,
        "f1_by_size": _draw_f1_by_size,
    }
    files = []
    for name, draw in drawings.items():
        with rc_context({"svg.hashsalt": "nnanomaly", "svg.fonttype": "none", "font.size": 9.0}):
            figure = Figure(figsize=SIZE_INCHES, layout="constrained")
            axes = figure.add_subplot()
            draw(axes, comparison)
            axes.grid(alpha=0.3)
            figure.legend(loc="outside lower center", ncols=3)
            for ending, options in FORMATS.items():
                files.append(folder / f"{name}.{ending}")
                write_atomically(files[-1], functools.partial(figure.savefig, format=ending, **options))
    return files


def _draw_froc(axes: Axes, comparison: Comparison) -> None:
    num_scans = len(comparison.cases)
    colors = _colors(comparison)
    for row in _as_boxes(comparison):
        detections = row.compared.detections(row.compared.rule.min_iou)
        curve = None if detections is None else froc(detections)
        color, label = colors[row.compared.method], row.compared.method
        if curve is not None:
            axes.plot(curve.fp_per_scan, curve.sensitivity, drawstyle="steps-post", color=color, label=label)
            label = "_operating point"
        tp, fp, fn = _counts(row)
        if tp + fn:
            axes.plot(fp / num_scans, tp / (tp + fn), "o", color=color, label=label)
    axes.set_xscale("symlog", linthresh=FROC_FP_PER_SCAN[0], base=2)
    axes.set_xticks(FROC_FP_PER_SCAN, [f"{value:g}" for value in FROC_FP_PER_SCAN])
    axes.set(xlabel="false positives per scan", ylabel="sensitivity", ylim=(0, 1.02), xlim=(0, None))


def _draw_precision_recall(axes: Axes, comparison: Comparison) -> None:
    colors = _colors(comparison)
    for row in _as_boxes(comparison):
        detections = row.compared.detections(row.compared.rule.min_iou)
        color, label = colors[row.compared.method], row.compared.method
        if detections is not None and detections.num_lesions and len(detections.hits):
            precision, recall = precision_recall(detections)
            axes.plot(recall, precision, drawstyle="steps-post", color=color, label=label)
            label = "_operating point"
        tp, fp, fn = _counts(row)
        if tp + fn and tp + fp:
            axes.plot(tp / (tp + fn), tp / (tp + fp), "o", color=color, label=label)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))


def _draw_f1_by_size(axes: Axes, comparison: Comparison) -> None:
    rows = [row for row in comparison.rows if row.compared.native]
    width = 0.8 / len(rows)
    for number, row in enumerate(rows):
        centers = np.arange(len(SIZE_BINS_MM)) + (number - (len(rows) - 1) / 2) * width
        intervals = [row.size_intervals[size]["f1"] for size in SIZE_BINS_MM]
        values = np.array([item.value or 0.0 for item in intervals])
        ends = [(item.value, item.low, item.high) for item in intervals]
        errors = np.array(
            [(v - lo, hi - v) if v is not None and lo is not None and hi is not None else (0, 0) for v, lo, hi in ends]
        )
        label = f"{row.compared.method} ({row.compared.form})"
        reach = np.clip(errors.T, 0, None)
        axes.bar(
            centers, values, width, yerr=reach, capsize=2, color=_colors(comparison)[row.compared.method], label=label
        )
    counts = [comparison.rows[0].metrics.by_size[size].n_cases for size in SIZE_BINS_MM]
    ticks = [f"{size} cm\n{count} cases" for size, count in zip(SIZE_BINS_MM, counts, strict=True)]
    axes.set_xticks(range(len(SIZE_BINS_MM)), ticks)
    axes.set(ylabel="mean F1", ylim=(0, 1.02))


def _colors(comparison: Comparison) -> dict[str, str]:
    """The color of every method, the same in all figures."""
    methods = dict.fromkeys(row.compared.method for row in comparison.rows)
    return {method: f"C{number}" for number, method in enumerate(methods)}


def _as_boxes(comparison: Comparison) -> list[Row]:
    return [row for row in comparison.rows if row.compared.form == "boxes"]


def _counts(row: Row) -> tuple[int, int, int]:
    """TP, FP and FN over all scans, lesion-free ones included."""
    kinds = [record.kind for records in row.records.values() for record in records]
    return kinds.count("TP"), kinds.count("FP"), kinds.count("FN")
