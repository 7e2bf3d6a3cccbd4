"""Matching, one drawn case per situation. `r` is the reference, `c` the candidates, one row of voxels each."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from nnanomaly.evaluation.lesion_matching import (
    LesionRecord,
    MatchRule,
    assign_by_score,
    assign_greedily,
    assign_hungarian,
    match_case,
    match_regions,
)
from nnanomaly.evaluation.regions import Region, SizeFloor
from nnanomaly.roi.components import find_components
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Grid, Volume

Row = Callable[[str], Volume]


def kinds(records: list[LesionRecord]) -> list[str]:
    return [record.kind for record in records]


def test_both_empty_gives_no_record(row: Row, no_floor: MatchRule) -> None:
    assert match_case(row("....."), row("....."), no_floor) == []


def test_every_candidate_without_a_lesion_is_a_false_positive(row: Row, no_floor: MatchRule) -> None:
    assert kinds(match_case(row("##..#"), row("....."), no_floor)) == ["FP", "FP"]


def test_every_lesion_without_a_candidate_is_missed(row: Row, no_floor: MatchRule) -> None:
    assert kinds(match_case(row("....."), row("##..#"), no_floor)) == ["FN", "FN"]


def test_all_found_and_nothing_else(row: Row, no_floor: MatchRule) -> None:
    records = match_case(row("##..###"), row("##..###"), no_floor)
    assert kinds(records) == ["TP", "TP"]
    assert [record.iou for record in records] == [1.0, 1.0]


def test_one_candidate_over_two_lesions_finds_the_better_covered_one(row: Row, no_floor: MatchRule) -> None:
    r = row("#####.####")  # IoU 5/10
    c = row("##########")  # and 4/10: one to one, so the second is missed although it is covered
    records = match_case(c, r, no_floor)
    assert kinds(records) == ["TP", "FN"]
    assert [record.iou for record in records] == [0.5, 0.4]
    assert [record.candidate_id for record in records] == [1, None]


def test_two_candidates_on_one_lesion_are_one_hit_and_one_false_positive(row: Row, no_floor: MatchRule) -> None:
    r = row("##########")
    c = row("####..###.")  # IoU 0.4 and 0.3
    records = match_case(c, r, no_floor)
    assert kinds(records) == ["TP", "FP"]
    assert (records[0].candidate_id, records[1].candidate_id) == (1, 2)
    assert records[1].iou == 0.3


def test_a_rule_may_forgive_extra_candidates_but_not_others(row: Row, no_floor: MatchRule) -> None:
    r = row("##########......")
    c = row("####..###....##.")
    forgiving = replace(no_floor, extra_candidates="neutral")
    assert kinds(match_case(c, r, forgiving)) == ["TP", "neutral_candidate", "FP"]


def test_an_iou_of_exactly_one_fifth_is_a_match(row: Row, no_floor: MatchRule) -> None:
    r = row("##########.")
    assert kinds(match_case(row("##........."), r, no_floor)) == ["TP"]  # 2 of 10
    r = row("###########")
    assert kinds(match_case(row("##........."), r, no_floor)) == ["FN", "FP"]  # 2 of 11


def test_one_fifth_is_inclusive_at_every_size(row: Row, no_floor: MatchRule) -> None:
    for length in (1, 3, 7, 49, 1001):
        r, c = row("#" * 5 * length), row("#" * length + "." * 4 * length)
        assert kinds(match_case(c, r, no_floor)) == ["TP"]


def test_voxels_that_touch_by_a_corner_are_one_lesion_at_26_and_two_at_6(no_floor: MatchRule) -> None:
    mask = np.zeros((1, 2, 2, 2), dtype=bool)
    mask[0, 0, 0, 0] = mask[0, 1, 1, 1] = True
    volume = Volume(mask, Grid((2, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))
    assert kinds(match_case(volume, volume, no_floor)) == ["TP"]
    assert kinds(match_case(volume, volume, replace(no_floor, connectivity=6))) == ["TP", "TP"]


def test_the_assignment_looks_for_most_matches_before_overlap(row: Row, no_floor: MatchRule) -> None:
    r = row("##########.####")  # IoU with the candidates: 0.2 and 7/15 for the first lesion,
    c = row("##.############")  # 0 and 1/3 for the second
    hungarian = match_case(c, r, no_floor)
    assert kinds(hungarian) == ["TP", "TP"]
    assert [record.iou for record in hungarian] == [0.2, pytest.approx(1 / 3)]
    greedy = match_case(c, r, replace(no_floor, assignment="greedy"))
    assert kinds(greedy) == ["TP", "FN", "FP"]
    assert greedy[0].iou == pytest.approx(7 / 15)


def test_among_equally_many_matches_the_sum_of_iou_decides() -> None:
    iou = {(0, 0): 0.9, (0, 1): 0.5, (1, 0): 0.5, (1, 1): 0.3}
    assert assign_hungarian(iou) == [(0, 0), (1, 1)]  # 1.2 > 1.0
    iou = {(0, 0): 0.9, (0, 1): 0.8, (1, 0): 0.8, (1, 1): 0.3}
    assert assign_hungarian(iou) == [(0, 1), (1, 0)]  # 1.6 > 1.2, although greedy would take the 0.9
    assert assign_greedily(iou) == [(0, 0), (1, 1)]


@pytest.mark.parametrize("seed", range(30))
def test_the_assignment_is_the_best_of_all_assignments(seed: int) -> None:
    # All permutations of up to 4 candidates, scored by (number of matches, sum of IoU).
    rng = np.random.default_rng(seed)
    iou = {(i, j): float(rng.uniform(0.2, 1)) for i in range(4) for j in range(4) if rng.random() < 0.5}
    choices = [[(i, j) for i, j in enumerate(order) if (i, j) in iou] for order in permutations(range(4))]
    best = max((len(choice), round(sum(iou[pair] for pair in choice), 9)) for choice in choices)
    ours = assign_hungarian(iou)
    assert (len(ours), round(sum(iou[pair] for pair in ours), 9)) == best
    assert len({i for i, _ in ours}) == len({j for _, j in ours}) == len(ours)


def test_by_score_the_surest_candidate_chooses_first() -> None:
    iou = {(0, 0): 0.9, (0, 1): 0.5, (1, 1): 0.4}
    assert assign_by_score(iou, [0.9, 0.2]) == [(0, 0), (1, 1)]
    assert assign_by_score(iou, [0.2, 0.9]) == [(0, 1)]  # it takes the lesion it overlaps best, the other gets none
    assert assign_by_score(iou, [0.5, 0.5]) == [(0, 0), (1, 1)]  # a draw goes to the first
    assert assign_by_score(iou, [None, 0.1]) == [(0, 1)]  # no score is the lowest


def test_nothing_feasible_assigns_nothing() -> None:
    assert assign_hungarian({}) == []
    assert assign_greedily({}) == []
    assert assign_by_score({}, [0.5]) == []


def test_a_missed_reference_speck_is_ignored(row: Row) -> None:
    r = row("#" * 19 + ".")  # one voxel under the floor
    assert kinds(match_case(row("." * 20), r, MatchRule())) == ["ignored_lesion"]
    assert kinds(match_case(row("." * 20), row("#" * 20), MatchRule())) == ["FN"]  # exactly the floor


def test_a_candidate_that_matches_only_a_speck_does_not_count(row: Row) -> None:
    r = row("#" * 19 + "." * 10)
    c = row("#" * 25 + "." * 4)
    assert kinds(match_case(c, r, MatchRule())) == ["ignored_lesion", "neutral_candidate"]


def test_a_candidate_that_merely_touches_a_speck_is_a_false_positive(row: Row) -> None:
    r = row("#" * 5 + "." * 30)
    c = row("." + "#" * 30 + "." * 4)  # IoU 4/31
    assert kinds(match_case(c, r, MatchRule())) == ["ignored_lesion", "FP"]


def test_a_candidate_that_matches_a_speck_and_a_matched_lesion_is_a_false_positive(row: Row) -> None:
    # Lesion of 60, speck of 15. The first candidate takes the lesion; the second has 20 of its voxels (IoU 20/80)
    # and the whole speck (IoU 15/40): it is an extra one on the lesion, the speck does not excuse it.
    r = row("#" * 60 + "....." + "#" * 15)
    c = row("#" * 39 + "." + "#" * 40)
    assert kinds(match_case(c, r, MatchRule())) == ["TP", "ignored_lesion", "FP"]


def test_a_candidate_under_the_floor_is_removed_before_matching(row: Row) -> None:
    r = row("#" * 20 + "....")
    c = row("#" * 19 + ".....")  # IoU 0.95, but too small to be a candidate
    assert kinds(match_case(c, r, MatchRule())) == ["FN", "removed_candidate"]


def test_a_thin_candidate_is_removed_by_its_diameter() -> None:
    # 40 slices of one voxel of 2.5 mm: enough voxels, but 2.5 mm across.
    mask = np.ones((1, 40, 1, 1), dtype=bool)
    volume = Volume(mask, Grid((40, 1, 1), (1.0, 2.5, 2.5), (0.0, 0.0, 0.0)))
    assert kinds(match_case(volume, volume, MatchRule())) == ["ignored_lesion", "removed_candidate"]
    wide = Volume(mask, Grid((40, 1, 1), (1.0, 3.0, 3.0), (0.0, 0.0, 0.0)))
    assert kinds(match_case(wide, wide, MatchRule())) == ["TP"]


def test_a_record_carries_score_place_overlap_and_what_the_crop_lost(row: Row, no_floor: MatchRule) -> None:
    r, c = row("..####.."), row("...##.#.")
    patch = Grid((1, 1, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))  # x = 0..3: half of the lesion
    records = match_case(c, r, no_floor, case="a", score=lambda component: component.num_voxels / 10, patches=[patch])
    hit, alarm = records
    assert (hit.case, hit.kind, hit.score, hit.iou, hit.outside_roi_fraction) == ("a", "TP", 0.2, 0.5, 0.5)
    assert hit.overlaps == ((1, 2),)
    assert hit.lesion is not None and hit.lesion.center_mm == (0.0, 0.0, 3.5)
    assert (hit.axial_diameter_mm, hit.volume_mm3) == (4.0, 4.0)
    assert (alarm.kind, alarm.lesion_id, alarm.candidate_id, alarm.score) == ("FP", None, 2, 0.1)
    assert alarm.outside_roi_fraction is None


def test_regions_of_any_origin_can_be_matched_by_their_iou(region: Callable[..., Region]) -> None:
    # Boxes, for instance: no voxels in common are known, only the IoU.
    records = match_regions([region(1, 30.0)], [region(1, 30.0), region(2, 30.0)], {(0, 1): 0.2}, rule=MatchRule())
    assert [(record.kind, record.lesion_id, record.candidate_id) for record in records] == [
        ("TP", 1, 2),
        ("FP", None, 1),
    ]


def test_masks_of_different_shape_are_refused(row: Row) -> None:
    with pytest.raises(DataError, match="GEO-PAIR"):
        match_case(row("###"), row("####"), MatchRule(), case="a")


@pytest.mark.parametrize(
    "wrong",
    [{"min_iou": 0.0}, {"min_iou": 1.5}, {"connectivity": 8}, {"assignment": "best"}, {"extra_candidates": "no"}],
)
def test_a_rule_out_of_range_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        MatchRule(**wrong)


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Blobs of the reference, and the same moved, dropped and joined by others."""
    rng = np.random.default_rng(seed)
    reference, candidates = (np.zeros((14, 30, 30), dtype=np.uint8) for _ in range(2))
    for _ in range(6):
        size = rng.integers(1, 8, size=3)
        start = rng.integers(0, np.array(reference.shape) - size)
        shifted = np.clip(start + rng.integers(-2, 3, size=3), 0, np.array(reference.shape) - size)
        if rng.random() < 0.8:
            reference[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = rng.integers(1, 4)
        if rng.random() < 0.8:
            candidates[tuple(slice(a, a + s) for a, s in zip(shifted, size, strict=True))] = 1
    return candidates, reference


def tally(candidates: np.ndarray, reference: np.ndarray) -> tuple[object, ...]:
    grid = Grid(reference.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    records = match_case(Volume(candidates[None], grid), Volume(reference[None], grid), MatchRule())
    return tuple(sorted((record.kind, round(record.iou, 9), record.axial_diameter_mm) for record in records))


@pytest.mark.parametrize("seed", range(25))
def test_relabelling_and_flipping_change_nothing(seed: int) -> None:
    candidates, reference = random_case(seed)
    expected = tally(candidates, reference)
    relabelled = np.array([0, 3, 1, 2], dtype=np.uint8)[reference]
    assert tally(candidates * 5, relabelled) == expected
    for axis in range(3):
        assert tally(np.flip(candidates, axis), np.flip(reference, axis)) == expected
    assert tally(candidates.transpose(0, 2, 1), reference.transpose(0, 2, 1)) == expected


@pytest.mark.parametrize("seed", range(25))
def test_every_component_is_in_exactly_one_record(seed: int) -> None:
    candidates, reference = random_case(seed)
    grid = Grid(reference.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    records = match_case(Volume(candidates[None], grid), Volume(reference[None], grid), MatchRule())
    lesions = sorted(record.lesion_id for record in records if record.lesion_id is not None)
    numbers = sorted(record.candidate_id for record in records if record.candidate_id is not None)
    assert lesions == list(range(1, len(find_components(reference)) + 1))
    assert numbers == list(range(1, len(find_components(candidates)) + 1))


def test_the_floors_of_reference_and_candidates_are_independent(row: Row) -> None:
    r, c = row("##########.."), row("##########..")
    keep_specks = MatchRule(reference_floor=SizeFloor(min_voxels=0, min_diameter_mm=0.0))
    assert kinds(match_case(c, r, keep_specks)) == ["FN", "removed_candidate"]
    keep_both = replace(keep_specks, candidate_floor=SizeFloor(min_voxels=0, min_diameter_mm=0.0))
    assert kinds(match_case(c, r, keep_both)) == ["TP"]
