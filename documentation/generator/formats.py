"""The page of the files that nnanomaly writes, from the dataclasses and column lists that they are written from."""

import inspect
from collections.abc import Mapping

from documentation.generator.fields import Links, rows
from documentation.generator.markdown import code, page, table
from nnanomaly.dicom import case_table
from nnanomaly.dicom.report import SeriesOutcome
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule
from nnanomaly.evaluation.metrics import (
    Aggregate,
    CaseMetrics,
    LesionFree,
    LesionMetrics,
    Mean,
    OutsideROI,
    Pooled,
)
from nnanomaly.evaluation.regions import Region, SizeFloor
from nnanomaly.evaluation.summary import DEFINITIONS, DETECTION_KEYS
from nnanomaly.experiment_planning.fingerprint import Fingerprint, IntensityStatistics, OrganRecord
from nnanomaly.inference import status_table
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.postprocessing import Candidate
from nnanomaly.inference.prediction_files import BOXES_KEYS
from nnanomaly.plans import Plans
from nnanomaly.preprocessing import mask_table
from nnanomaly.pseudo_labels import label_files
from nnanomaly.tuning.diagnose.waterfall import LesionTrace
from nnanomaly.tuning.sweep.outcomes import Outcome
from nnanomaly.volume import Box, Grid

INTRODUCTION = """\
Fields and columns of the files that the commands write. JSON is UTF-8 and holds no NaN; what is undefined is null, in
a CSV file an empty cell. Positions are (z, y, x): world positions in mm towards superior, posterior and left, voxels
in the order of the array (k, j, i). A box is half-open.

What you bring yourself (`dataset.json`, `organ_labels.csv`, images and masks) is described in [Dataset
format](dataset-format.md), the plans file in [Plans](plans.md).
"""

SPLITS = """\
A list with an object for every fold, in nnU-Net's form: `[{"train": ["case_00000", ...], "val": ["case_00001", ...]},
...]`. A file of your own in the raw dataset wins over what would be drawn.
"""


def _columns(columns: Mapping[str, str], header: str) -> str:
    return table((header, "meaning"), ((code(name), meaning) for name, meaning in columns.items()))


def _fields(kind: type) -> str:
    return table(("field", "type", "meaning"), rows(kind, LINKS, defaults=False))


def _part(kind: type) -> str:
    """A dataclass that other tables refer to."""
    return f"#### {kind.__name__}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n\n{_fields(kind)}"


NESTED = (
    OrganRecord,
    IntensityStatistics,
    ResidualStatistics,
    Box,
    Grid,
    LesionLabels,
    MatchRule,
    SizeFloor,
    LesionMetrics,
    Aggregate,
    Mean,
    Pooled,
    OutsideROI,
    LesionFree,
    CaseMetrics,
    LesionRecord,
    Region,
)
LINKS: Links = {kind: f"[{kind.__name__}](#{kind.__name__.lower()})" for kind in NESTED} | {Plans: "[Plans](plans.md)"}


def formats_page() -> str:
    """The page, file by file in the order in which they come to be."""
    return page("Formats", INTRODUCTION, [*_bring_and_prepare(), *_train(), *_predict(), *_evaluate()])


def _bring_and_prepare() -> list[str]:
    return [
        "## Bring and prepare",
        f"### {{images}}_convert_report.csv\n\nWritten by `nnanomaly_convert_dicom` beside the folder of images, "
        f"also as `.json` with the same rows.\n\n{_fields(SeriesOutcome)}",
        f"### Table of series\n\nWritten by `nnanomaly_convert_dicom -write_table`; it leads back to patients.\n\n"
        f"{_columns(case_table.COLUMNS, 'column')}",
        f"### organ_masks.csv\n\nWritten by `nnanomaly_segment_organs` and by `--verify_dataset_integrity`.\n\n"
        f"{_columns(mask_table.COLUMNS, 'column')}",
        f"### organ_labels.csv\n\nWritten by `nnanomaly_label_reports`, or by you: "
        f"[what is understood](dataset-format.md#organ_labelscsv).\n\n{_columns(label_files.LABEL_COLUMNS, 'column')}",
        f"### organ_labels_evidence.csv\n\nWritten by `nnanomaly_label_reports` beside the labels.\n\n"
        f"{_columns(label_files.EVIDENCE_COLUMNS, 'column')}",
        f"### dataset_fingerprint.json\n\nWritten by `nnanomaly_plan_and_preprocess` and "
        f"`nnanomaly_extract_fingerprint`.\n\n{_fields(Fingerprint)}",
        _part(OrganRecord),
        _part(IntensityStatistics),
        f"### splits_final.json\n\n{SPLITS}",
    ]


def _train() -> list[str]:
    return [
        "## Train and tune",
        f"### calibration.json\n\nWritten by `nnanomaly_train` into the fold of the ddpm.\n\n{_fields(Calibration)}",
        _part(ResidualStatistics),
        f"### sweep.csv\n\nWritten by `nnanomaly_sweep`, a row for every setting; `sweep.json` holds the same.\n\n"
        f"{_fields(Outcome)}",
        f"### diagnose.csv\n\nWritten by `nnanomaly_diagnose`, a row for every lesion. A contrast is the mean HU of a "
        f"lesion less that of a shell around it; null where there is no shell or no covered voxel.\n\n"
        f"{_fields(LesionTrace)}",
    ]


def _predict() -> list[str]:
    return [
        "## Predict",
        f"### detections/status.csv\n\nWhat became of every case and organ, over all runs on a folder.\n\n"
        f"{_columns(status_table.COLUMNS, 'column')}",
        f"### detections/{{case}}_boxes.json\n\nThe candidates of a case. It is written last: a case without it is not "
        f"complete.\n\n{_columns(BOXES_KEYS, 'key')}\n\nA candidate:\n\n{_candidate()}",
        _part(Grid),
    ]


def _candidate() -> str:
    """Fields of a candidate as they stand in the file: a number, the ends of its box, and the rest."""
    described = [row for row in rows(Candidate, LINKS, defaults=False) if row[0] != code("box")]
    box = rows(Box, LINKS, defaults=False)
    number = (code("id"), "whole number", "1, 2, ... in the order of the list.")
    return table(("field", "type", "meaning"), [number, *box, *described])


def _kinds() -> str:
    """Which of the following tables belongs to which key."""
    of_case = f"{LINKS[CaseMetrics]}, and its `records` are {LINKS[LesionRecord]}s"
    return (
        f"`labels` is a {LINKS[LesionLabels]}, `rule` a {LINKS[MatchRule]}, `metrics` {LINKS[LesionMetrics]}; each of "
        f"`cases` holds {of_case}. `nnanomaly_compare` writes a file of the same name, whose `methods` hold `rule`, "
        "`metrics`, `curves` and `cases` of each method."
    )


def _evaluate() -> list[str]:
    parts = (LesionLabels, MatchRule, SizeFloor, LesionMetrics, Aggregate, Mean, Pooled, OutsideROI, LesionFree)
    return [
        "## Evaluate",
        f"### detection_summary.json\n\nWritten by `nnanomaly_evaluate` and `nnanomaly_evaluate_folder` beside "
        f"nnU-Net's `summary.json`: every rule and every record, so that all numbers can be computed again.\n\n"
        f"{_columns(DETECTION_KEYS, 'key')}\n\n{_kinds()}",
        *(_part(kind) for kind in (*parts, CaseMetrics, LesionRecord, Region)),
        f"#### Definitions\n\n{_columns(DEFINITIONS, 'number')}",
    ]
