"""Average precision and FROC of candidates written by hand."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.evaluation.detection_curves import Detections, average_precision, froc, pool_detections
from nnanomaly.evaluation.lesion_matching import LesionRecord


def detections(scores: list[float], hits: list[int], *, num_lesions: int, num_scans: int) -> Detections:
    return Detections(
        scores=np.array(scores), hits=np.array(hits, dtype=bool), num_lesions=num_lesions, num_scans=num_scans
    )


def test_average_precision_is_the_envelope_at_101_recalls() -> None:
    # Recall 1/3, 1/3, 2/3, 2/3; precision 1, 1/2, 2/3, 1/2. The envelope is 1 at the recalls 0 ... 0.33 (34 points),
    # 2/3 at 0.34 ... 0.66 (33 points), and 0 beyond what is ever reached.
    curve = detections([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], num_lesions=3, num_scans=2)
    assert average_precision(curve) == pytest.approx((34 + 33 * 2 / 3) / 101)


def test_froc_is_linear_between_candidates_and_flat_after_the_last() -> None:
    # 0 FP: 1/3 found. Then, at 1/2 FP per scan, 1/3 and at once 2/3; the last FP comes at 1 per scan.
    curve = froc(detections([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], num_lesions=3, num_scans=2))
    assert curve is not None
    assert curve.fp_per_scan.tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]
    assert curve.at == pytest.approx((1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3))
    assert curve.score == pytest.approx((2 / 3 + 5 * 2 / 3) / 7)
    steep = froc(detections([0.9, 0.8, 0.8], [1, 0, 1], num_lesions=2, num_scans=1))
    assert steep is not None
    # One score, one point: from (0, 1/2) straight to (1 FP, 1), so 1/4 FP has 0.625.
    assert steep.at[1] == pytest.approx(0.625)


def test_all_found_and_no_false_positive_is_one() -> None:
    curve = detections([0.9, 0.8], [1, 1], num_lesions=2, num_scans=5)
    found = froc(curve)
    assert found is not None
    assert (average_precision(curve), found.score) == (1.0, 1.0)


def test_no_lesion_at_all_is_undefined_and_no_hit_is_zero() -> None:
    alarms = detections([0.9], [0], num_lesions=0, num_scans=5)
    assert average_precision(alarms) is None and froc(alarms) is None
    misses = detections([0.9], [0], num_lesions=2, num_scans=5)
    curve = froc(misses)
    assert curve is not None
    assert (average_precision(misses), curve.score) == (0.0, 0.0)


def test_no_candidate_at_all_is_zero() -> None:
    nothing = detections([], [], num_lesions=2, num_scans=5)
    curve = froc(nothing)
    assert curve is not None
    assert (average_precision(nothing), curve.score) == (0.0, 0.0)


def test_candidates_are_pooled_over_cases_in_falling_score(
    found: Callable[..., LesionRecord], missed: Callable[..., LesionRecord], false_alarm: Callable[..., LesionRecord]
) -> None:
    def scored(record: LesionRecord, score: float | None) -> LesionRecord:
        assert record.candidate is not None
        return replace(record, candidate=replace(record.candidate, score=score))

    records = {
        "a": [scored(found(1, 30), 0.5), missed(2, 30), scored(false_alarm(2, 9), 0.9)],
        "b": [],
        "c": [scored(found(1, 9), 0.7)],
    }
    pooled = pool_detections(records)
    assert pooled is not None
    assert (pooled.scores.tolist(), pooled.hits.tolist()) == ([0.9, 0.7, 0.5], [False, True, True])
    assert (pooled.num_lesions, pooled.num_scans) == (3, 3)
    assert pool_detections({**records, "d": [scored(false_alarm(1, 9), None)]}) is None
