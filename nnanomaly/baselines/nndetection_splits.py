"""Folds of nnDetection: the task's `splits_final.pkl`, and the copy `fold{k}/splits.pkl` that a trained fold used.

The copy is what a model saw, so it wins; but files that disagree are refused, because then some of the predictions
belong to other cases than their fold says.
"""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnanomaly.baselines.nndetection_task import TASK_PREPROCESSED
from nnanomaly.baselines.restricted_pickle import load_pickle, save_pickle
from nnanomaly.dataset.splits import SIDES, Split
from nnanomaly.utilities.errors import DataError

SPLITS_PKL, FOLD_SPLITS_PKL = "splits_final.pkl", "splits.pkl"


def read_splits(path: Path) -> tuple[list[Split], list[str]]:
    """Folds, and the cases that the first one keeps for a test, of a pickle of nnDetection.

    Raises what `load_pickle` raises, and `DataError` (SPLIT-FORM).
    """
    content = load_pickle(path)
    sound = isinstance(content, list) and len(content) > 0 and all(_is_split(item) for item in content)
    if not sound:
        raise DataError("SPLIT-FORM", f"{path} must be a list of folds with the cases of train and val. Make it anew.")
    splits: list[Split] = [{side: [str(case) for case in item[side]] for side in SIDES} for item in content]
    return splits, [str(case) for case in content[0].get("test", [])]


def write_splits(path: Path, splits: Sequence[Split]) -> None:
    """Write folds as nnDetection does: ordered dictionaries of text arrays."""
    save_pickle(path, [OrderedDict((side, np.array(split[side], dtype=np.str_)) for side in SIDES) for split in splits])


def find_splits(task_folder: Path, model_folders: Sequence[Path]) -> Path | None:
    """The file with the folds of a task: that of a trained fold, else the task's own, else None.

    Raises `DataError` (SPLIT-CONFLICT, both files named) if two of them differ.
    """
    trained = [path for folder in model_folders for path in sorted(folder.glob(f"fold*/{FOLD_SPLITS_PKL}"))]
    own = task_folder / TASK_PREPROCESSED / SPLITS_PKL
    files = [*trained, *([own] if own.is_file() else [])]
    for path in files[1:]:
        if read_splits(path) != read_splits(files[0]):
            raise DataError(
                "SPLIT-CONFLICT", f"{files[0]} and {path} differ. Leave out or delete the one that is wrong."
            )
    return files[0] if files else None


def _is_split(item: object) -> bool:
    return isinstance(item, dict) and set(SIDES) <= set(item) <= {*SIDES, "test"} and all(map(_are_ids, item.values()))


def _are_ids(cases: object) -> bool:
    if isinstance(cases, np.ndarray):
        return cases.dtype.kind == "U" and cases.ndim == 1 or cases.size == 0
    return isinstance(cases, list | tuple) and all(isinstance(case, str) for case in cases)
