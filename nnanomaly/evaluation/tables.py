"""Tables of the numbers, as data frames, markdown and CSV: one row a method, a lesion size or a case."""

import re
from collections.abc import Iterable, Mapping

import pandas as pd
from pandas.api.types import is_numeric_dtype

from nnanomaly.evaluation.metrics import Aggregate, CaseMetrics, LesionMetrics, Mean
from nnanomaly.utilities.csv_table import disarmed

UNDEFINED = "–"


def overall_table(methods: Mapping[str, LesionMetrics]) -> pd.DataFrame:
    """One row per method: mean ± SD over cases with lesions, pooled counts and ratios, and lesion-free cases apart."""
    rows = []
    for name, metrics in methods.items():
        free = metrics.lesion_free
        rows.append(
            {
                "method": name,
                "cases": metrics.all.n_cases,
                **_ratios(metrics.all),
                **_counts(metrics.all),
                "pooled precision": format_number(metrics.all.pooled.precision),
                "pooled recall": format_number(metrics.all.pooled.recall),
                "pooled F1": format_number(metrics.all.pooled.f1),
                "FP/scan": format_number(metrics.fp_per_scan),
                "lesion-free cases": free.n_cases,
                "FP/lesion-free scan": format_number(free.fp_per_scan),
                "clean": format_number(free.clean_fraction),
            }
        )
    return pd.DataFrame(rows)


def size_table(methods: Mapping[str, LesionMetrics]) -> pd.DataFrame:
    """One row per method and lesion size in cm; cases are those with a lesion of that size."""
    rows = []
    for name, metrics in methods.items():
        for size, aggregate in metrics.by_size.items():
            row = {
                "method": name,
                "size [cm]": size,
                "cases": aggregate.n_cases,
                **_ratios(aggregate),
                **_counts(aggregate),
            }
            lost = aggregate.outside_roi
            row["outside patches"] = format_number(lost.mean_fraction)
            row["FN beyond reach"] = lost.fn_beyond_reach if lost.n_lesions else UNDEFINED
            rows.append(row)
    return pd.DataFrame(rows)


def case_table(cases: Iterable[CaseMetrics]) -> pd.DataFrame:
    """One row per case."""
    return pd.DataFrame(
        [
            {
                "case": metrics.case,
                "TP": metrics.tp,
                "FP": metrics.fp,
                "FN": metrics.fn,
                "precision": format_number(metrics.precision),
                "recall": format_number(metrics.recall),
                "F1": format_number(metrics.f1),
                "DSC": format_number(metrics.dsc),
            }
            for metrics in cases
        ]
    )


def to_markdown(table: pd.DataFrame) -> str:
    """A markdown table with padded columns."""
    cells = [[str(name) for name in table.columns], *([str(value) for value in row] for row in table.to_numpy())]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in cells]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    lines = (" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def to_csv(table: pd.DataFrame) -> str:
    """A CSV table; no cell of it is a formula."""
    safe = {name: [disarmed(value) for value in table[name]] for name in table if not is_numeric_dtype(table[name])}
    renamed = table.assign(**safe).rename(columns=lambda name: disarmed(str(name)))
    return str(renamed.to_csv(index=False, lineterminator="\n"))


def to_latex(table: pd.DataFrame, *, caption: str, label: str) -> str:
    """A LaTeX table that needs no package; the first three columns are set left."""
    columns = "l" * min(3, len(table.columns)) + "r" * max(0, len(table.columns) - 3)
    rows = [[_latex(str(value)) for value in row] for row in [list(table.columns), *table.to_numpy().tolist()]]
    header, *body = (" & ".join(row) + r" \\" for row in rows)
    lines = [
        r"\begin{table}",
        rf"\caption{{{_latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        header,
        r"\hline",
        *body,
        r"\hline",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<=": r"$\leq$",
    ">=": r"$\geq$",
    "<": "$<$",
    ">": "$>$",
    "±": r"$\pm$",
    "–": "--",
}


def _latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda match: _LATEX[match.group()], text)


def format_number(value: float | None) -> str:
    """Three decimals, or a dash for what is undefined."""
    return UNDEFINED if value is None else f"{value:.3f}"


def format_mean(mean: Mean) -> str:
    """Mean ± SD (n = cases)."""
    if mean.mean is None or mean.std is None:
        return UNDEFINED
    return f"{mean.mean:.3f} ± {mean.std:.3f} (n={mean.n})"


def _ratios(aggregate: Aggregate) -> dict[str, str]:
    names = {"DSC": aggregate.dsc, "precision": aggregate.precision, "recall": aggregate.recall, "F1": aggregate.f1}
    return {name: format_mean(mean) for name, mean in names.items()}


def _counts(aggregate: Aggregate) -> dict[str, int]:
    return {"TP": aggregate.tp, "FP": aggregate.fp, "FN": aggregate.fn}
