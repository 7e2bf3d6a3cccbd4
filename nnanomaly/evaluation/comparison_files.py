"""What a comparison leaves in its folder: tables as markdown, CSV and LaTeX, figures, and `detection_summary.json`."""

from pathlib import Path
from typing import Any

from nnanomaly.evaluation.comparison import Comparison, Row
from nnanomaly.evaluation.comparison_captions import BOX_DEFINITIONS, captions
from nnanomaly.evaluation.comparison_figures import draw_figures
from nnanomaly.evaluation.comparison_tables import (
    Cells,
    numeric_frame,
    table_1,
    table_2,
    table_counts,
    table_differences,
    text_frame,
)
from nnanomaly.evaluation.metrics import SIZE_BINS_MM, case_metrics
from nnanomaly.evaluation.summary import DEFINITIONS, record_documents, size_bins_document
from nnanomaly.evaluation.tables import to_csv, to_latex, to_markdown
from nnanomaly.paths import DETECTION_SUMMARY_JSON
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.replacement import replaced_as_one

SCHEMA_VERSION = 1
MARKDOWN = "comparison.md"


def tables(comparison: Comparison) -> dict[str, Cells]:
    """All tables by file name; there are no differences of a single method."""
    found = {
        "table1": table_1(comparison),
        "table2": table_2(comparison),
        "counts": table_counts(comparison),
        "differences": table_differences(comparison),
    }
    return {name: cells for name, cells in found.items() if cells}


def write_comparison(comparison: Comparison, folder: Path) -> list[Path]:
    """Write everything, as one, and return the files."""
    with replaced_as_one(folder) as new:
        files = _write_files(comparison, new)
    return [folder / path.name for path in files]


def _write_files(comparison: Comparison, folder: Path) -> list[Path]:
    files = []
    texts = captions(comparison)
    markdown = [f"# {comparison.dataset}: {comparison.cases_from}\n"]
    for name, cells in tables(comparison).items():
        text = text_frame(cells)
        outputs = {
            f"{name}.csv": to_csv(numeric_frame(cells)),
            f"{name}.tex": to_latex(text, caption=texts[name], label=f"tab:{name}"),
            f"{name}.md": f"{to_markdown(text)}\n{texts[name]}\n",
        }
        markdown.append(f"## {name.capitalize()}\n\n{outputs[f'{name}.md']}")
        for file_name, content in outputs.items():
            files.append(_write(folder / file_name, content))
    for name in ("froc", "precision_recall", "f1_by_size"):
        markdown.append(f"![{name}]({name}.png)\n\n{texts[name]}\n")
    files.append(_write(folder / MARKDOWN, "\n".join(markdown)))
    files += draw_figures(comparison, folder)
    write_json(folder / DETECTION_SUMMARY_JSON, comparison_document(comparison))
    return [*files, folder / DETECTION_SUMMARY_JSON]


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Content of `detection_summary.json`: rules, captions, numbers, and every record of every method."""
    return {
        "schema_version": SCHEMA_VERSION,
        "dataset": comparison.dataset,
        "cases_from": comparison.cases_from,
        "cases": comparison.cases,
        "left_out": comparison.left_out,
        "unfinished": comparison.unfinished,
        "missing_predictions": comparison.missing,
        "definitions": {**DEFINITIONS, **BOX_DEFINITIONS},
        "captions": captions(comparison),
        "size_bins_mm": size_bins_document(),
        "bootstrap": to_document(comparison.bootstrap),
        "methods": [_row_document(row) for row in comparison.rows],
        "differences": to_document(comparison.differences),
    }


def _row_document(row: Row) -> dict[str, Any]:
    cases = [case_metrics(case, records) for case, records in row.records.items()]
    return {
        "method": row.compared.method,
        "as": row.compared.form,
        "native": row.compared.native,
        "threshold": to_document(row.compared.threshold),
        "rule": to_document(row.compared.rule),
        "metrics": to_document(row.metrics),
        "intervals": to_document(row.intervals),
        "intervals_by_size": {size: to_document(row.size_intervals[size]) for size in SIZE_BINS_MM},
        "curves": to_document(row.curves),
        "mean_average_precision": row.mean_average_precision,
        "cases": record_documents(cases, list(row.records.values())),
    }


def _write(path: Path, content: str) -> Path:
    write_text(path, content)
    return path
