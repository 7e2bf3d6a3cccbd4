"""Average precision and FROC of scored candidates, pooled over cases; the same numbers as nnDetection's evaluator.

Candidates of all cases are sorted by falling score. After each, recall is hits / lesions and precision is hits /
candidates. AP is the mean of the precision envelope (the best precision at this recall or a higher one) at 101 recalls
0, 0.01 ... 1. FROC is the sensitivity, linear between points, at 1/8, 1/4, 1/2, 1, 2, 4 and 8 false positives a scan,
flat beyond the last candidate; its score is the mean of the seven (0 without hits, where nnDetection has no number).
Both use the one matching the records come from: with `assignment="score"` it is the matching at every threshold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.lesion_matching import LesionRecord

FROC_FP_PER_SCAN = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """Counted candidates of all cases, in falling score."""

    scores: NDArray[np.float64]
    """`[N]`."""
    hits: NDArray[np.bool_]
    """`[N]`: whether the candidate found a lesion."""
    num_lesions: int
    """Lesions that count, found or not."""
    num_scans: int
    """Cases, with and without lesions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FROC:
    """Sensitivity against false positives per scan."""

    fp_per_scan: NDArray[np.float64]
    """False positives per scan after each distinct score, rising from 0."""
    sensitivity: NDArray[np.float64]
    """Share of lesions found by then."""
    at: tuple[float, ...]
    """Sensitivity at `FROC_FP_PER_SCAN`."""

    @property
    def score(self) -> float:
        """Mean sensitivity at those points."""
        return float(np.mean(self.at))


def pool_detections(records: Mapping[str, Sequence[LesionRecord]]) -> Detections | None:
    """Counted candidates of all cases; None if one has no score."""
    counted = [record for of_case in records.values() for record in of_case if record.kind in ("TP", "FP")]
    scores = np.array([record.score for record in counted if record.score is not None], dtype=float)
    if len(scores) < len(counted):
        return None
    order = np.argsort(-scores, kind="stable")
    return Detections(
        scores=scores[order],
        hits=np.array([record.kind == "TP" for record in counted], dtype=bool)[order],
        num_lesions=sum(record.kind in ("TP", "FN") for of_case in records.values() for record in of_case),
        num_scans=len(records),
    )


def precision_recall(detections: Detections) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Precision `[N]` and recall `[N]` after each candidate; there must be lesions."""
    hits = np.cumsum(detections.hits)
    return hits / np.arange(1, len(hits) + 1), hits / detections.num_lesions


def average_precision(detections: Detections) -> float | None:
    """Area under the precision envelope at 101 recalls; None without lesions, 0 without hits."""
    if detections.num_lesions == 0:
        return None
    precision, recall = precision_recall(detections)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, np.linspace(0, 1, 101), side="left")].mean())


def froc(detections: Detections) -> FROC | None:
    """The FROC curve and its seven values; None without lesions or scans."""
    if detections.num_lesions == 0 or detections.num_scans == 0:
        return None
    # Candidates of one score come together: no threshold lies between them.
    ends = np.flatnonzero(np.append(np.diff(detections.scores) != 0, True)[: len(detections.scores)])
    sensitivity = np.append(0.0, np.cumsum(detections.hits)[ends] / detections.num_lesions)
    fp_per_scan = np.append(0.0, np.cumsum(~detections.hits)[ends] / detections.num_scans)
    at = np.interp(FROC_FP_PER_SCAN, fp_per_scan, sensitivity)
    return FROC(fp_per_scan=fp_per_scan, sensitivity=sensitivity, at=tuple(at.tolist()))
