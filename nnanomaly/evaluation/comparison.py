"""Several methods on the same cases and references: what each found, in each form in which it can be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.bootstrap import Bootstrap, Interval, RatioOfSums, difference, interval, statistics
from nnanomaly.evaluation.case_pairs import CasePairs
from nnanomaly.evaluation.detection_curves import Detections, average_precision, froc, pool_detections
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_pairs
from nnanomaly.evaluation.metrics import SIZE_BINS_MM, LesionMetrics, case_metrics, lesion_metrics, size_metrics
from nnanomaly.evaluation.thresholds import Threshold

Form = Literal["masks", "boxes"]
CURVE_IOUS = (0.1, 0.2, 0.5)
MEAN_AP_IOUS = tuple(round(0.1 + 0.05 * step, 2) for step in range(9))
MAX_CANDIDATES_PER_SCAN = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One method in one form."""

    method: str
    """Name of the method."""
    form: Form
    """How it is compared: masks by voxel IoU, boxes by box IoU."""
    native: bool
    """Whether the method predicts in this form; else its masks were turned into boxes."""
    threshold: Threshold
    """From which score its candidates count."""
    rule: MatchRule
    """What counts as found."""
    pairs: Mapping[str, CasePairs]
    """Lesions and candidates of every case, those under the threshold too."""

    @property
    def records(self) -> dict[str, list[LesionRecord]]:
        """What became of lesions and candidates at the threshold."""
        return {case: match_pairs(p, self.rule, min_score=self.threshold.value) for case, p in self.pairs.items()}

    def detections(self, min_iou: float) -> Detections | None:
        """The best 100 candidates of every scan, whatever the threshold, matched best score first; None unscored."""
        rule = replace(self.rule, min_iou=min_iou, assignment="score")
        return pool_detections(
            {case: match_pairs(p, rule, max_candidates=MAX_CANDIDATES_PER_SCAN) for case, p in self.pairs.items()}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Numbers of the curves at one IoU."""

    min_iou: float
    """IoU of a match."""
    average_precision: float | None
    """At 101 recalls."""
    froc_score: float | None
    """Mean sensitivity at 1/8 ... 8 false positives per scan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All numbers of one method in one form."""

    compared: Compared
    """Method, form, threshold, rule."""
    records: dict[str, list[LesionRecord]]
    """What became of lesions and candidates."""
    metrics: LesionMetrics
    """Means, SD and counts."""
    intervals: dict[str, Interval]
    """Confidence intervals over all cases, by the names of `bootstrap.statistics`."""
    size_intervals: dict[str, dict[str, Interval]]
    """The same by size bin."""
    curves: list[Curves]
    """By IoU; empty if a candidate has no score."""
    mean_average_precision: float | None
    """Mean average precision over IoU 0.10, 0.15 ... 0.50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two methods in one form, paired by case."""

    first: str
    """A method."""
    second: str
    """Another one."""
    form: Form
    """How they are compared."""
    intervals: dict[str, Interval]
    """First minus second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything a comparison says."""

    dataset: str
    """Name of the dataset."""
    cases_from: str
    """Which cases were compared, in words."""
    rows: list[Row]
    """Methods in their own form, then masks as boxes."""
    differences: list[Difference]
    """Every two methods, in every form both have."""
    bootstrap: Bootstrap
    """How intervals were drawn."""
    left_out: dict[str, str]
    """Cases that could not be read, for any method, and why; they are in no number."""
    missing: dict[str, list[str]]
    """Missing predictions that count as empty, by method."""
    unfinished: dict[str, str] = field(default_factory=dict)
    """What the predictions lack of the cases that they were asked for, by method, where something is known to."""

    @property
    def cases(self) -> list[str]:
        """The compared cases."""
        return sorted(self.rows[0].records)


def compare(compared: Sequence[Compared], bootstrap: Bootstrap) -> tuple[list[Row], list[Difference]]:
    """All numbers of all methods, which must have the same cases, and the paired differences."""
    cases = sorted(compared[0].pairs)
    assert all(sorted(item.pairs) == cases for item in compared), "methods must have the same cases"
    weights = bootstrap.weights(len(cases))
    rows = [_row(item, cases, weights) for item in compared]
    numbers = [_statistics(row.records, cases) for row in rows]
    differences = [
        Difference(
            first=rows[i].compared.method,
            second=rows[j].compared.method,
            form=rows[i].compared.form,
            intervals={name: difference(numbers[i][name], numbers[j][name], weights) for name in numbers[i]},
        )
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
        if rows[i].compared.form == rows[j].compared.form
    ]
    return sorted(rows, key=lambda row: not row.compared.native), differences


def _row(item: Compared, cases: Sequence[str], weights: NDArray[np.float64]) -> Row:
    records = dict(sorted(item.records.items()))
    sizes = {name: statistics(size_metrics(name, records)) for name in SIZE_BINS_MM}
    return Row(
        compared=item,
        records=records,
        metrics=lesion_metrics(records, min_iou=item.rule.min_iou),
        intervals={name: interval(number, weights) for name, number in _statistics(records, cases).items()},
        size_intervals={
            size: {name: interval(number, weights) for name, number in numbers.items()}
            for size, numbers in sizes.items()
        },
        curves=_curves(item),
        mean_average_precision=_mean_average_precision(item),
    )


def _statistics(records: Mapping[str, list[LesionRecord]], cases: Sequence[str]) -> dict[str, RatioOfSums]:
    return statistics([case_metrics(case, records[case]) for case in cases])


def _curves(item: Compared) -> list[Curves]:
    curves = []
    for min_iou in sorted({*CURVE_IOUS, item.rule.min_iou}):
        detections = item.detections(min_iou)
        if detections is not None:
            curve = froc(detections)
            score = None if curve is None else curve.score
            found = average_precision(detections)
            curves.append(Curves(min_iou=min_iou, average_precision=found, froc_score=score))
    return curves


def _mean_average_precision(item: Compared) -> float | None:
    detections = [item.detections(min_iou) for min_iou in MEAN_AP_IOUS]
    values = [average_precision(found) for found in detections if found is not None]
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if len(defined) == len(MEAN_AP_IOUS) else None
