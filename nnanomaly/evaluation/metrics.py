"""From records to numbers: precision, recall, F1 and DSC per case, over cases, pooled, and by lesion size.

Cases without a reference lesion have no recall; they stay out of all means and pooled counts and are reported apart
(false positives per scan, share of clean scans). A case with lesions and no candidate has P = R = F1 = 0, so that all
means run over the same cases and mean F1 <= 2 P / (1 + P) of the mean precision holds. Mean and SD are taken over
cases, SD with ddof 0. What is undefined is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.evaluation.lesion_matching import LesionRecord

RecordsByCase = Mapping[str, Sequence[LesionRecord]]
"""Records of every evaluated case; a case without lesions and candidates has an empty sequence, but is there."""

SIZE_BINS_MM = {"<=2": (0.0, 20.0), "2-4": (20.0, 40.0), "4-7": (40.0, 70.0), ">7": (70.0, float("inf"))}
"""Axial diameter, above the first and up to and including the second number; the names are in cm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseMetrics:
    """Counts and ratios of one case."""

    case: str
    """Case id."""
    tp: int
    """Lesions found."""
    fp: int
    """Candidates without a lesion."""
    fn: int
    """Lesions missed."""
    precision: float | None
    """TP / (TP + FP); 0 without candidates; None without lesions."""
    recall: float | None
    """TP / (TP + FN); None without lesions."""
    f1: float | None
    """2 TP / (2 TP + FP + FN); None without lesions."""
    dsc: float | None
    """Dice of the voxels of the counted candidates and the lesions; None if both are empty."""

    @property
    def has_lesion(self) -> bool:
        """Whether the reference has a lesion that counts."""
        return self.tp + self.fn > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """Mean over the cases for which a number is defined."""

    mean: float | None
    """Mean."""
    std: float | None
    """Standard deviation, ddof 0."""
    n: int
    """Number of cases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """Ratios of the counts summed over cases."""

    precision: float | None
    """TP / (TP + FP)."""
    recall: float | None
    """TP / (TP + FN)."""
    f1: float | None
    """2 TP / (2 TP + FP + FN)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideROI:
    """What the crop to the organ patches lost, over the lesions of cases whose patches are known."""

    n_lesions: int
    """Lesions with known patches."""
    mean_fraction: float | None
    """Mean share of a lesion's voxels outside all patches."""
    n_over_10_percent: int
    """Lesions with more than a tenth outside."""
    n_over_50_percent: int
    """Lesions with more than half outside."""
    fn_beyond_reach: int
    """Missed lesions of which less than `min_iou` lies inside: no candidate within the patches could match them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aggregate:
    """Numbers over the cases that have a lesion (in the size bin, if it is one)."""

    n_cases: int
    """Cases."""
    tp: int
    """Lesions found."""
    fp: int
    """Candidates without a lesion."""
    fn: int
    """Lesions missed."""
    precision: Mean
    """Per case."""
    recall: Mean
    """Per case."""
    f1: Mean
    """Per case."""
    dsc: Mean
    """Per case."""
    pooled: Pooled
    """From the summed counts."""
    outside_roi: OutsideROI
    """What the crop lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionFree:
    """Cases without a reference lesion."""

    n_cases: int
    """Cases."""
    fp: int
    """Candidates in them."""
    fp_per_scan: float | None
    """Candidates per case."""
    n_clean: int
    """Cases without a candidate."""
    clean_fraction: float | None
    """Their share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionMetrics:
    """All numbers of one set of predictions."""

    n_cases: int
    """Evaluated cases, with and without lesions."""
    all: Aggregate
    """Cases with lesions, every size."""
    by_size: dict[str, Aggregate]
    """The same per size bin (`SIZE_BINS_MM`)."""
    lesion_free: LesionFree
    """Cases without lesions."""
    fp_per_scan: float | None
    """Candidates without a lesion, per evaluated case of either kind."""
    precision_where_defined: Mean
    """Precision over the cases with a lesion and a candidate; those without a candidate count 0 in `all`."""
    dsc_all_cases: Mean
    """DSC with lesion-free cases included: 0 with a candidate, undefined without."""
    n_ignored_lesions: int
    """Reference specks under the size floor."""
    n_neutral_candidates: int
    """Candidates that count neither way."""
    n_removed_candidates: int
    """Candidates under the size floor."""


def size_bin(diameter_mm: float) -> str:
    """Name of the size bin; the upper edge belongs to the bin, so 20.0 mm is `<=2`."""
    return next(name for name, (_, upper) in SIZE_BINS_MM.items() if diameter_mm <= upper)


def case_metrics(case: str, records: Sequence[LesionRecord]) -> CaseMetrics:
    """Counts and ratios of one case; its DSC takes the whole reference, specks included, as nnU-Net's does."""
    return _ratios(case, records, dsc=_dice([record for record in records if record.kind != "removed_candidate"]))


def lesion_metrics(records: RecordsByCase, *, min_iou: float) -> LesionMetrics:
    """All numbers over cases; `min_iou` is that of the matching rule."""
    cases = [case_metrics(case, of_case) for case, of_case in records.items()]
    kinds = [record.kind for of_case in records.values() for record in of_case]
    return LesionMetrics(
        n_cases=len(cases),
        all=_aggregate(cases, records, min_iou=min_iou),
        by_size={name: _aggregate_of_bin(name, records, min_iou=min_iou) for name in SIZE_BINS_MM},
        lesion_free=_lesion_free([metrics for metrics in cases if not metrics.has_lesion]),
        fp_per_scan=_ratio(sum(metrics.fp for metrics in cases), len(cases)),
        precision_where_defined=_mean([metrics.precision for metrics in cases if metrics.tp + metrics.fp]),
        dsc_all_cases=_mean([metrics.dsc for metrics in cases]),
        n_ignored_lesions=kinds.count("ignored_lesion"),
        n_neutral_candidates=kinds.count("neutral_candidate"),
        n_removed_candidates=kinds.count("removed_candidate"),
    )


def size_metrics(name: str, records: RecordsByCase) -> list[CaseMetrics]:
    """Counts and ratios of every case in one size bin; a case without a lesion of the bin has no ratios."""
    return [_ratios(case, chosen, dsc=_dice(chosen)) for case, chosen in _records_of_size(name, records).items()]


def _aggregate_of_bin(name: str, records: RecordsByCase, *, min_iou: float) -> Aggregate:
    return _aggregate(size_metrics(name, records), _records_of_size(name, records), min_iou=min_iou)


def _records_of_size(name: str, records: RecordsByCase) -> dict[str, list[LesionRecord]]:
    """Lesions of the bin, the candidates matched to them, and unmatched candidates whose own size is of the bin.

    Candidates matched to lesions of another bin are neutral.
    """
    return {
        case: [r for r in of_case if r.kind in ("TP", "FN", "FP") and size_bin(r.axial_diameter_mm) == name]
        for case, of_case in records.items()
    }


def _aggregate(metrics: Sequence[CaseMetrics], records: RecordsByCase, *, min_iou: float) -> Aggregate:
    cases = [of_case for of_case in metrics if of_case.has_lesion]
    tp, fp, fn = (sum(getattr(of_case, name) for of_case in cases) for name in ("tp", "fp", "fn"))
    return Aggregate(
        n_cases=len(cases),
        tp=tp,
        fp=fp,
        fn=fn,
        precision=_mean([of_case.precision for of_case in cases]),
        recall=_mean([of_case.recall for of_case in cases]),
        f1=_mean([of_case.f1 for of_case in cases]),
        dsc=_mean([of_case.dsc for of_case in cases]),
        pooled=Pooled(precision=_ratio(tp, tp + fp), recall=_ratio(tp, tp + fn), f1=_ratio(2 * tp, 2 * tp + fp + fn)),
        outside_roi=_outside_roi([r for of_case in records.values() for r in of_case], min_iou),
    )


def _lesion_free(cases: Sequence[CaseMetrics]) -> LesionFree:
    fp = sum(metrics.fp for metrics in cases)
    clean = sum(metrics.fp == 0 for metrics in cases)
    return LesionFree(
        n_cases=len(cases),
        fp=fp,
        fp_per_scan=_ratio(fp, len(cases)),
        n_clean=clean,
        clean_fraction=_ratio(clean, len(cases)),
    )


def _ratios(case: str, records: Sequence[LesionRecord], *, dsc: float | None) -> CaseMetrics:
    tp, fp, fn = (sum(record.kind == kind for record in records) for kind in ("TP", "FP", "FN"))
    has_lesion = tp + fn > 0
    return CaseMetrics(
        case=case,
        tp=tp,
        fp=fp,
        fn=fn,
        precision=(tp / (tp + fp) if tp + fp else 0.0) if has_lesion else None,
        recall=tp / (tp + fn) if has_lesion else None,
        f1=2 * tp / (2 * tp + fp + fn) if has_lesion else None,
        dsc=dsc,
    )


def _dice(records: Sequence[LesionRecord]) -> float | None:
    """Dice of all voxels of the lesions and all voxels of the candidates of some records; None for boxes."""
    if any(record.overlaps is None for record in records):
        return None
    candidates = {record.candidate.id: record.candidate for record in records if record.candidate is not None}
    lesions = [record.lesion for record in records if record.lesion is not None]
    voxels = sum(lesion.num_voxels for lesion in lesions) + sum(c.num_voxels for c in candidates.values())
    common = sum(shared for record in records for number, shared in record.overlaps or () if number in candidates)
    return _ratio(2 * common, voxels)


def _outside_roi(records: Sequence[LesionRecord], min_iou: float) -> OutsideROI:
    lesions = [record for record in records if record.kind in ("TP", "FN")]
    known = [(record, record.outside_roi_fraction) for record in lesions if record.outside_roi_fraction is not None]
    fractions = [fraction for _, fraction in known]
    return OutsideROI(
        n_lesions=len(known),
        mean_fraction=_ratio(sum(fractions), len(fractions)),
        n_over_10_percent=sum(fraction > 0.1 for fraction in fractions),
        n_over_50_percent=sum(fraction > 0.5 for fraction in fractions),
        fn_beyond_reach=sum(record.kind == "FN" and fraction > 1 - min_iou for record, fraction in known),
    )


def _mean(values: Sequence[float | None]) -> Mean:
    defined = [value for value in values if value is not None]
    if not defined:
        return Mean(mean=None, std=None, n=0)
    return Mean(mean=float(np.mean(defined)), std=float(np.std(defined)), n=len(defined))


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
