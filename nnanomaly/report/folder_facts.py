"""What else a prediction folder holds for the overview: how it was made, its evaluation, a comparison of methods."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from nnanomaly.evaluation.metrics import LesionMetrics
from nnanomaly.evaluation.tables import overall_table, size_table
from nnanomaly.paths import DETECTION_SUMMARY_JSON, PLANS_JSON
from nnanomaly.report.predictions import read_arguments
from nnanomaly.utilities.errors import UserError
from nnanomaly.utilities.json_io import from_document, read_json

COMPARISON_TABLES = ("table1", "table2", "counts", "differences")
COMPARISON_FIGURES = ("froc", "precision_recall", "f1_by_size")
PLACES = ("images", "organ_masks")
"""Arguments of a prediction that name folders of this machine: a report that is passed on does not need them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of texts."""

    header: list[str]
    rows: list[list[str]]
    caption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture: base64 of a PNG file."""

    name: str
    png: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the overview."""

    title: str
    text: str
    tables: list[Table]
    figures: list[Figure]


def sections(predictions: Path, comparison: Path) -> list[Section]:
    """Evaluation and comparison where they exist, then the facts of the run."""
    found = [evaluation_section(predictions), comparison_section(comparison), run_section(predictions)]
    return [section for section in found if section is not None]


def evaluation_section(predictions: Path) -> Section | None:
    """The numbers of `detection_summary.json`; None without one of an evaluation."""
    path = predictions / DETECTION_SUMMARY_JSON
    document = read_json(path) if path.is_file() else {}
    if "metrics" not in document:
        return None
    try:
        metrics = from_document(LesionMetrics, document["metrics"], source=str(path))
    except UserError:
        text = f"{DETECTION_SUMMARY_JSON} was written by another version of nnanomaly: evaluate again."
        return Section(title="Evaluation", text=text, tables=[], figures=[])
    methods = {predictions.resolve().name: metrics}
    tables = [_from_frame(overall_table(methods)), _from_frame(size_table(methods)), _curves(document)]
    text = (
        f"From {DETECTION_SUMMARY_JSON} in the predictions, with the references of that evaluation. Mean ± SD over the "
        "cases with lesions; lesion-free cases apart."
    )
    return Section(title="Evaluation", text=text, tables=[table for table in tables if table.rows], figures=[])


def comparison_section(folder: Path) -> Section | None:
    """Tables and figures of nnanomaly_compare; None where the folder has none."""
    paths = [folder / f"{name}.md" for name in COMPARISON_TABLES]
    tables = [parse_markdown(path.read_text(encoding="utf-8")) for path in paths if path.is_file()]
    pictures = [folder / f"{name}.png" for name in COMPARISON_FIGURES]
    figures = [
        Figure(name=path.stem, png=base64.b64encode(path.read_bytes()).decode("ascii"))
        for path in pictures
        if path.is_file()
    ]
    if not tables:
        return None
    return Section(title="Comparison", text="As nnanomaly_compare wrote it.", tables=tables, figures=figures)


def run_section(predictions: Path) -> Section:
    """Versions, hashes and settings of the prediction, without the names of folders."""
    arguments = {key: value for key, value in read_arguments(predictions).items() if key not in PLACES}
    folds = arguments.pop("folds", {})
    rows = list(_flat(arguments))
    for fold, facts in folds.items() if isinstance(folds, dict) else ():
        checkpoints = facts.get("checkpoints", {}) if isinstance(facts, dict) else {}
        rows += [[f"fold {fold}: SHA-256 of {stage}", str(value)] for stage, value in checkpoints.items()]
    plans = predictions / PLANS_JSON
    document = read_json(plans) if plans.is_file() else {}
    rows += [[f"plans: {key}", str(document[key])] for key in ("preset", "dataset_name") if key in document]
    text = (
        "How the predictions were made. The noise of every sample is seeded by the voxels of the patch and the organ; "
        "the seed of the training stands in the debug.json of the trained model, not in the predictions."
    )
    if not rows:
        text = "The predictions do not say how they were made."
    return Section(
        title="Run", text=text, tables=[Table(header=["fact", "value"], rows=rows)] if rows else [], figures=[]
    )


def parse_markdown(text: str) -> Table:
    """The first table of a markdown text as `to_markdown` writes it, and the text below it as its caption."""
    lines = text.splitlines()
    cells = [_cells(line) for line in lines if line.startswith("|")]
    caption = " ".join(line for line in lines if line and not line.startswith("|"))
    return Table(header=cells[0] if cells else [], rows=cells[2:], caption=caption)


def _cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [part.strip().replace("\\|", "|") for part in parts]


def _from_frame(frame: pd.DataFrame) -> Table:
    rows = [[str(value) for value in row] for row in frame.to_numpy()]
    return Table(header=[str(name) for name in frame.columns], rows=rows)


def _curves(document: dict[str, Any]) -> Table:
    """Average precision and sensitivity at numbers of false positives per scan."""
    curves = document.get("curves") or {}
    sensitivity = curves.get("sensitivity_at_fp_per_scan") or {}
    rows = [[f"sensitivity at {count} false positives per scan", _text(value)] for count, value in sensitivity.items()]
    for key in ("average_precision", "froc_score"):
        if key in curves:
            rows.insert(0, [key.replace("_", " "), _text(curves[key])])
    return Table(header=["curve", "value"], rows=rows)


def _flat(document: dict[str, Any], prefix: str = "") -> Iterable[list[str]]:
    for key, value in document.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield [f"{prefix}{key}", _text(value)]


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
