"""The score threshold: best mean F1 on validation cases, or Otsu's."""

import numpy as np
import pytest

from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.evaluation.case_pairs import CasePairs, measure_reference, pair_boxes
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.thresholds import Threshold, best_threshold, otsu_of_cases
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

RULE = MatchRule(assignment="score")
GRID = Grid((10, 10, 40), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def _case(hits: list[float], misses: list[float], num_lesions: int = 2) -> CasePairs:
    """Lesions of 4 x 4 x 4 along the last axis; a hit is the box of one of them, a miss a box in the far corner."""
    mask = np.zeros((1, *GRID.shape), dtype=bool)
    for number in range(num_lesions):
        mask[0, 2:6, 2:6, 10 * number + 1 : 10 * number + 5] = True
    rows = [[1, 1, 10 * number, 6, 6, 10 * number + 5] for number, _ in enumerate(hits)]
    rows += [[6, 6, 30, 9, 9, 35] for _ in misses]
    boxes = ScoredBoxes(boxes=np.array(rows, dtype=float).reshape(-1, 6), scores=np.array([*hits, *misses]))
    return pair_boxes(boxes, measure_reference(Volume(mask, GRID), connectivity=26))


def test_the_threshold_with_the_best_mean_f1_is_found() -> None:
    # At 0.6: first case 2 of 2 without a false positive, F1 1; second 1 of 2, F1 2/3. Lower or higher is worse.
    cases = {"a": _case([0.9, 0.6], [0.5]), "b": _case([0.8], [0.4, 0.3])}
    threshold = best_threshold(cases, RULE, source="validation")
    assert threshold == Threshold(value=0.6, source="validation", mean_f1=pytest.approx(5 / 6), n_cases=2)


def test_of_equal_thresholds_the_highest_is_taken_and_lesion_free_cases_do_not_vote() -> None:
    # 0.9 finds one of two (F1 2/3); the false positive 0.7 and the second lesion 0.5 give F1 4/5 at best: 0.5 wins.
    cases = {"a": _case([0.9, 0.5], [0.7]), "free": _case([], [0.95, 0.2], num_lesions=0)}
    threshold = best_threshold(cases, RULE, source="validation")
    assert (threshold.value, threshold.mean_f1, threshold.n_cases) == (0.5, pytest.approx(0.8), 1)
    same = {"a": _case([0.9], []), "b": _case([0.9], [])}
    assert best_threshold(same, RULE, source="validation").value == 0.9


def test_it_equals_the_search_over_all_scores() -> None:
    from nnanomaly.evaluation.lesion_matching import match_pairs
    from nnanomaly.evaluation.metrics import lesion_metrics

    rng = np.random.default_rng(0)
    cases = {str(n): _case(rng.random(2).round(1).tolist(), rng.random(3).round(1).tolist()) for n in range(8)}
    scores = {candidate.score for pairs in cases.values() for candidate in pairs.candidates}
    mean_f1 = {}
    for score in scores:
        records = {case: match_pairs(pairs, RULE, min_score=score) for case, pairs in cases.items()}
        mean_f1[score] = lesion_metrics(records, min_iou=0.2).all.f1.mean
    threshold = best_threshold(cases, RULE, source="validation")
    assert threshold.mean_f1 == pytest.approx(max(mean_f1.values()))
    assert mean_f1[threshold.value] == pytest.approx(threshold.mean_f1)


def test_without_scores_or_lesions_there_is_nothing_to_choose() -> None:
    with pytest.raises(DataError, match="EVAL-THRESHOLD.*score"):
        best_threshold({"a": _case([], [])}, RULE, source="validation")
    with pytest.raises(DataError, match="EVAL-THRESHOLD.*lesion"):
        best_threshold({"a": _case([], [0.5], num_lesions=0)}, RULE, source="validation")


def test_otsu_separates_two_groups_of_scores() -> None:
    threshold = otsu_of_cases({"a": _case([0.9, 0.8], [0.1, 0.2, 0.15])})
    assert threshold.source == "otsu"
    assert 0.2 < threshold.value < 0.8
