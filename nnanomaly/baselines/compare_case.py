"""One case for all methods: the reference is read and measured once, then each prediction is paired with it.

A mask is paired twice, as a mask and as boxes, so that it can be compared with methods that only have boxes. The size
floor is the same for every mask method, in both forms; boxes that were predicted as boxes have no floor.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from nnanomaly.baselines.nndetection_boxes import read_boxes
from nnanomaly.baselines.nnunet_scores import read_probability_scores
from nnanomaly.baselines.prediction_sources import Kind, PredictionFiles
from nnanomaly.evaluation.boxes import ScoredBoxes, reordered_boxes
from nnanomaly.evaluation.case_pairs import (
    CasePairs,
    Measured,
    boxes_of_mask,
    measure_mask,
    measure_reference,
    pair_boxes,
    pair_masks,
)
from nnanomaly.evaluation.evaluate_case import order_of, read_prediction, read_reference, read_scores
from nnanomaly.evaluation.ignored import boxes_without_ignored, without_ignored
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.volume import Volume

Representation = Literal["masks", "boxes"]
Key = tuple[str, Representation]
"""Method and the form in which it is compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodCase:
    """What one method has for a case."""

    kind: Kind
    """Whether it predicts masks or boxes."""
    files: PredictionFiles
    """Its files."""
    labels: LesionLabels
    """Which label values are lesions."""
    classes: tuple[int, ...] = ()
    """Which classes of predicted boxes are lesions; empty: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedCase:
    """A case with its reference and the predictions of all methods."""

    case: str
    """Case id."""
    reference: Path
    """Reference label map."""
    methods: dict[str, MethodCase]
    """What every method has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCase:
    """What was measured of a case."""

    pairs: dict[Key, CasePairs]
    """Pairs of every method and form."""
    labels_found: dict[str, tuple[bool, bool]]
    """Whether the mask of a method holds lesion labels, and others."""


def measure_case(case: ComparedCase, *, rule: MatchRule, aggregate: str) -> MeasuredCase:
    """Read and measure a case. `rule`: connectivity and floors of masks. Raises what reading raises."""
    reference, ignored = read_reference(case.reference, next(iter(case.methods.values())).labels)
    drawn = measure_reference(reference, connectivity=rule.connectivity)
    pairs: dict[Key, CasePairs] = {}
    labels_found = {}
    for name, method in case.methods.items():
        if method.kind == "boxes":
            boxes = boxes_without_ignored(_boxes(case, method, drawn), ignored)
            pairs[name, "boxes"] = pair_boxes(boxes, drawn, case=case.case)
        else:
            found, labels_found[name] = _mask(case, method, reference, ignored, rule=rule, aggregate=aggregate)
            pairs[name, "masks"] = pair_masks(found, drawn, case=case.case)
            pairs[name, "boxes"] = pair_boxes(boxes_of_mask(found), drawn, case=case.case)
    return MeasuredCase(pairs=pairs, labels_found=labels_found)


def _boxes(case: ComparedCase, method: MethodCase, drawn: Measured) -> ScoredBoxes:
    if method.files.prediction is None:
        return ScoredBoxes(boxes=np.zeros((0, 6)), scores=np.zeros(0))
    prediction = read_boxes(method.files.prediction)
    order = order_of(prediction.grid, method.files.prediction, reference=drawn.grid, reference_path=case.reference)
    kept = np.isin(prediction.classes, method.classes) if method.classes else np.ones(len(prediction.classes), bool)
    scores = prediction.scored.scores
    boxes = reordered_boxes(prediction.scored.boxes[kept], order)
    return ScoredBoxes(boxes=boxes, scores=None if scores is None else scores[kept])


def _mask(
    case: ComparedCase,
    method: MethodCase,
    reference: Volume,
    ignored: NDArray[np.bool_] | None,
    *,
    rule: MatchRule,
    aggregate: str,
) -> tuple[Measured, tuple[bool, bool]]:
    """Candidates of a mask, and whether it holds lesion labels and others."""
    files = method.files
    if files.prediction is None:
        empty = Volume(np.zeros((1, *reference.grid.shape), dtype=bool), reference.grid)
        return measure_mask(empty, connectivity=rule.connectivity, floor=rule.candidate_floor), (False, False)
    stored, has_other_labels = read_prediction(files.prediction, method.labels)
    order = order_of(stored.grid, files.prediction, reference=reference.grid, reference_path=case.reference)
    mask = Volume(order.array(stored.array), reference.grid)
    score = read_scores(files.candidates, order)
    if files.candidates is None and files.probabilities is not None:
        values = method.labels.prediction
        score = read_probability_scores(files.probabilities, values, order, aggregate=aggregate)
    has_lesions = bool(mask.array.any())
    mask, score = without_ignored(mask, ignored, score, connectivity=rule.connectivity)
    found = measure_mask(mask, connectivity=rule.connectivity, floor=rule.candidate_floor, score=score)
    return found, (has_lesions, has_other_labels)
