"""Numbers from records written by hand, the identities they obey, and where they are undefined."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnanomaly.evaluation.lesion_matching import LesionRecord
from nnanomaly.evaluation.metrics import CaseMetrics, case_metrics, lesion_metrics, size_bin
from nnanomaly.evaluation.regions import Region

Record = Callable[..., LesionRecord]


def test_the_upper_edge_belongs_to_the_size_bin() -> None:
    edges = {0.5: "<=2", 20.0: "<=2", 20.001: "2-4", 40.0: "2-4", 40.001: "4-7", 70.0: "4-7", 70.001: ">7", 500.0: ">7"}
    assert {diameter: size_bin(diameter) for diameter in edges} == edges


def test_precision_recall_and_f1_of_a_case(found: Record, missed: Record, false_alarm: Record) -> None:
    metrics = case_metrics("a", [found(1, 30), missed(2, 10), missed(3, 10), false_alarm(2, 8)])
    assert (metrics.tp, metrics.fp, metrics.fn) == (1, 1, 2)
    assert (metrics.precision, metrics.recall, metrics.f1) == (1 / 2, 1 / 3, 2 / 5)


def test_a_case_with_lesions_and_no_candidate_scores_zero(missed: Record) -> None:
    metrics = case_metrics("a", [missed(1, 30)])
    assert (metrics.precision, metrics.recall, metrics.f1, metrics.dsc) == (0.0, 0.0, 0.0, 0.0)


def test_a_case_without_lesions_has_no_ratios_but_a_dsc_of_zero(false_alarm: Record) -> None:
    metrics = case_metrics("a", [false_alarm(1, 30)])
    assert (metrics.fp, metrics.precision, metrics.recall, metrics.f1, metrics.dsc) == (1, None, None, None, 0.0)


def test_an_empty_case_is_undefined_altogether() -> None:
    assert case_metrics("a", []) == CaseMetrics(
        case="a", tp=0, fp=0, fn=0, precision=None, recall=None, f1=None, dsc=None
    )


def test_all_found_and_no_false_positive_is_one_everywhere(region: Callable[..., Region]) -> None:
    record = LesionRecord(
        case="a", kind="TP", lesion=region(1, 30), candidate=region(1, 30), iou=1.0, overlaps=((1, 100),)
    )
    metrics = lesion_metrics({"a": [record]}, min_iou=0.2)
    ratios = (metrics.all.precision, metrics.all.recall, metrics.all.f1, metrics.all.dsc)
    assert [(ratio.mean, ratio.std, ratio.n) for ratio in ratios] == [(1.0, 0.0, 1)] * 4
    assert metrics.fp_per_scan == 0.0


def test_the_dsc_counts_all_voxels_of_lesions_and_candidates(region: Callable[..., Region]) -> None:
    # Lesion 1 (100 voxels) has 60 in common with its candidate (80) and 10 with a false positive (50); a speck of 6
    # voxels in the reference counts among them, a removed candidate does not: 2 * 70 / (100 + 6 + 80 + 50).
    records = [
        LesionRecord(
            case="", kind="TP", lesion=region(1, 30), candidate=region(1, 30, 80), overlaps=((1, 60), (2, 10), (9, 5))
        ),
        LesionRecord(case="", kind="ignored_lesion", lesion=region(2, 2, 6)),
        LesionRecord(case="", kind="FP", candidate=region(2, 10, 50)),
        LesionRecord(case="", kind="removed_candidate", candidate=region(9, 2, 7)),
    ]
    assert case_metrics("a", records).dsc == pytest.approx(140 / 236)


def test_means_run_over_cases_with_lesions_and_sd_has_ddof_0(
    found: Record, missed: Record, false_alarm: Record
) -> None:
    records = {
        "a": [found(1, 30)],  # P 1, R 1
        "b": [found(1, 30), missed(2, 30), false_alarm(2, 30), false_alarm(3, 30), false_alarm(4, 30)],  # P 1/4, R 1/2
        "free": [false_alarm(1, 30), false_alarm(2, 30)],
        "clean": [],
    }
    metrics = lesion_metrics(records, min_iou=0.2)
    assert (metrics.n_cases, metrics.all.n_cases) == (4, 2)
    assert (metrics.all.precision.mean, metrics.all.precision.std, metrics.all.precision.n) == (0.625, 0.375, 2)
    assert (metrics.all.recall.mean, metrics.all.recall.std, metrics.all.recall.n) == (0.75, 0.25, 2)
    # Pooled over the same two cases: TP 2, FP 3, FN 1.
    assert (metrics.all.tp, metrics.all.fp, metrics.all.fn) == (2, 3, 1)
    pooled = metrics.all.pooled
    assert (pooled.precision, pooled.recall, pooled.f1) == (2 / 5, 2 / 3, 4 / 8)
    # False positives per scan over all four; lesion-free ones apart.
    assert metrics.fp_per_scan == 5 / 4
    free = metrics.lesion_free
    assert (free.n_cases, free.fp, free.fp_per_scan, free.n_clean, free.clean_fraction) == (2, 2, 1.0, 1, 0.5)


def test_lesion_free_cases_enter_the_all_cases_dsc_only(found: Record, false_alarm: Record) -> None:
    metrics = lesion_metrics({"a": [found(1, 30)], "free": [false_alarm(1, 30)], "clean": []}, min_iou=0.2)
    assert (metrics.all.dsc.mean, metrics.all.dsc.n) == (0.5, 1)
    assert (metrics.dsc_all_cases.mean, metrics.dsc_all_cases.n) == (0.25, 2)


def test_without_any_lesion_every_ratio_is_undefined(false_alarm: Record) -> None:
    metrics = lesion_metrics({"a": [false_alarm(1, 30)], "b": []}, min_iou=0.2)
    assert (metrics.all.n_cases, metrics.all.f1.mean, metrics.all.f1.n, metrics.all.pooled.recall) == (0, None, 0, None)
    assert metrics.lesion_free.fp_per_scan == 0.5


def test_without_any_case_every_number_is_undefined() -> None:
    metrics = lesion_metrics({}, min_iou=0.2)
    assert (metrics.fp_per_scan, metrics.lesion_free.clean_fraction, metrics.all.recall.mean) == (None, None, None)


def test_a_lesion_counts_in_its_own_bin_and_a_false_positive_in_its_own(
    found: Record, missed: Record, false_alarm: Record
) -> None:
    # A 3 cm lesion found by a candidate of 1 cm; a missed 1 cm lesion; false positives of 1 cm and 8 cm.
    records = {"a": [found(1, 30, candidate_mm=10), missed(2, 10), false_alarm(2, 10), false_alarm(3, 80)]}
    metrics = lesion_metrics(records, min_iou=0.2)
    counts = {name: (bin.n_cases, bin.tp, bin.fp, bin.fn) for name, bin in metrics.by_size.items()}
    # <=2: the 1 cm candidate belongs to a lesion of another bin and is neutral. >7: no lesion of that size in the
    # case, so its false positive counts in no bin (it does in "all").
    assert counts == {"<=2": (1, 0, 1, 1), "2-4": (1, 1, 0, 0), "4-7": (0, 0, 0, 0), ">7": (0, 0, 0, 0)}
    assert metrics.all.fp == 2


def test_the_dsc_of_a_bin_takes_its_own_lesions_candidates_and_false_positives(region: Callable[..., Region]) -> None:
    # In the bin 2-4: lesion 1 (100 voxels) with candidate 1 (80, 60 in common) and false positive 2 (50 voxels of
    # 3 cm, 10 in common). Candidate 3 finds a lesion of another bin; its 5 voxels in lesion 1 do not count.
    records = [
        LesionRecord(
            case="", kind="TP", lesion=region(1, 30), candidate=region(1, 30, 80), overlaps=((1, 60), (2, 10), (3, 5))
        ),
        LesionRecord(case="", kind="TP", lesion=region(2, 50), candidate=region(3, 50, 90), overlaps=((3, 85),)),
        LesionRecord(case="", kind="FP", candidate=region(2, 30, 50)),
    ]
    bins = lesion_metrics({"a": records}, min_iou=0.2).by_size
    assert bins["2-4"].dsc.mean == pytest.approx(2 * 70 / (100 + 80 + 50))
    assert bins["4-7"].dsc.mean == pytest.approx(2 * 85 / (100 + 90))


def test_a_case_appears_in_every_bin_it_has_a_lesion_of(found: Record) -> None:
    metrics = lesion_metrics({"a": [found(1, 10), found(2, 30)], "b": [found(1, 30)]}, min_iou=0.2)
    assert [bin.n_cases for bin in metrics.by_size.values()] == [1, 2, 0, 0]


def test_what_the_crop_lost_is_counted_and_misses_beyond_reach_apart(found: Record, missed: Record) -> None:
    records = {
        "a": [
            found(1, 30, outside_roi_fraction=0.0),
            missed(2, 30, outside_roi_fraction=0.05),  # missed, but the crop is not to blame
            missed(3, 80, outside_roi_fraction=0.8),  # 0.2 inside: an IoU of 0.2 was still possible
            missed(4, 80, outside_roi_fraction=0.81),  # not any more
        ],
        "unknown": [missed(1, 30)],
    }
    metrics = lesion_metrics(records, min_iou=0.2)
    lost = metrics.all.outside_roi
    assert (lost.n_lesions, lost.n_over_10_percent, lost.n_over_50_percent) == (4, 2, 2)
    assert lost.mean_fraction == pytest.approx((0.05 + 0.8 + 0.81) / 4)
    assert lost.fn_beyond_reach == 1
    assert [bin.outside_roi.fn_beyond_reach for bin in metrics.by_size.values()] == [0, 0, 0, 1]


def test_without_known_patches_the_loss_is_undefined(missed: Record) -> None:
    lost = lesion_metrics({"a": [missed(1, 30)]}, min_iou=0.2).all.outside_roi
    assert (lost.n_lesions, lost.mean_fraction) == (0, None)


def test_ignored_neutral_and_removed_are_counted_apart_and_nowhere_else(region: Callable[..., Region]) -> None:
    records = [
        LesionRecord(case="", kind="ignored_lesion", lesion=region(1, 2, 5)),
        LesionRecord(case="", kind="neutral_candidate", candidate=region(1, 5)),
        LesionRecord(case="", kind="removed_candidate", candidate=region(2, 2, 5)),
        LesionRecord(case="", kind="removed_candidate", candidate=region(3, 2, 5)),
    ]
    metrics = lesion_metrics({"a": records}, min_iou=0.2)
    assert (metrics.n_ignored_lesions, metrics.n_neutral_candidates, metrics.n_removed_candidates) == (1, 1, 2)
    assert (metrics.all.n_cases, metrics.lesion_free.n_cases, metrics.lesion_free.n_clean) == (0, 1, 1)


CASES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 6)), min_size=1, max_size=8
)  # TP, FN, FP of each case


def written(
    counts: list[tuple[int, int, int]], found: Record, missed: Record, false_alarm: Record
) -> dict[str, list[LesionRecord]]:
    return {
        f"case{position}": [
            *(found(number, 30) for number in range(tp)),
            *(missed(100 + number, 30) for number in range(fn)),
            *(false_alarm(200 + number, 30) for number in range(fp)),
        ]
        for position, (tp, fn, fp) in enumerate(counts)
    }


@pytest.fixture(scope="module")
def writer() -> Callable[[list[tuple[int, int, int]]], dict[str, list[LesionRecord]]]:
    """Records of the counts of some cases; all regions are 3 cm, so the bin 2-4 must equal the whole."""

    def region(number: int) -> Region:
        return Region(id=number, num_voxels=9, volume_mm3=9.0, axial_diameter_mm=30.0, center_mm=(0.0, 0.0, 0.0))

    def hit(number: int, _: float) -> LesionRecord:
        return LesionRecord(
            case="", kind="TP", lesion=region(number), candidate=region(number), overlaps=((number, 5),)
        )

    return lambda counts: written(
        counts,
        hit,
        lambda number, _: LesionRecord(case="", kind="FN", lesion=region(number)),
        lambda number, _: LesionRecord(case="", kind="FP", candidate=region(number)),
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(counts=CASES)
def test_the_identities_of_f1_hold(
    counts: list[tuple[int, int, int]], writer: Callable[..., dict[str, list[LesionRecord]]]
) -> None:
    records = writer(counts)
    for case, of_case in records.items():
        metrics = case_metrics(case, of_case)
        if metrics.f1:
            assert metrics.f1 == pytest.approx(
                2 * metrics.precision * metrics.recall / (metrics.precision + metrics.recall)
            )
    everything = lesion_metrics(records, min_iou=0.2)
    if everything.all.n_cases:
        precision, recall, f1 = (
            mean.mean for mean in (everything.all.precision, everything.all.recall, everything.all.f1)
        )
        # Per case F1 <= 2 P / (1 + P), which is concave: so it holds for the means over one set of cases.
        assert f1 <= 2 * precision / (1 + precision) + 1e-12
        assert f1 <= 2 * recall / (1 + recall) + 1e-12
        assert everything.by_size["2-4"].f1 == everything.all.f1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(counts=CASES, data=st.data())
def test_a_further_false_positive_never_raises_precision_nor_changes_recall(
    counts: list[tuple[int, int, int]], data: st.DataObject, writer: Callable[..., dict[str, list[LesionRecord]]]
) -> None:
    position = data.draw(st.integers(0, len(counts) - 1))
    more = [(tp, fn, fp + (index == position)) for index, (tp, fn, fp) in enumerate(counts)]
    before, after = (lesion_metrics(writer(of), min_iou=0.2) for of in (counts, more))
    for get in (lambda m: m.all.precision.mean, lambda m: m.all.pooled.precision, lambda m: m.all.f1.mean):
        assert get(before) is None or get(after) <= get(before)
    assert after.all.recall == before.all.recall
    assert after.fp_per_scan > before.fp_per_scan


@settings(derandomize=True, deadline=None, max_examples=40)
@given(counts=CASES, data=st.data())
def test_the_order_of_cases_changes_no_number(
    counts: list[tuple[int, int, int]], data: st.DataObject, writer: Callable[..., dict[str, list[LesionRecord]]]
) -> None:
    shuffled = data.draw(st.permutations(counts))
    first, second = (lesion_metrics(writer(of), min_iou=0.2) for of in (counts, shuffled))
    assert (first.all.tp, first.all.pooled, first.lesion_free) == (second.all.tp, second.all.pooled, second.lesion_free)
    for name in ("precision", "recall", "f1"):
        means = [getattr(metrics.all, name) for metrics in (first, second)]
        assert np.allclose(*([mean.mean or 0.0, mean.std or 0.0, mean.n] for mean in means), atol=1e-12)
