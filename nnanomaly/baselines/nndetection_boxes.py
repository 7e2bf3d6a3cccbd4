"""Predicted boxes of nnDetection, `{case}_boxes.pkl`: read and checked in every respect, and written.

nnDetection orders a box as (low 0, low 1, high 0, high 1, low 2, high 2) along the axes of SimpleITK's array, which are
our array axes; ITK's origin, spacing and direction are x, y, z. Its nnU-Net import leaves out `restore` and stores
whole numbers; no boxes are an array of shape (0, 6), or (1, 0).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly.baselines.restricted_pickle import load_pickle, require_keys, save_pickle
from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import shown, typed
from nnanomaly.volume import Grid, Triple

BOXES_PKL_ENDING = "_boxes.pkl"
_ITK = {"itk_origin": 3, "itk_spacing": 3, "itk_direction": 9}
_REQUIRED = {"pred_boxes", "pred_scores", "pred_labels", "original_size_of_raw_data", *_ITK}
_TO_OURS = [0, 1, 4, 2, 3, 5]
"""Column of nnDetection's box for each of ours."""
_TO_THEIRS = [0, 1, 3, 4, 2, 5]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxPrediction:
    """Boxes of a case and the grid they were predicted on."""

    scored: ScoredBoxes
    """Boxes and scores."""
    classes: NDArray[np.int64]
    """`[N]`, from 0."""
    grid: Grid
    """Grid of the image."""


def read_boxes(path: Path) -> BoxPrediction:
    """Read a prediction of nnDetection.

    Raises what `load_pickle` raises, and `DataError`: PKL-KEYS, BOX-RESTORE (boxes of the preprocessed image),
    BOX-SHAPE (arrays that do not fit each other), BOX-VALUE (NaN, an end before its start, a class that is no whole
    number), BOX-SCORE (outside [0, 1]), BOX-GRID (no sound grid).
    """
    content = require_keys(load_pickle(path), path, required=_REQUIRED, optional={"restore"})
    if not content.get("restore", True):
        raise DataError(
            "BOX-RESTORE", f"{path} has boxes of the preprocessed image (restore is False). Name val_predictions."
        )
    boxes = _numbers(content, "pred_boxes", path)
    if boxes.size % 6:
        raise DataError("BOX-SHAPE", f"{path}: pred_boxes has the shape {boxes.shape}, must be (N, 6). Predict again.")
    boxes = from_nndetection_order(boxes)
    scores, classes = (_numbers(content, key, path).ravel() for key in ("pred_scores", "pred_labels"))
    if not len(boxes) == len(scores) == len(classes):
        counts = f"{len(boxes)} boxes, {len(scores)} scores and {len(classes)} labels"
        raise DataError("BOX-SHAPE", f"{path} has {counts}. Predict again.")
    if (boxes[:, :3] >= boxes[:, 3:]).any():
        bad = int(np.flatnonzero((boxes[:, :3] >= boxes[:, 3:]).any(axis=1))[0])
        raise DataError("BOX-VALUE", f"{path}: box {bad} ends before it starts: {boxes[bad].tolist()}. Predict again.")
    if ((scores < 0) | (scores > 1)).any():
        bad = int(np.flatnonzero((scores < 0) | (scores > 1))[0])
        raise DataError("BOX-SCORE", f"{path}: score {bad} is {scores[bad]}, must lie in [0, 1]. Were logits stored?")
    if (classes != np.rint(classes)).any() or (classes < 0).any():
        raise DataError("BOX-VALUE", f"{path}: pred_labels holds {shown(classes.tolist())}, must be classes 0, 1 ...")
    scored = ScoredBoxes(boxes=boxes, scores=scores)
    return BoxPrediction(scored=scored, classes=classes.astype(np.int64), grid=_grid(content, path))


def write_boxes(path: Path, prediction: BoxPrediction) -> None:
    """Write a prediction with the keys and types of nnDetection's own; boxes without scores get the score 1."""
    scored, grid = prediction.scored, prediction.grid
    scores = np.ones(len(scored.boxes)) if scored.scores is None else scored.scores
    save_pickle(
        path,
        {
            "pred_boxes": to_nndetection_order(scored.boxes).astype(np.float32),
            "pred_scores": scores.astype(np.float32),
            "pred_labels": prediction.classes.astype(np.float32),
            "restore": True,
            "original_size_of_raw_data": np.array(grid.shape, dtype=np.int64),
            "itk_origin": grid.origin_mm[::-1],
            "itk_spacing": grid.spacing_mm[::-1],
            "itk_direction": tuple(float(value) for row in grid.direction[::-1] for value in row[::-1]),
        },
    )


def to_nndetection_order(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Our boxes `[N, 6]` with nnDetection's order of columns."""
    return boxes[:, _TO_THEIRS]


def from_nndetection_order(boxes: NDArray[np.number]) -> NDArray[np.float64]:
    """nnDetection's boxes, `(N, 6)` or empty of any shape, with our order of columns `[N, 6]`."""
    return np.asarray(boxes, dtype=float).reshape(-1, 6)[:, _TO_OURS]


def _numbers(content: dict[str, Any], key: str, path: Path) -> NDArray[np.float64]:
    """A numeric array as float64, all finite."""
    array = content[key]
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        found = getattr(array, "dtype", type(array).__name__)
        raise DataError("BOX-SHAPE", f"{path}: {key} is {found}, must be an array of numbers. Predict again.")
    if not np.isfinite(array).all():
        raise DataError("BOX-VALUE", f"{path}: {key} holds NaN or infinity. Predict again.")
    return np.asarray(array, dtype=np.float64)


def _grid(content: dict[str, Any], path: Path) -> Grid:
    """Grid from ITK's x, y, z metadata, reversed to the order of the array axes."""
    wanted = {"original_size_of_raw_data": 3, **_ITK}
    values = {}
    for key, length in wanted.items():
        given = content[key]
        plain = isinstance(given, np.ndarray | list | tuple) and len(given) == length
        array = (
            np.asarray(given) if plain and not any(isinstance(v, list | tuple | dict) for v in given) else np.empty(0)
        )
        if array.dtype.kind not in "fiu" or array.shape != (length,) or not np.isfinite(array).all():
            raise DataError("BOX-GRID", f"{path}: {key} is {shown(content[key])}, not {length} numbers. Predict again.")
        values[key] = array.astype(float)
    shape = values["original_size_of_raw_data"].astype(int).tolist()
    direction = values["itk_direction"].reshape(3, 3)[::-1, ::-1]
    rows = (_triple(direction[0]), _triple(direction[1]), _triple(direction[2]))
    spacing, origin = values["itk_spacing"][::-1], values["itk_origin"][::-1]
    document = {
        "shape": shape,
        "spacing_mm": spacing.tolist(),
        "origin_mm": origin.tolist(),
        "direction": list(map(list, rows)),
    }
    try:
        return typed(Grid, document, source=f"{path}: grid", remedy="Predict again.")
    except DataError as error:
        raise DataError("BOX-GRID", error.message) from error


def _is_flat(given: Any, length: int) -> bool:
    """Whether something is one list of that many numbers: numpy would walk through lists within lists first."""
    if isinstance(given, np.ndarray):
        return given.shape == (length,)
    return (
        isinstance(given, list | tuple)
        and len(given) == length
        and all(isinstance(v, int | float | np.number) for v in given)
    )


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
