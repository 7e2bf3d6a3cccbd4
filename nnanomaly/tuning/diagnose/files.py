"""What a diagnosis leaves behind: diagnose.csv with a row per lesion, diagnose.json with everything, diagnose.png."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnanomaly.evaluation.tables import to_csv
from nnanomaly.tuning.diagnose.waterfall import STEPS, BinSummary, Criteria, LesionTrace, summarise
from nnanomaly.utilities.files import write_atomically, write_text
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers
from nnanomaly.utilities.replacement import replaced_as_one


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """Everything a diagnosis says."""

    source: str
    """Whose lesions: `drawn` or `inserted`."""
    detector: str
    """What made the map."""
    residual_of: str
    """What the reconstruction is compared with."""
    checkpoint: str
    """Checkpoint of the ddpm."""
    criteria: Criteria
    """From where on a lesion is lost."""
    traces: list[LesionTrace]
    """The lesions."""
    num_scenes: int
    """Patches (inserted) or cases (drawn) with a lesion."""
    num_false: int
    """Candidates in them that match no lesion."""
    false_per_healthy_organ: float | None
    """Candidates per healthy validation organ, from the calibration; None with Otsu's threshold."""

    @property
    def bins(self) -> list[BinSummary]:
        """The waterfall per size bin."""
        return summarise(self.traces)


def write_diagnosis(folder: Path, diagnosis: Diagnosis) -> None:
    """Write the three files to `folder`, as one."""
    document = {**to_document(diagnosis), "steps": list(STEPS), "bins": to_document(diagnosis.bins)}
    remove_leftovers(folder)
    table = pd.DataFrame([asdict(trace) for trace in diagnosis.traces])
    figure = waterfall_figure(diagnosis)
    with replaced_as_one(folder) as new:
        write_json(new / "diagnose.json", document)
        write_text(new / "diagnose.csv", to_csv(table))
        write_atomically(new / "diagnose.png", lambda path: figure.savefig(path, dpi=100))


def describe(diagnosis: Diagnosis) -> str:
    """The tables for a terminal: lesions alive after each step, medians, and false candidates."""
    bins = diagnosis.bins
    alive = pd.DataFrame([{"size (cm)": b.size, "lesions": b.num_lesions, **b.alive} for b in bins])
    medians = pd.DataFrame(
        [
            {
                "size (cm)": b.size,
                "autoencoder keeps": _text(b.autoencoder_keeps),
                "reconstruction keeps": _text(b.healthy_keeps),
                "residual shows": _text(b.residual_shows),
                "map p95 / threshold": _text(b.map_over_threshold),
                "share above": _text(b.above_threshold),
                "best IoU": _text(b.best_iou),
            }
            for b in bins
        ]
    )
    rate = diagnosis.false_per_healthy_organ
    healthy = "not measured with Otsu's threshold" if rate is None else f"{rate:.2f}"
    return "\n".join(
        [
            f"{diagnosis.source} lesions that are not yet lost after each step (the last column: found)",
            alive.to_string(index=False),
            "",
            "medians (contrasts as a share of that in the image; a good reconstruction keeps none)",
            medians.to_string(index=False),
            "",
            f"false candidates: {healthy} per healthy organ (calibration), {diagnosis.num_false} beside the lesions "
            f"of {diagnosis.num_scenes} {'cases' if diagnosis.source == 'drawn' else 'patches'}",
        ]
    )


def waterfall_figure(diagnosis: Diagnosis) -> Figure:
    """A panel per size bin: how many lesions are alive after each step, and what the step lost."""
    bins = diagnosis.bins
    figure = Figure(figsize=(3.4 * len(bins), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for number, of_bin in enumerate(bins, 1):
        axes = figure.add_subplot(1, len(bins), number)
        alive = np.array([of_bin.num_lesions, *of_bin.alive.values()])
        lost = np.array([0, *of_bin.lost.values()])
        places = np.arange(len(alive))
        axes.bar(places, alive, color="tab:blue", label="alive")
        axes.bar(places, lost, bottom=alive, color="tab:red", alpha=0.6, label="lost here")
        for place, count in enumerate(alive.tolist()):
            axes.text(place, count, str(count), ha="center", va="bottom")
        axes.set_xticks(places, ["known", *STEPS], rotation=60, ha="right")
        axes.set_ylim(0, 1.12 * of_bin.num_lesions)
        axes.set_title("all sizes" if of_bin.size == "all" else f"{of_bin.size} cm")
    figure.axes[0].set_ylabel(f"{diagnosis.source} lesions")
    handles, words = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, words, loc="outside lower left", ncols=2, frameon=False)
    return figure


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
