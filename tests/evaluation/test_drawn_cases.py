"""Situations drawn as arrays, with what each must give; picai_eval in its one-to-one mode agrees where installed."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.evaluation.detection_curves import average_precision, froc, pool_detections
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_case
from nnanomaly.evaluation.metrics import lesion_metrics
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.volume import Grid, Volume

NO_FLOOR = SizeFloor(min_voxels=0, min_diameter_mm=0.0)
RULE = MatchRule(reference_floor=NO_FLOOR, candidate_floor=NO_FLOOR)

# Name: reference, prediction (one slice, rows separated by "/"), and the expected TP, FP, FN.
CASES = {
    # Nothing drawn, nothing found: no lesion, no candidate, no row.
    "no_lesion_at_all": ("......../........", "......../........", (0, 0, 0)),
    # All found and no false positive: the best there is.
    "all_found_no_false_positive": ("##....##/##....##", "##....##/##....##", (2, 0, 0)),
    # A candidate in a healthy scan has nobody to match.
    "false_positive_in_a_healthy_scan": ("......../........", "...##.../...##...", (0, 1, 0)),
    # A lesion without any candidate is missed.
    "missed_lesion": ("..###.../..###...", "......../........", (0, 0, 1)),
    # 6 common voxels of 8 + 6: IoU 6/8.
    "one_hit": ("####..../####....", ".###..../.###....", (1, 0, 0)),
    # One voxel common of 4 + 6 - 1 = 9: IoU 1/9 is below 0.2, so both a miss and a false positive.
    "too_little_overlap": ("##....../##......", "......../.######.", (0, 1, 1)),
    # One common voxel of 5 in all: IoU exactly 0.2 is a match, the threshold is inclusive.
    "exactly_one_fifth": ("#####...", "#.......", (1, 0, 0)),
    # A lesion in two pieces: one to one, so the better piece matches and the other is a false positive.
    "lesion_split_in_two": ("########", "###.####", (1, 1, 0)),
    # One candidate over two lesions finds the better covered one only.
    "two_lesions_bridged": ("###.####", "########", (1, 0, 1)),
    # Lesions of 10 and 4, candidates of 2 and 12, IoU [[.2, .467], [0, .333]]: greedily the large candidate takes the
    # first lesion (1/1/1); with the most pairs both are found.
    "most_pairs_before_overlap": ("##########.####", "##.############", (2, 0, 0)),
    # Voxels that touch by an edge only are one lesion, so one candidate on one half has IoU 2/4.
    "touching_by_a_corner": ("##....../..##....", "##....../........", (1, 0, 0)),
}


def _draw(text: str) -> np.ndarray:
    return np.array([[[character == "#" for character in row] for row in text.split("/")]], dtype=np.uint8)


def _match(name: str, rule: MatchRule = RULE) -> list[LesionRecord]:
    reference, prediction, _ = CASES[name]
    array = _draw(reference)
    grid = Grid(array.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    return match_case(
        Volume(_draw(prediction)[None], grid), Volume(array[None], grid), rule, score=lambda component: 1.0
    )


@pytest.mark.parametrize("name", CASES)
def test_every_situation_counts_as_drawn(name: str) -> None:
    kinds = [record.kind for record in _match(name)]
    assert (kinds.count("TP"), kinds.count("FP"), kinds.count("FN")) == CASES[name][2]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_picai_eval_in_one_to_one_mode_counts_the_same(name: str) -> None:
    picai = pytest.importorskip("picai_eval.eval", reason="picai_eval is not installed")
    reference, prediction, expected = CASES[name]
    rows, *_ = picai.evaluate_case(
        _draw(prediction).astype(np.float32),
        _draw(reference),
        min_overlap=0.2,
        allow_unmatched_candidates_with_minimal_overlap=False,
    )
    kinds = ["FP" if not lesion else "TP" if confidence > 0 else "FN" for lesion, confidence, _ in rows]
    assert (kinds.count("TP"), kinds.count("FP"), kinds.count("FN")) == expected


def test_greedy_assignment_loses_a_lesion_where_most_pairs_finds_both() -> None:
    kinds = [record.kind for record in _match("most_pairs_before_overlap", replace(RULE, assignment="greedy"))]
    assert sorted(kinds) == ["FN", "FP", "TP"]


def test_at_six_neighbours_a_corner_does_not_connect() -> None:
    kinds = [record.kind for record in _match("touching_by_a_corner", replace(RULE, connectivity=6))]
    assert sorted(kinds) == ["FN", "TP"]


def test_with_all_found_and_no_false_positive_froc_and_precision_reach_one() -> None:
    detections = pool_detections({"case": _match("all_found_no_false_positive")})
    assert detections is not None
    curve = froc(detections)
    assert curve is not None
    assert curve.at == (1.0,) * 7
    assert curve.score == average_precision(detections) == 1.0


def test_without_any_lesion_nothing_is_defined_rather_than_zero() -> None:
    records = {"a": _match("no_lesion_at_all"), "b": _match("false_positive_in_a_healthy_scan")}
    detections = pool_detections(records)
    assert detections is not None
    assert froc(detections) is None
    assert average_precision(detections) is None
    metrics = lesion_metrics(records, min_iou=0.2)
    assert (metrics.all.n_cases, metrics.all.recall.mean, metrics.all.f1.mean) == (0, None, None)
    assert (metrics.lesion_free.n_cases, metrics.lesion_free.fp, metrics.lesion_free.n_clean) == (2, 1, 1)
