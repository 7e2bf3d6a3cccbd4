"""One case from its files: read reference and prediction, check that they lie on one grid, count voxels, match lesions.

Beside a prediction `{case}.nii.gz` there may be `detections/{case}_boxes.json`: its "patches" (documents of `Grid`)
tell what the crop to the organ patches left out, its "candidates" (`start`, `stop`, `score`) give scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.ignored import without_ignored
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_case
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.reordering import Reordering, require_same_voxels
from nnanomaly.roi.candidates_file import CandidateDocument, CandidatesDocument, patch_grid, read_candidates_file
from nnanomaly.roi.components import Component
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Box, Grid, Shape, Volume

GEOMETRY_TOLERANCE_MM = 0.1
"""How far apart corners may lie: above the rounding of headers, far below a voxel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFiles:
    """Where a case lies."""

    case: str
    """Case id."""
    reference: Path
    """Reference label map."""
    prediction: Path | None
    """Predicted label map; None counts as empty."""
    boxes: Path | None
    """Candidates and patches, if the predictor wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What evaluation learned of one case."""

    files: CaseFiles
    """Its files."""
    records: list[LesionRecord]
    """What became of its lesions and candidates."""
    voxels: dict[str, int]
    """TP, FP, FN, TN voxels of the lesion masks, before any size floor."""
    has_other_labels: bool
    """Whether the prediction holds labels that are no lesions."""


def evaluate_case(files: CaseFiles, *, labels: LesionLabels, rule: MatchRule) -> CaseResult:
    """Read and match one case. Raises what the reader raises, and `DataError`: GEO-PAIR, LABEL-VALUE, JSON."""
    reference, ignored = read_reference(files.reference, labels)
    prediction, order, has_other_labels = _prediction_or_empty(files, reference.grid, labels)
    patches, score = _read_patches(files.boxes), read_scores(files.boxes, order)
    prediction, score = without_ignored(prediction, ignored, score, connectivity=rule.connectivity)
    records = match_case(prediction, reference, rule, case=files.case, score=score, patches=patches)
    voxels = _voxel_counts(reference.array, prediction.array)
    voxels["TN"] -= 0 if ignored is None else int(np.count_nonzero(ignored))
    return CaseResult(files=files, records=records, voxels=voxels, has_other_labels=has_other_labels)


def read_mask(path: Path, values: tuple[int, ...]) -> Volume:
    """Mask of the union of some labels of a label map. Raises what the reader raises."""
    return _lesions(reader_writer_for(path).read_labels(path), values)


def read_reference(path: Path, labels: LesionLabels) -> tuple[Volume, NDArray[np.bool_] | None]:
    """Mask of the lesions of a reference, and its ignored voxels `[Z, Y, X]` or None; raises as `read_mask`."""
    volume = reader_writer_for(path).read_labels(path)
    ignored = None if labels.ignored is None else volume.array[0] == labels.ignored
    return _lesions(volume, labels.reference), ignored if ignored is not None and ignored.any() else None


def read_scores(path: Path | None, order: Reordering | None = None) -> Callable[[Component], float | None]:
    """The score of a component by its box, from a candidates file; None for components that it does not list.

    `order` is how the mask of the components was reordered since the file was written.
    """
    scores = _scores(_read_document(path).get("candidates", []), order)
    return lambda component: scores.get((component.box.start, component.box.stop))


def order_of(prediction: Grid, path: Path, *, reference: Grid, reference_path: Path) -> Reordering:
    """How a prediction is brought onto the grid of its reference; `DataError` (GEO-PAIR) where it cannot."""
    return require_same_voxels(
        prediction, path, grid=reference, image=reference_path, tolerance_mm=GEOMETRY_TOLERANCE_MM
    )


def read_prediction(path: Path, labels: LesionLabels) -> tuple[Volume, bool]:
    """Mask of the predicted lesions, and whether the file holds other labels.

    Raises what the reader raises, and `DataError` (LABEL-VALUE) for a label that cannot be.
    """
    volume = reader_writer_for(path).read_labels(path)
    largest, allowed = int(volume.array.max(initial=0)), labels.largest_prediction_label
    if allowed is not None and largest > allowed:
        raise DataError(
            "LABEL-VALUE",
            f"{path} holds the label {largest}, but its labels end at {allowed}. Name those that are "
            "lesions: -pred_labels 1 (nnanomaly_compare: -pred_labels NAME=1).",
        )
    lesions = _lesions(volume, labels.prediction)
    return lesions, bool(np.count_nonzero(volume.array) > np.count_nonzero(lesions.array))


def _prediction_or_empty(files: CaseFiles, grid: Grid, labels: LesionLabels) -> tuple[Volume, Reordering | None, bool]:
    """Mask of a prediction on the grid of its reference, how it was brought there, and whether it has other labels."""
    if files.prediction is None:
        return Volume(np.zeros((1, *grid.shape), dtype=bool), grid), None, False
    stored, has_other_labels = read_prediction(files.prediction, labels)
    order = order_of(stored.grid, files.prediction, reference=grid, reference_path=files.reference)
    return Volume(order.array(stored.array), grid), order, has_other_labels


def _lesions(volume: Volume, values: tuple[int, ...]) -> Volume:
    """Mask of the union of some labels."""
    mask = volume.array == values[0]
    for value in values[1:]:
        mask |= volume.array == value
    return Volume(mask, volume.grid)


def _read_document(path: Path | None) -> CandidatesDocument:
    """The candidates file; empty if there is none."""
    return {} if path is None else read_candidates_file(path)


def _read_patches(path: Path | None) -> list[Grid] | None:
    """Grids of the patches; None if unknown."""
    patches = _read_document(path).get("patches")
    return None if patches is None else [patch_grid(patch) for patch in patches]


def _scores(candidates: list[CandidateDocument], order: Reordering | None) -> dict[tuple[Shape, Shape], float]:
    scores = {}
    for candidate in candidates:
        if {"start", "stop", "score"} <= set(candidate):
            stored = Box(candidate["start"], candidate["stop"])
            box = stored if order is None else order.box(stored)
            scores[box.start, box.stop] = candidate["score"]
    return scores


def _voxel_counts(reference: NDArray[np.generic], prediction: NDArray[np.generic]) -> dict[str, int]:
    n_ref, n_pred = int(np.count_nonzero(reference)), int(np.count_nonzero(prediction))
    tp = int(np.count_nonzero(np.logical_and(reference, prediction)))
    return {"TP": tp, "FP": n_pred - tp, "FN": n_ref - tp, "TN": reference.size - n_ref - n_pred + tp}
