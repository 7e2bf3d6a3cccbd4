"""What a sweep leaves behind: sweep.json with everything, sweep.csv as a table, sweep.png as a heat map."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnanomaly.evaluation.tables import to_csv
from nnanomaly.tuning.sweep.outcomes import Outcome
from nnanomaly.utilities.files import write_atomically, write_text
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers
from nnanomaly.utilities.replacement import replaced_as_one


def write_sweep(folder: Path, outcomes: Sequence[Outcome], best: Outcome, *, metric: str, source: str) -> None:
    """Write the three files to `folder`, as one; `source` says whose lesions were found (`drawn` or `inserted`)."""
    document = {
        "lesions": source,
        "metric": metric,
        "best": to_document(best),
        "outcomes": [to_document(outcome) for outcome in outcomes],
    }
    remove_leftovers(folder)
    table = pd.DataFrame([asdict(outcome) for outcome in outcomes])
    figure = heat_map(outcomes, best, metric=metric, source=source)
    with replaced_as_one(folder) as new:
        write_json(new / "sweep.json", document)
        write_text(new / "sweep.csv", to_csv(table))
        write_atomically(new / "sweep.png", lambda path: figure.savefig(path, dpi=100))


def heat_map(outcomes: Sequence[Outcome], best: Outcome, *, metric: str, source: str) -> Figure:
    """The metric over noise level (columns) and guidance scale (rows), the best setting framed."""
    sigmas = sorted({outcome.sigma for outcome in outcomes})
    scales = sorted({outcome.guidance_scale for outcome in outcomes})
    values = np.full((len(scales), len(sigmas)), np.nan)
    for outcome in outcomes:
        values[scales.index(outcome.guidance_scale), sigmas.index(outcome.sigma)] = getattr(outcome, metric)
    figure = Figure(figsize=(2.5 + 1.1 * len(sigmas), 2.2 + 0.6 * len(scales)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    picture = axes.imshow(values, cmap="viridis", aspect="auto", origin="lower", vmin=0.0, vmax=1.0)
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black")
    row, column = scales.index(best.guidance_scale), sigmas.index(best.sigma)
    axes.plot(column, row, marker="s", markersize=34, markerfacecolor="none", markeredgecolor="red")
    axes.set_xticks(range(len(sigmas)), [f"{sigma:g}" for sigma in sigmas])
    axes.set_yticks(range(len(scales)), [f"{scale:g}" if scale else "no guidance" for scale in scales])
    axes.set_xlabel("noise level (sigma)")
    axes.set_ylabel("guidance scale")
    axes.set_title(f"{metric} on {best.num_lesions} {source} lesions")
    figure.colorbar(picture, ax=axes)
    return figure
