"""The two documents of an evaluation: nnU-Net's `summary.json` with our block, and `detection_summary.json`.

`summary.json` has nnU-Net's keys, so that whatever reads nnU-Net's reads ours; what is undefined is null, where nnU-Net
writes a NaN that no strict reader accepts. `detection_summary.json` holds every record and every rule: all numbers
can be computed again from it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnanomaly.evaluation.detection_curves import FROC_FP_PER_SCAN, average_precision, froc, pool_detections
from nnanomaly.evaluation.evaluate_case import CaseResult
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule
from nnanomaly.evaluation.metrics import SIZE_BINS_MM, CaseMetrics, LesionMetrics, case_metrics, lesion_metrics
from nnanomaly.utilities.json_io import to_document

SCHEMA_VERSION = 1
VOXEL_METRICS = ("Dice", "FN", "FP", "IoU", "TN", "TP", "n_pred", "n_ref")

DEFINITIONS = {
    "lesion_mask": "union of the lesion labels, then connected components",
    "iou": "voxel IoU of two components; a pair matches at min_iou or above",
    "assignment": "one to one; hungarian: most matches, then largest sum of IoU; greedy: largest IoU first",
    "reference_floor": "smaller lesions are ignored: never missed, and candidates that match only them do not count",
    "candidate_floor": "smaller candidates are removed before matching",
    "axial_diameter_mm": "greatest distance of two voxel centres in one axial slice, plus the mean in-plane voxel size",
    "precision": "per case TP / (TP + FP); 0 for a case with lesions and no candidate",
    "recall": "per case TP / (TP + FN)",
    "f1": "per case 2 TP / (2 TP + FP + FN)",
    "dsc": "per case, all voxels of the reference against the candidates above the floor; undefined if both are empty",
    "mean_and_std": "over cases with a lesion; standard deviation with ddof 0; n is the number of cases",
    "lesion_free": "cases without a counted lesion are left out of means and pooled counts and reported apart",
    "size_bins": "by diameter, exactly 2, 4 or 7 cm belongs to the smaller bin; over the cases with a lesion in the "
    "bin: its lesions, and unmatched candidates whose own diameter is in it; candidates matched to other lesions are "
    "neutral; DSC of its lesions against their candidates and those unmatched ones",
    "curves": "average precision at 101 recalls, sensitivity at false positives per scan; null if a candidate has no "
    "score; from the one matching of all candidates",
    "outside_roi": "share of a lesion's voxels in no organ patch; beyond reach: less than min_iou of it lies inside",
}

DETECTION_KEYS = {
    "schema_version": "Version of this document.",
    "labels": "Which values of the label maps are lesions.",
    "rule": "What counts as found.",
    "definitions": "What the numbers mean, in words.",
    "size_bins_mm": "Ends of the size bins; null = no upper end.",
    "metrics": "All numbers over the cases.",
    "curves": "Average precision and sensitivities; null if a candidate has no score.",
    "failed_cases": "Case -> why it could not be evaluated; it is in no number.",
    "unfinished": "What the prediction lacks of the cases that it was asked for; null: nothing that is known of.",
    "missing_predictions": "Cases without a prediction, which `--allow_missing` counts as empty.",
    "cases": "Numbers of each case, `n_removed_candidates`, and its `records`.",
}
"""Keys of `detection_summary.json` and what they hold, for its reference page."""


PER_CASE, LESION_LEVEL = "metric_per_case", "lesion_level"
"""Keys of `summary.json`: one of nnU-Net, one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """Everything an evaluation says."""

    labels: LesionLabels
    """Which values are lesions."""
    rule: MatchRule
    """What counts as found."""
    results: list[CaseResult]
    """Evaluated cases."""
    failures: dict[str, str]
    """Case -> why it could not be evaluated; it is in no number."""
    unfinished: str | None = None
    """What the prediction lacks of the cases that it was asked for; None where nothing is known to be missing."""

    @property
    def records(self) -> dict[str, list[LesionRecord]]:
        """Records of each evaluated case."""
        return {result.files.case: result.records for result in self.results}

    @property
    def metrics(self) -> LesionMetrics:
        """Lesion-level numbers over the evaluated cases."""
        return lesion_metrics(self.records, min_iou=self.rule.min_iou)

    @property
    def cases(self) -> list[CaseMetrics]:
        """Lesion-level numbers of each case."""
        return [case_metrics(result.files.case, result.records) for result in self.results]


def summary_document(evaluation: Evaluation) -> dict[str, Any]:
    """Content of `summary.json`: nnU-Net's three keys and "lesion_level"."""
    per_case = [_voxel_metrics(result.voxels) for result in evaluation.results]
    mean = {metric: _mean([metrics[metric] for metrics in per_case]) for metric in VOXEL_METRICS}
    return {
        "foreground_mean": mean,
        "mean": {evaluation.labels.name: mean},
        PER_CASE: [
            {
                "metrics": {evaluation.labels.name: metrics},
                "prediction_file": _text(result.files.prediction),
                "reference_file": _text(result.files.reference),
            }
            for result, metrics in zip(evaluation.results, per_case, strict=True)
        ],
        LESION_LEVEL: {
            "rule": to_document(evaluation.rule),
            "metrics": to_document(evaluation.metrics),
            "curves": _curves(evaluation),
            "cases": to_document(evaluation.cases),
            "failed_cases": evaluation.failures,
        },
    }


def detection_document(evaluation: Evaluation) -> dict[str, Any]:
    """Content of `detection_summary.json`: rules, numbers, and every record but those of removed candidates."""
    return {
        "schema_version": SCHEMA_VERSION,
        "labels": to_document(evaluation.labels),
        "rule": to_document(evaluation.rule),
        "definitions": DEFINITIONS,
        "size_bins_mm": size_bins_document(),
        "metrics": to_document(evaluation.metrics),
        "curves": _curves(evaluation),
        "failed_cases": evaluation.failures,
        "unfinished": evaluation.unfinished,
        "missing_predictions": [r.files.case for r in evaluation.results if r.files.prediction is None],
        "cases": record_documents(evaluation.cases, [result.records for result in evaluation.results]),
    }


def size_bins_document() -> dict[str, list[float | None]]:
    """The size bins in mm; the last one has no upper end."""
    return {name: [low, high if np.isfinite(high) else None] for name, (low, high) in SIZE_BINS_MM.items()}


def record_documents(cases: Sequence[CaseMetrics], records: Sequence[Sequence[LesionRecord]]) -> list[dict[str, Any]]:
    """Numbers and records of each case; removed candidates are only counted."""
    return [
        {
            **to_document(metrics),
            "n_removed_candidates": sum(record.kind == "removed_candidate" for record in of_case),
            "records": [to_document(record) for record in of_case if record.kind != "removed_candidate"],
        }
        for metrics, of_case in zip(cases, records, strict=True)
    ]


def _curves(evaluation: Evaluation) -> dict[str, Any] | None:
    detections = pool_detections(evaluation.records)
    if detections is None:
        return None
    curve = froc(detections)
    at = None if curve is None else dict(zip(map(str, FROC_FP_PER_SCAN), curve.at, strict=True))
    return {
        "average_precision": average_precision(detections),
        "froc_score": None if curve is None else curve.score,
        "sensitivity_at_fp_per_scan": at,
    }


def _voxel_metrics(voxels: Mapping[str, int]) -> dict[str, float | None]:
    tp, fp, fn = voxels["TP"], voxels["FP"], voxels["FN"]
    union = tp + fp + fn
    return {
        "Dice": 2 * tp / (union + tp) if union else None,
        "FN": fn,
        "FP": fp,
        "IoU": tp / union if union else None,
        "TN": voxels["TN"],
        "TP": tp,
        "n_pred": tp + fp,
        "n_ref": tp + fn,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path.absolute())
