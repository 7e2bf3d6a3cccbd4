"""Folds of nnDetection: read, compared, written."""

import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from nnanomaly.baselines.nndetection_splits import find_splits, read_splits, write_splits
from nnanomaly.baselines.restricted_pickle import load_pickle
from nnanomaly.dataset.splits import load_splits, make_splits
from nnanomaly.utilities.errors import DataError

KITS = [f"case_{number:05d}" for number in [*range(300), *range(400, 589)]]


def _nndetection_splits(cases: list[str]) -> list[OrderedDict[str, np.ndarray]]:
    """nnDetection's recipe, written out."""
    ordered = np.sort(cases)
    folds = KFold(n_splits=5, random_state=12345, shuffle=True).split(ordered)
    return [OrderedDict(train=ordered[train], val=ordered[val]) for train, val in folds]


def test_our_default_folds_are_those_of_nndetection_on_the_kits_ids(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.pkl"
    path.write_bytes(pickle.dumps(_nndetection_splits(KITS), protocol=4))
    splits, test = read_splits(path)
    assert len(KITS) == 489
    assert make_splits(KITS) == splits
    assert test == []


def test_the_folds_of_the_sample_are_the_same_in_all_three_tools(baselines_sample: Path) -> None:
    task = baselines_sample / "det_data" / "Task501_KitsSample"
    model = baselines_sample / "det_models" / "Task501_KitsSample" / "RetinaUNetV001_D3V001_3d"
    source = find_splits(task, [model])
    assert source == model / "fold0" / "splits.pkl"
    splits, _ = read_splits(source)
    nnunet = baselines_sample / "nnUNet_preprocessed" / "Dataset501_KitsSample" / "splits_final.json"
    assert splits == load_splits(nnunet)
    assert splits == make_splits(splits[0]["train"] + splits[0]["val"])


def test_what_is_written_is_what_nndetection_writes(tmp_path: Path) -> None:
    write_splits(tmp_path / "splits.pkl", [{"train": ["b", "c"], "val": ["a"]}])
    (content,) = load_pickle(tmp_path / "splits.pkl")
    assert type(content) is OrderedDict
    assert list(content) == ["train", "val"]
    assert content["train"].dtype == np.dtype("<U1")
    assert content["train"].tolist() == ["b", "c"]


def test_lists_and_a_test_side_are_read(tmp_path: Path) -> None:
    path = tmp_path / "splits_final.pkl"
    path.write_bytes(pickle.dumps([{"train": ["a"], "val": ["b"], "test": np.array(["c"])}]))
    assert read_splits(path) == ([{"train": ["a"], "val": ["b"]}], ["c"])


@pytest.mark.parametrize("content", [{}, [], [{"train": ["a"]}], [{"train": ["a"], "val": [1]}], [["a"], ["b"]]])
def test_another_form_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "splits_final.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"SPLIT-FORM.*splits_final\.pkl"):
        read_splits(path)


def test_files_that_disagree_are_refused_with_both_named(tmp_path: Path) -> None:
    task, model = tmp_path / "Task501_A", tmp_path / "model"
    write_splits(task / "preprocessed" / "splits_final.pkl", [{"train": ["a"], "val": ["b"]}])
    assert find_splits(task, [model]) == task / "preprocessed" / "splits_final.pkl"
    write_splits(model / "fold0" / "splits.pkl", [{"train": ["a"], "val": ["b"]}])
    assert find_splits(task, [model]) == model / "fold0" / "splits.pkl"
    write_splits(model / "fold1" / "splits.pkl", [{"train": ["b"], "val": ["a"]}])
    with pytest.raises(DataError, match=r"SPLIT-CONFLICT.*fold0/splits\.pkl and .*fold1/splits\.pkl differ"):
        find_splits(task, [model])
