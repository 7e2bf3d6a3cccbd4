"""Task -> dataset -> task keeps instances, classes and folds; what cannot be converted leaves nothing behind."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.baselines.export_nndetection import boxes_gt, export_dataset, export_rule, find_instances
from nnanomaly.baselines.export_predictions import export_predictions
from nnanomaly.baselines.import_nndetection import ImportOptions, import_task
from nnanomaly.baselines.nndetection_splits import read_splits, write_splits
from nnanomaly.baselines.nndetection_task import load_task, read_instances, task_cases
from nnanomaly.dataset.splits import load_splits, make_splits
from nnanomaly.utilities.errors import ConfigurationError, DataError

FOLDS = make_splits(["a0", "a1", "a2", "a3", "a4"])


def _array(path: Path) -> np.ndarray:
    return np.asarray(nibabel.load(path).dataobj).transpose(2, 1, 0)


def _export(dataset: Path, root: Path, lesion_values: tuple[int, ...] = (1, 2)) -> Path:
    root.mkdir()
    document = json.loads((dataset / "dataset.json").read_text())
    rule = export_rule(document, lesion_values, min_size_mm=None)
    return export_dataset(dataset, root, rule=rule, splits=load_splits(dataset / "splits_final.json"))


def _assert_equal_tasks(first: Path, second: Path) -> None:
    one, other = load_task(first), load_task(second)
    assert one.document == other.document
    for part in ("Tr", "Ts"):
        cases = task_cases(one, part)
        assert cases == task_cases(other, part)
        for case in cases:
            (volume, classes), (again, classes_again) = (read_instances(task, part, case) for task in (one, other))
            assert classes == classes_again
            np.testing.assert_array_equal(volume.array, again.array)
            assert volume.grid == again.grid
            images = [task.images(part) / f"{case}_0000.nii.gz" for task in (one, other)]
            assert images[0].read_bytes() == images[1].read_bytes()
            stuff = [_array(task.labels(part) / f"{case}_stuff.nii.gz") for task in (one, other)]
            np.testing.assert_array_equal(*stuff)


def test_a_task_becomes_a_dataset_with_the_same_folds(task_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = task_folder()
    write_splits(folder / "preprocessed" / "splits_final.pkl", FOLDS)
    dataset = import_task(folder, tmp_path, options=ImportOptions(organs=("kidney_left",)))
    assert dataset == tmp_path / "Dataset501_Kidney"
    assert load_splits(dataset / "splits_final.json") == FOLDS
    document = json.loads((dataset / "dataset.json").read_text())
    assert document["labels"] == {"background": 0, "tumor": 1, "cyst": 2, "kidney": 3}
    assert document["nnanomaly"] == {"lesion_labels": ["tumor", "cyst"], "organs": ["kidney_left"]}
    assert (document["numTraining"], document["channel_names"], document["file_ending"]) == (5, {"0": "CT"}, ".nii.gz")
    labels = _array(dataset / "labelsTr" / "a0.nii.gz")
    assert labels.dtype == np.uint8
    assert [labels[5, 6, 7], labels[0, 0, 20], labels[9, 12, 5], labels[11, 19, 0]] == [1, 2, 3, 0]


def test_the_original_masks_can_be_taken_unchanged(task_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = task_folder()
    dataset = import_task(folder, tmp_path, options=ImportOptions(labels="original"))
    document = json.loads((dataset / "dataset.json").read_text())
    assert document["labels"] == {"background": 0, "tumor": 2, "cyst": 3, "kidney": 1}
    original = folder / "raw_splitted" / "labelsTr" / "a0_orig.nii.gz"
    assert (dataset / "labelsTr" / "a0.nii.gz").read_bytes() == original.read_bytes()
    assert load_splits(dataset / "splits_final.json") == FOLDS  # without a file the default folds


@pytest.mark.parametrize("labels", ["instances", "original"])
def test_the_round_trip_gives_equal_tasks(labels: str, task_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = task_folder()
    write_splits(folder / "preprocessed" / "splits_final.pkl", FOLDS)
    dataset = import_task(folder, tmp_path, options=ImportOptions(labels=labels))
    back = _export(dataset, tmp_path / "back")
    _assert_equal_tasks(folder, back)
    assert read_splits(back / "preprocessed" / "splits_final.pkl") == (FOLDS, [])
    gt = np.load(back / "preprocessed" / "labelsTr" / "a0_boxes_gt.npz", allow_pickle=False)
    # Tumor 4..7, 5..8, 6..9; cyst 0..2, 0..3, 20..23 at the lower ends of two axes and the upper end of the third.
    assert gt["boxes"].tolist() == [[3, 4, 8, 9, 5, 10], [-1, -1, 3, 4, 19, 24]]
    assert gt["classes"].tolist() == [0, 1]


def test_the_round_trip_of_the_sample(baselines_sample: Path, tmp_path: Path) -> None:
    folder = baselines_sample / "det_data" / "Task501_KitsSample"
    models = [baselines_sample / "det_models" / "Task501_KitsSample" / "RetinaUNetV001_D3V001_3d"]
    for number, labels in ((501, "instances"), (502, "original")):
        options = ImportOptions(labels=labels, number=number)
        dataset = import_task(folder, tmp_path, model_folders=models, options=options)
        back = _export(dataset, tmp_path / labels)
        _assert_equal_tasks(folder, back)
        splits = [read_splits(task / "preprocessed" / "splits_final.pkl") for task in (folder, back)]
        assert splits[0] == splits[1]
        for gt in sorted(folder.glob("preprocessed/labelsT?/*_boxes_gt.npz")):
            theirs, ours = (np.load(root / gt.relative_to(folder), allow_pickle=False) for root in (folder, back))
            for key in ("boxes", "classes"):
                assert (ours[key].dtype, ours[key].shape) == (theirs[key].dtype, theirs[key].shape)
            rows = [sorted(arrays["boxes"].tolist()) for arrays in (theirs, ours)]
            assert rows[0] == rows[1], gt.name


def test_boxes_hold_at_the_borders_and_without_instances() -> None:
    labels = np.ones((3, 4, 5), dtype=np.uint8)
    rule = export_rule({"labels": {"background": 0, "lesion": 1}}, (1,), min_size_mm=0.0)
    found = boxes_gt(find_instances(labels, (1.0, 1.0, 1.0), rule))
    assert found["boxes"].tolist() == [[-1, -1, 3, 4, -1, 5]]
    assert found["boxes"].dtype == found["classes"].dtype == np.int64
    nothing = boxes_gt(find_instances(np.zeros_like(labels), (1.0, 1.0, 1.0), rule))
    assert (nothing["boxes"].shape, nothing["classes"].shape) == ((1, 0), (0,))


def test_instances_must_be_longer_than_the_smallest_size_in_the_two_finer_axes() -> None:
    labels = np.zeros((4, 12, 12), dtype=np.uint8)
    labels[0, 0:2, 0:2] = 1  # boxes of 3 x 3 voxels of 1 mm: not longer than 3 mm
    labels[2, 0:3, 6:9] = 1  # 4 x 4 mm, one slice
    labels[2, 6:7, 0:8] = 1  # 2 x 9 mm
    rule = export_rule({"labels": {"background": 0, "lesion": 1}}, (1,), min_size_mm=3.0)
    (kept,) = find_instances(labels, (5.0, 1.0, 1.0), rule)
    assert [component.box.start for component in kept] == [(2, 0, 6)]


def test_labels_that_were_no_task_become_one_class_and_stuff() -> None:
    document = {"labels": {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3}}
    rule = export_rule(document, (2, 3), min_size_mm=None)
    assert rule.classes == (("lesion", (2, 3)),)
    assert rule.stuff == (("kidney", (1,)),)
    assert rule.min_size_mm == 0


def test_touching_instances_are_named_before_they_become_one(
    task_folder: Callable[..., Path], tmp_path: Path, write_nifti: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = task_folder()
    instances = np.zeros((12, 20, 24), dtype=np.uint8)
    instances[4, 4, 4:8], instances[4, 4, 8:12] = 1, 2
    write_nifti(folder / "raw_splitted" / "labelsTr" / "a0.nii.gz", instances, spacing_mm=(3.0, 1.0, 1.0))
    (folder / "raw_splitted" / "labelsTr" / "a0.json").write_text('{"instances": {"1": 0, "2": 0}}')
    import_task(folder, tmp_path)
    assert "a0: 2 instances of class 0 become 1 components" in caplog.text


def test_what_is_wrong_is_named_and_nothing_is_left(task_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder, raw = task_folder(), tmp_path / "raw"
    raw.mkdir()
    splits = folder / "preprocessed" / "splits_final.pkl"
    write_splits(splits, [{"train": ["a0"], "val": ["ghost"]}])
    with pytest.raises(DataError, match=r"SPLIT-CASES.*splits_final\.pkl.*ghost"):
        import_task(folder, raw)
    write_splits(splits, [{"train": ["a0"], "val": ["a0"]}])
    with pytest.raises(DataError, match=r"SPLIT-LEAK.*splits_final\.pkl.*a0"):
        import_task(folder, raw)
    write_splits(splits, [{"train": ["a0"], "val": ["a.1"]}])
    with pytest.raises(DataError, match=r"TASK-ID.*splits_final\.pkl.*a\.1"):
        import_task(folder, raw)
    splits.unlink()
    (folder / "raw_splitted" / "labelsTr" / "t0.json").write_text('{"instances": {}}')
    with pytest.raises(DataError, match=r"TASK-CASES.*t0"):
        import_task(folder, raw)
    (folder / "raw_splitted" / "labelsTr" / "t0.json").unlink()
    (folder / "raw_splitted" / "imagesTr" / "a1_0000.nii.gz").rename(tmp_path / "away.nii.gz")
    with pytest.raises(DataError, match=r"DATA-CHANNEL.*a1_0000\.nii\.gz"):
        import_task(folder, raw)
    (tmp_path / "away.nii.gz").rename(folder / "raw_splitted" / "imagesTr" / "a1_0000.nii.gz")
    (folder / "raw_splitted" / "labelsTr" / "a1.json").write_text('{"instances": {}}')
    with pytest.raises(DataError, match=r"TASK-LABELS.*1 of 6.*a1.*TASK-INSTANCES"):
        import_task(folder, raw)
    assert list(raw.iterdir()) == []
    (raw / "Dataset501_Other").mkdir()
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*Dataset501_Other"):
        import_task(folder, raw)


def test_the_plan_of_a_trained_model_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "consolidated" / "test_predictions"
    folder.parent.mkdir()
    (folder.parent / "plan.pkl").write_bytes(b"theirs")
    export_predictions({}, (1,), folder)
    assert (folder.parent / "plan.pkl").read_bytes() == b"theirs"
