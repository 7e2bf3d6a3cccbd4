"""Mask predictions as box predictions of nnDetection, in the folders where its evaluation looks for them.

Every component of a mask becomes a box in nnDetection's convention. Its score is that of the candidates file; scores
of ours are z-scores or HU and are squeezed into [0, 1) by s / (1 + s), which keeps their order and with it average
precision and FROC. A component without a score gets 1.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.baselines.nndetection_boxes import BOXES_PKL_ENDING, BoxPrediction, write_boxes
from nnanomaly.baselines.prediction_sources import PredictionFiles
from nnanomaly.baselines.restricted_pickle import save_pickle
from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.evaluation.case_pairs import boxes_of_mask, measure_mask
from nnanomaly.evaluation.evaluate_case import read_mask, read_scores
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.utilities.errors import ConfigurationError

PLAN_PKL = "plan.pkl"


def export_predictions(
    predictions: Mapping[str, PredictionFiles], lesion_values: tuple[int, ...], folder: Path
) -> None:
    """Write the boxes of every case to a folder such as `.../consolidated/test_predictions`.

    Raises `ConfigurationError` (CFG-OUTPUT) if the folder exists, and what reading raises; then nothing is written.
    The plan beside it, which nnDetection's evaluation opens, is that of its model where there is one.
    """
    if folder.exists():
        raise ConfigurationError("CFG-OUTPUT", f"{folder} exists already. Delete it or move it away.")
    boxes = {case: _boxes(files, lesion_values) for case, files in predictions.items()}
    for case, prediction in boxes.items():
        write_boxes(folder / f"{case}{BOXES_PKL_ENDING}", prediction)
    plan = folder.parent / PLAN_PKL
    if not os.path.lexists(plan):
        save_pickle(plan, {})


def _boxes(files: PredictionFiles, lesion_values: tuple[int, ...]) -> BoxPrediction:
    assert files.prediction is not None, files
    mask = read_mask(files.prediction, lesion_values)
    everything = SizeFloor(min_voxels=0, min_diameter_mm=0.0)
    found = measure_mask(mask, connectivity=26, floor=everything, score=read_scores(files.candidates))
    scored = boxes_of_mask(found)
    scores = None if scored.scores is None else squeeze(scored.scores)
    return BoxPrediction(
        scored=ScoredBoxes(boxes=scored.boxes, scores=scores),
        classes=np.zeros(len(scored.boxes), dtype=np.int64),
        grid=mask.grid,
    )


def squeeze(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores from 0 upwards into [0, 1) without changing their order; the same for every case."""
    return np.asarray(np.clip(scores, 0, None) / (1 + np.clip(scores, 0, None)))
