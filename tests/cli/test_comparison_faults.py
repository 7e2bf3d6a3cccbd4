"""What `nnanomaly_compare` and its neighbours answer to bad input: one line, a code, a status that is not 0."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.baselines.nndetection_boxes import BoxPrediction, read_boxes, write_boxes
from nnanomaly.baselines.nndetection_splits import write_splits
from nnanomaly.baselines.restricted_pickle import load_pickle
from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.imageio.nifti import read_labels

CASES = ("t0", "t1")
TRAINING = ("a0", "a1", "a2", "a3", "a4")
SPACING_MM = (3.0, 1.0, 1.0)


class Place:
    """A dataset of two test cases with a lesion each, and predictions that are right."""

    def __init__(self, root: Path, write_nifti: Callable[..., Path]) -> None:
        self.raw, self.masks, self.boxes = root / "raw" / "Dataset501_Kidney", root / "masks", root / "boxes"
        self.write_nifti = write_nifti
        self.raw.mkdir(parents=True)
        document = {
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, "lesion": 1},
            "numTraining": len(TRAINING),
            "file_ending": ".nii.gz",
            "nnanomaly": {"lesion_labels": ["lesion"], "organs": ["kidney_left"]},
        }
        (self.raw / "dataset.json").write_text(json.dumps(document))
        for part, cases in (("Tr", TRAINING), ("Ts", CASES)):
            for case in cases:
                self.write_mask(self.raw / f"labels{part}" / f"{case}.nii.gz")
                write_nifti(self.raw / f"images{part}" / f"{case}_0000.nii.gz", np.zeros((10, 20, 20), np.int16))
        for case in CASES:
            self.write_mask(self.masks / f"{case}.nii.gz")
            self.write_box(case)

    def write_mask(self, path: Path, *, origin_mm: tuple[float, ...] = (0, 0, 0), size: int = 6) -> None:
        mask = np.zeros((10, 20, 20), np.uint8)
        mask[3:6, 5 : 5 + size, 5 : 5 + size] = 1
        self.write_nifti(path, mask, spacing_mm=SPACING_MM, origin_mm=origin_mm)

    def write_box(self, case: str) -> None:
        grid = read_labels(self.raw / "labelsTs" / f"{case}.nii.gz").grid
        scored = ScoredBoxes(boxes=np.array([[2.0, 4, 4, 6, 11, 11]]), scores=np.array([0.9]))
        prediction = BoxPrediction(scored=scored, classes=np.array([0]), grid=grid)
        write_boxes(self.boxes / f"{case}_boxes.pkl", prediction)

    def change_box(self, case: str, **changes: object) -> None:
        path = self.boxes / f"{case}_boxes.pkl"
        path.write_bytes(pickle.dumps({**load_pickle(path), **changes}))

    def flags(self) -> list[object]:
        boxes = ("--nndetection", self.boxes, "-threshold", "0.5")
        return ["-d", "501", "--nnunet", self.masks, *boxes, "-o", "out", "-num_draws", "10"]


@pytest.fixture
def place(shell: Any, tmp_path: Path, write_nifti: Callable[..., Path]) -> Place:
    return Place(tmp_path, write_nifti)


def _f1() -> dict[str, float]:
    methods = json.loads(Path("out/detection_summary.json").read_text())["methods"]
    return {f"{item['method']} {item['as']}": item["metrics"]["all"]["f1"]["mean"] for item in methods}


def test_right_predictions_are_right(place: Place, shell: Any) -> None:
    assert shell("compare", *place.flags()) == 0
    assert _f1() == {"nnunet masks": 1.0, "nndetection boxes": 1.0, "nnunet boxes": 1.0}


def test_classes_of_boxes_can_be_chosen(place: Place, shell: Any) -> None:
    for case in CASES:
        place.change_box(case, pred_labels=np.array([1], np.float32))
    assert shell("compare", *place.flags()) == 0
    assert _f1()["nndetection boxes"] == 1.0
    assert shell("compare", *place.flags(), "-pred_labels", "nndetection=1,2") == 0
    assert _f1()["nndetection boxes"] == 1.0
    assert shell("compare", *place.flags(), "-pred_labels", "nndetection=0") == 0
    assert _f1()["nndetection boxes"] == 0.0


@pytest.mark.parametrize("name", ["masks/t1.nii.gz", "boxes/t1_boxes.pkl"])
def test_a_missing_prediction_is_an_error_or_counts_as_empty(name: str, place: Place, shell: Any) -> None:
    Path(name).unlink()
    line = shell.refuses(3, "compare", *place.flags())
    assert "EVAL-MISSING" in line
    assert "1 of 2 predictions: t1" in line
    assert shell("compare", *place.flags(), "--allow_missing") == 0
    method = "nnunet" if name.startswith("masks") else "nndetection"
    assert _f1()[f"{method} {name.split('/')[0]}"] == 0.5
    summary = json.loads(Path("out/detection_summary.json").read_text())
    assert summary["missing_predictions"] == {method: ["t1"]}
    assert f"Missing predictions of {method}, counted as empty: t1." in summary["captions"]["table1"]


def test_a_surplus_prediction_is_an_error(place: Place, shell: Any) -> None:
    place.write_mask(place.masks / "t9.nii.gz")
    line = shell.refuses(3, "compare", *place.flags())
    assert "EVAL-EXTRA" in line
    assert "t9" in line


def test_a_folder_without_predictions_is_named(place: Place, shell: Any) -> None:
    line = shell.refuses(3, "compare", "-d", "501", "--nndetection", place.masks, "-o", "out")
    assert "EVAL-FOLDER" in line
    assert "masks/consolidated/test_predictions" in line


def _left_out(place: Place, shell: Any, log: pytest.LogCaptureFixture) -> str:
    """The line about the case t1, which is left out while t0 is compared."""
    log.clear()
    assert shell("compare", *place.flags()) == 4
    (line,) = [message for message in log.messages if "left out" in message]
    assert json.loads(Path("out/detection_summary.json").read_text())["cases"] == ["t0"]
    assert "could not be read: t1." in Path("out/table1.md").read_text()
    return line


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"restore": False}, "BOX-RESTORE"),
        ({"pred_scores": np.array([1.5], np.float32)}, "BOX-SCORE"),
        ({"pred_scores": np.array([np.nan], np.float32)}, "BOX-VALUE"),
        ({"pred_boxes": np.array([[np.nan] * 6], np.float32)}, "BOX-VALUE"),
        ({"pred_scores": np.array([0.5], dtype=object)}, "PKL-TYPE"),
        ({"original_size_of_raw_data": np.array([10, 20, 21])}, "GEO-PAIR"),
        ({"extra": 1}, "PKL-KEYS"),
    ],
)
def test_a_bad_box_file_costs_its_case_alone(
    changes: dict[str, object], code: str, place: Place, shell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    place.change_box("t1", **changes)
    line = _left_out(place, shell, caplog)
    assert line.startswith("t1 left out: [NNA-")
    assert code in line
    assert "t1_boxes.pkl" in line


def test_another_geometry_is_named_with_its_shift_in_mm(
    place: Place, shell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    grid = read_boxes(place.boxes / "t1_boxes.pkl").grid
    place.change_box("t1", itk_origin=(grid.origin_mm[2] + 3.0, grid.origin_mm[1] + 4.0, grid.origin_mm[0]))
    line = _left_out(place, shell, caplog)
    assert "GEO-PAIR" in line
    assert "it is shifted by 5 mm" in line
    place.write_box("t1")
    place.write_mask(place.masks / "t1.nii.gz", origin_mm=(0, 0, 2.5))
    assert "it is shifted by 2.5 mm" in _left_out(place, shell, caplog)


def test_when_no_case_can_be_read_nothing_is_written_and_the_first_reason_is_given(place: Place, shell: Any) -> None:
    for case in CASES:
        place.change_box(case, restore=False)
    line = shell.refuses(3, "compare", *place.flags())
    assert "EVAL-FAILED" in line
    assert "BOX-RESTORE" in line
    assert "Name val_predictions" in line


def test_masks_with_other_labels_alone_are_not_taken_for_empty_ones(place: Place, shell: Any) -> None:
    line = shell.refuses(3, "compare", *place.flags(), "-pred_labels", "nnunet=2")
    assert "EVAL-LABELS" in line
    assert "masks/t0.nii.gz" in line


def test_a_threshold_for_masks_without_scores_is_refused(place: Place, shell: Any) -> None:
    line = shell.refuses(3, "compare", *place.flags(), "-threshold", "nnunet=0.5", "0.5")
    assert "EVAL-THRESHOLD" in line
    assert "candidates without a score" in line


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--nnunet", "other"], "CFG-METHOD"),
        (["--val", "ghost=masks"], "CFG-METHOD"),
        (["-threshold", "high"], "CFG-EVAL"),
        (["-pred_labels", "nnunet=x"], "CFG-EVAL"),
        (["-iou", "1.5"], "CFG-EVAL"),
        (["-num_draws", "-1"], "CFG-EVAL"),
        (["-f", "x"], "CFG-FOLD"),
    ],
)
def test_flags_that_cannot_be_are_refused(flags: list[str], code: str, place: Place, shell: Any) -> None:
    assert code in shell.refuses(2, "compare", *place.flags(), *flags)


def _splits(place: Place, *folds: dict[str, list[str]]) -> None:
    (place.raw / "splits_final.json").write_text(json.dumps(folds))


@pytest.mark.parametrize("command", ["compare", "evaluate", "export_nndetection"])
def test_splits_with_unknown_cases_or_a_patient_on_both_sides_are_refused(
    command: str, place: Place, shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("data", "models"):
        (tmp_path / f"det_{name}").mkdir()
        monkeypatch.setenv(f"det_{name}", str(tmp_path / f"det_{name}"))
    flags: dict[str, list[object]] = {
        "compare": [*place.flags(), "-f", "0"],
        "evaluate": ["-d", "501", "-f", "0"],
        "export_nndetection": ["501"],
    }
    _splits(place, {"train": ["a0"], "val": ["ghost"]})
    line = shell.refuses(3, command, *flags[command])
    assert "SPLIT-CASES" in line
    assert "ghost" in line
    _splits(place, {"train": ["a0"], "val": ["a1"]})
    rows = "".join(f"{case},kidney_left,healthy,report,same\n" for case in ("a0", "a1"))
    (place.raw / "organ_labels.csv").write_text(f"case,organ,label,source,patient\n{rows}")
    line = shell.refuses(3, command, *flags[command])
    assert "SPLIT-LEAK" in line
    assert "same" in line


def test_a_model_that_was_trained_on_other_folds_is_refused_with_both_files_named(place: Place, shell: Any) -> None:
    _splits(place, {"train": ["a0", "a1"], "val": ["a2"]})
    write_splits(Path("model/fold0/splits.pkl"), [{"train": ["a0", "a2"], "val": ["a1"]}])
    (Path("model") / "consolidated" / "val_predictions").mkdir(parents=True)
    line = shell.refuses(3, "compare", "-d", "501", "-f", "0", "--nndetection", "model", "-o", "out")
    assert "SPLIT-CONFLICT" in line
    assert "model/fold0/splits.pkl" in line
    assert "Dataset501_Kidney/splits_final.json" in line


def test_an_id_with_a_dot_is_refused_on_export(
    place: Place, shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "det_data").mkdir()
    monkeypatch.setenv("det_data", str(tmp_path / "det_data"))
    place.write_mask(place.raw / "labelsTr" / "a.9.nii.gz")
    place.write_nifti(place.raw / "imagesTr" / "a.9_0000.nii.gz", np.zeros((10, 20, 20), np.int16))
    line = shell.refuses(3, "export_nndetection", "501")
    assert "TASK-ID" in line
    assert "'a.9' has a dot" in line


def test_without_its_folder_variables_import_says_what_to_set(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("det_data", raising=False)
    assert "det_data is not set" in shell.refuses(2, "import_nndetection", "501")
    (tmp_path / "det_data").mkdir()
    monkeypatch.setenv("det_data", str(tmp_path / "det_data"))
    assert "CFG-TASK" in shell.refuses(2, "import_nndetection", "501")
