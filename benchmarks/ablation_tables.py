"""The tables of the ablation from its filled rows: `ablation.md` for readers, `ablation.csv` with every number."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from ablation_models import Budget
from ablation_rows import FilledRow

from nnanomaly.evaluation.auroc import AUROC
from nnanomaly.evaluation.detection_curves import froc, pool_detections
from nnanomaly.evaluation.metrics import Aggregate
from nnanomaly.evaluation.tables import UNDEFINED, format_number, to_csv, to_markdown
from nnanomaly.utilities.files import write_atomically

BY_SIZE = (
    "Precision / recall / F1 of each size in cm, over the cases that have a lesion of it. A false candidate belongs to "
    "the size of its own diameter; one that found a lesion of another size does not count."
)
TRAINING = "Wall clock minutes on the machine that trained; a stage that models share is named with each of them."


def write_tables(output: Path, rows: Sequence[FilledRow], budgets: Mapping[str, Sequence[Budget]]) -> str:
    """Write both files; returns the text of `ablation.md`."""
    parts = [
        to_markdown(pd.DataFrame([{"setting": row.name, **numbers_of(row)} for row in rows])),
        *remarks_on_auroc(rows),
        f"\n## By size\n\n{BY_SIZE}\n",
        to_markdown(pd.DataFrame([{"setting": row.name, **sizes_of(row)} for row in rows])),
    ]
    training = budget_rows(rows, budgets)
    if training:
        parts += [f"## Training\n\n{TRAINING}\n", to_markdown(pd.DataFrame(training))]
    text = "\n".join(parts)
    every = to_csv(pd.DataFrame([{"setting": row.name, **numbers_of(row), **details_of(row)} for row in rows]))
    write_atomically(output / "ablation.md", lambda path: path.write_text(text, encoding="utf-8"))
    write_atomically(output / "ablation.csv", lambda path: path.write_text(every, encoding="utf-8"))
    return text


def numbers_of(row: FilledRow) -> dict[str, str]:
    """The columns of the first table."""
    metrics, detections = row.evaluation.metrics, pool_detections(row.evaluation.records)
    curve = froc(detections) if detections is not None else None
    seconds = row.predictions.cpu_seconds
    return {
        "TP": str(metrics.all.tp),
        "FP": str(metrics.all.fp),
        "FN": str(metrics.all.fn),
        "precision": format_number(metrics.all.pooled.precision),
        "recall": format_number(metrics.all.pooled.recall),
        "F1": format_number(metrics.all.pooled.f1),
        "F1 per case": format_number(metrics.all.f1.mean),
        "DSC": format_number(metrics.all.dsc.mean),
        "FROC": format_number(curve.score if curve else None),
        "found by size": " ".join(f"{b.tp}/{b.tp + b.fn}" for b in metrics.by_size.values()),
        "FP/healthy organ": format_number(row.healthy.per_organ),
        "AUROC organ": format_auroc(row.organs),
        "AUROC patient": format_auroc(row.patients),
        "CPU s/organ": f"{seconds / row.num_organs:.1f}" if seconds is not None and row.num_organs else UNDEFINED,
    }


def sizes_of(row: FilledRow) -> dict[str, str]:
    """The columns of the second table: P / R / F1 of each size, pooled and as means over cases."""
    columns = {}
    for size, aggregate in row.evaluation.metrics.by_size.items():
        for way, ratios in _ratios(aggregate).items():
            columns[f"{size} {way}"] = " / ".join(format_number(value) for value in ratios.values())
    return columns


def details_of(row: FilledRow) -> dict[str, str]:
    """What only the CSV file holds: each number of each size, what the AUROC is over, and remarks of the prediction."""
    metrics = row.evaluation.metrics
    columns = {name: format_number(value) for name, value in _ratios(metrics.all)["per case"].items()}
    columns = {f"{name} per case": value for name, value in columns.items() if name != "F1"}
    for size, aggregate in metrics.by_size.items():
        counts = {"cases": aggregate.n_cases, "TP": aggregate.tp, "FP": aggregate.fp, "FN": aggregate.fn}
        columns |= {f"{size} {name}": str(number) for name, number in counts.items()}
        for way, ratios in _ratios(aggregate).items():
            columns |= {f"{size} {name} {way}": format_number(value) for name, value in ratios.items()}
    for unit, measured in (("organs", row.organs), ("patients", row.patients)):
        columns[f"{unit} positive"] = str(measured.num_positive)
        columns[f"{unit} negative"] = str(measured.num_negative)
        columns[f"{unit} left out"] = " ".join(f"{why}: {n}" for why, n in sorted(measured.left_out.items()))
    columns["FP in lesion-free cases"] = str(metrics.lesion_free.fp)
    return columns | row.predictions.remarks


def format_auroc(measured: AUROC) -> str:
    """Area with its 95 % interval, `0.712 [0.601, 0.808]`."""
    area = measured.area
    if area.low is None:
        return format_number(area.value)
    return f"{format_number(area.value)} [{format_number(area.low)}, {format_number(area.high)}]"


def remarks_on_auroc(rows: Sequence[FilledRow]) -> list[str]:
    """What each AUROC is over, and why one is undefined; once for all rows that agree."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        for unit, measured in (("organs", row.organs), ("patients", row.patients)):
            counts = f"{measured.num_positive} positive, {measured.num_negative} negative"
            left_out = "".join(f", {n} left out ({why})" for why, n in sorted(measured.left_out.items()))
            said = f"AUROC of {unit} over {counts}{left_out}"
            lines.setdefault(f"no AUROC of {unit}: {measured.reason}" if measured.reason else said, []).append(row.name)
    everywhere = f"all {len(rows)} rows"
    return [f"- {what}: {everywhere if len(on) == len(rows) else '; '.join(on)}" for what, on in lines.items()]


def budget_rows(rows: Sequence[FilledRow], budgets: Mapping[str, Sequence[Budget]]) -> list[dict[str, str]]:
    """The third table: every stage of every model, then of every other method that tells."""
    stages_of = [*budgets.items(), *((row.name, row.predictions.budgets) for row in rows)]
    return [
        {
            "model": model,
            "stage": budget.stage,
            "seed": str(budget.seed),
            "iterations": str(budget.iterations),
            "batch": str(budget.batch),
            "patches": str(budget.iterations * budget.batch),
            "minutes": UNDEFINED if budget.minutes is None else f"{budget.minutes:.1f}",
        }
        for model, stages in stages_of
        for budget in stages
    ]


def _ratios(aggregate: Aggregate) -> dict[str, dict[str, float | None]]:
    pooled = aggregate.pooled
    return {
        "pooled": {"precision": pooled.precision, "recall": pooled.recall, "F1": pooled.f1},
        "per case": {
            "precision": aggregate.precision.mean,
            "recall": aggregate.recall.mean,
            "F1": aggregate.f1.mean,
        },
    }
