"""What nobody looked at: candidates and boxes there count as nothing, and its voxels in no number."""

from pathlib import Path

import numpy as np

from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.evaluation.evaluate_case import CaseFiles, evaluate_case
from nnanomaly.evaluation.ignored import boxes_without_ignored, without_ignored
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.roi.components import find_components
from nnanomaly.volume import Grid, Volume

GRID = Grid((20, 30, 30), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
LESION, IN_IGNORED, ACROSS = np.s_[2:8, 5:12, 5:12], np.s_[14:19, 5:12, 5:12], np.s_[7:13, 18:25, 18:25]


def mask(*blocks: tuple[slice, slice, slice]) -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    for block in blocks:
        array[block] = 1
    return array


def evaluated(tmp_path: Path, predicted: np.ndarray, ignored: int | None) -> tuple[list[str], dict[str, int]]:
    reference = mask(LESION)
    reference[10:] = 2
    for name, array in (("reference", reference), ("prediction", predicted)):
        write_volume(tmp_path / f"{name}.nii.gz", Volume(array[None], GRID))
    files = CaseFiles(
        case="a", reference=tmp_path / "reference.nii.gz", prediction=tmp_path / "prediction.nii.gz", boxes=None
    )
    labels = LesionLabels(reference=(1,), prediction=(1,), ignored=ignored)
    result = evaluate_case(files, labels=labels, rule=MatchRule())
    return [record.kind for record in result.records], result.voxels


def test_a_candidate_within_the_ignored_part_is_nothing(tmp_path: Path) -> None:
    predicted, size = mask(LESION, IN_IGNORED), int(mask(LESION).sum())
    kinds, voxels = evaluated(tmp_path, predicted, ignored=2)
    assert kinds == ["TP"]
    assert voxels == {"TP": size, "FP": 0, "FN": 0, "TN": 10 * 30 * 30 - size}
    assert evaluated(tmp_path, predicted, ignored=None)[0] == ["TP", "FP"], "without the label it would count"


def test_what_reaches_out_of_the_ignored_part_is_judged_outside(tmp_path: Path) -> None:
    kinds, voxels = evaluated(tmp_path, mask(ACROSS), ignored=2)
    assert sorted(kinds) == ["FN", "FP"]
    assert voxels["FP"] == 3 * 7 * 7


def test_what_is_left_of_a_candidate_keeps_the_score_of_the_whole() -> None:
    ignored = np.zeros(GRID.shape, bool)
    ignored[10:] = True
    whole = Volume(mask(LESION, ACROSS)[None], GRID)
    scores = {(2, 5, 5): 0.3, (7, 18, 18): 0.9}
    rest, score = without_ignored(whole, ignored, lambda found: scores[found.box.start], connectivity=26)
    assert [score(found) for found in find_components(rest.array[0])] == [0.3, 0.9]
    assert without_ignored(whole, None, score, connectivity=26) == (whole, score)


def test_a_box_is_left_out_where_more_than_half_of_it_is_ignored() -> None:
    ignored = np.zeros(GRID.shape, bool)
    ignored[10:] = True
    boxes = np.array([[z - 1, 4, 4, z + 4, 10, 10] for z in (2, 8, 9, 14)], float)  # 4 planes each, from z on
    kept = boxes_without_ignored(ScoredBoxes(boxes=boxes, scores=np.array([0.1, 0.2, 0.3, 0.4])), ignored)
    assert kept.scores is not None
    assert kept.scores.tolist() == [0.1, 0.2]
    assert kept.boxes.tolist() == boxes[:2].tolist()
