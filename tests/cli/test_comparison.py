"""The commands that compare, on the comparison data: every expected number comes out of them."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

MODEL = Path("det_models") / "Task501_KitsSample" / "RetinaUNetV001_D3V001_3d"
FOLDS = ["-f", "0", "1", "2", "3", "4"]
NO_FLOOR = ["-reference_floor", "0", "0", "-candidate_floor", "0", "0"]


@pytest.fixture
def sample(baselines_sample: Path, shell: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("nnanomaly_raw", str(baselines_sample / "nnUNet_raw"))
    monkeypatch.setenv("nnanomaly_preprocessed", str(baselines_sample / "nnUNet_preprocessed"))
    return baselines_sample


def _flags(sample: Path, name: str) -> list[str]:
    """The flags with which a set of the expected numbers is computed."""
    nnunet = sample / "nnUNet_results" / "Dataset501_KitsSample" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    anomaly = ["--pred", f"a={sample / 'anomaly_predictions_Ts'}", "-pred_labels", "a=1"]
    simple = sample / "det_models" / "Task501_KitsSample" / "nnUNet_Simple"
    detection = ["--nndetection", f"a={sample / MODEL}"]
    threshold = name.rpartition("_t")[2].replace("_val_f1", "val")
    return {
        "nnunet_val": ["--nnunet", f"a={nnunet}", *FOLDS],
        "nnunet_test": ["--nnunet", f"a={sample / 'nnUNet_predictions_Ts'}"],
        "anomaly_test": anomaly,
        "anomaly_test_nofilter": [*anomaly, *NO_FLOOR],
        "nnunet_as_boxes_test_t0.00": ["--nndetection", f"a={simple}", "-threshold", "0"],
        "nndet_val": [*detection, *FOLDS, "-threshold", threshold],
        "nndet_test": [*detection, "-threshold", threshold],
    }[name.partition("_t0")[0].partition("_t_")[0] if name.startswith("nndet") else name]


def _compare(shell: Any, *flags: str) -> dict[str, Any]:
    assert shell("compare", "-d", "501", "-l", "2", "-o", "out", "-num_draws", "20", *flags) == 0
    return dict(json.loads(Path("out/detection_summary.json").read_text()))


NAMES = [
    *("nnunet_val", "nnunet_test", "anomaly_test", "anomaly_test_nofilter", "nnunet_as_boxes_test_t0.00"),
    *(f"nndet_{part}_t{threshold}" for part in ("val", "test") for threshold in ("0.00", "0.10", "0.50", "_val_f1")),
]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_reproduces_every_expected_number(name: str, sample: Path, shell: Any) -> None:
    expected = json.loads((sample / "expected" / "expected_metrics.json").read_text())[name]
    (method, *_) = _compare(shell, *_flags(sample, name))["methods"]
    assert method["native"] is True
    if "threshold" in expected:
        assert method["threshold"]["value"] == pytest.approx(expected["threshold"], abs=1e-6)
    metrics = method["metrics"]
    alternative = expected["aggregate_precision_nan"]["precision"]
    assert metrics["precision_where_defined"] == pytest.approx(alternative, abs=1e-6)
    for stratum, numbers in expected["aggregate"].items():
        if stratum == "lesion_free":
            free = metrics["lesion_free"]
            assert [free["n_cases"], free["fp"], free["n_clean"]] == list(numbers.values())
            continue
        aggregate = {**(metrics["all"] if stratum == "all" else metrics["by_size"][stratum])}
        aggregate["dsc_all_cases"] = metrics["dsc_all_cases"]
        for key, value in numbers.items():
            assert aggregate[key] == pytest.approx(value, abs=1e-6), (stratum, key)


@pytest.mark.parametrize("part", ["val", "test"])
def test_the_command_reproduces_average_precision_and_froc_of_nndetection(part: str, sample: Path, shell: Any) -> None:
    every = json.loads((sample / "expected" / "expected_metrics.json").read_text())["nndet_ap_froc"]
    oracle = json.loads((sample / "expected" / "nndetection_oracle.json").read_text())[part]
    (method,) = _compare(shell, *_flags(sample, f"nndet_{part}_t0.00"))["methods"]
    assert [curve["min_iou"] for curve in method["curves"]] == [0.1, 0.2, 0.5]
    for curve in method["curves"]:
        expected = every[f"{part}_{curve['min_iou']}"]
        assert curve["average_precision"] == pytest.approx(expected["ap_nndet"], abs=1e-6)
        assert curve["froc_score"] == pytest.approx(expected["froc_nndet"], abs=1e-6)
    assert method["mean_average_precision"] == pytest.approx(oracle["mAP_IoU_0.10_0.50_0.05_MaxDet_100"], abs=1e-6)


def test_three_methods_are_compared_in_tables_figures_and_one_document(sample: Path, shell: Any) -> None:
    flags = [*_flags(sample, "anomaly_test"), "--nnunet", str(sample / "nnUNet_predictions_Ts")]
    summary = _compare(shell, *flags, "--nndetection", str(sample / MODEL))
    tables = [f"{name}.{end}" for name in ("table1", "table2", "counts", "differences") for end in ("md", "csv", "tex")]
    figures = [f"{name}.{end}" for name in ("froc", "precision_recall", "f1_by_size") for end in ("png", "svg")]
    assert {path.name for path in Path("out").iterdir()} == {
        *tables,
        *figures,
        "comparison.md",
        "detection_summary.json",
    }
    rows = [(method["method"], method["as"]) for method in summary["methods"]]
    natives = [("a", "masks"), ("nnunet", "masks"), ("nndetection", "boxes")]
    assert rows == [*natives, ("a", "boxes"), ("nnunet", "boxes")]
    table = pd.read_csv("out/table1.csv")
    assert table["recall"].round(6).tolist() == [0.666667, 0.777778, 0.722222, 0.666667, 0.777778]
    assert pd.read_csv("out/table2.csv")["size [cm]"].tolist() == ["<=2", "2-4", "4-7", ">7"] * 5
    pairs = [(item["first"], item["second"], item["form"]) for item in summary["differences"]]
    assert pairs == [
        ("a", "nnunet", "masks"),
        ("a", "nnunet", "boxes"),
        ("a", "nndetection", "boxes"),
        ("nnunet", "nndetection", "boxes"),
    ]
    caption = summary["captions"]["table1"]
    for words in (
        "over the 3 cases with a lesion",
        "20 draws of cases, seed 12345",
        "4 cases of Dataset501_KitsSample (test set)",
        "voxel IoU >= 0.2",
        "box IoU >= 0.2",
        "under 20 voxels or 3 mm",
        "nndetection >= 0.4996 (best mean F1 over 10 validation cases with lesions, frozen)",
        "Lesion-free cases (1)",
    ):
        assert words in caption
    assert caption in Path("out/table1.md").read_text()


def test_the_same_comparison_gives_the_same_bytes(sample: Path, shell: Any) -> None:
    flags = _flags(sample, "nndet_test_t_val_f1")
    contents = []
    for processes in ("1", "2"):
        _compare(shell, *flags, "-np", processes)
        contents.append({path.name: path.read_bytes() for path in Path("out").iterdir()})
    assert contents[0] == contents[1]


def test_otsu_chooses_on_the_validation_predictions(sample: Path, shell: Any) -> None:
    (method,) = _compare(shell, *_flags(sample, "nndet_test_t0.50")[:2], "-threshold", "otsu")["methods"]
    assert method["threshold"]["source"] == "otsu"
    assert 0 < method["threshold"]["value"] < 1
    assert method["threshold"]["n_cases"] == 10


def test_a_threshold_chosen_on_the_compared_cases_is_called_optimistic(sample: Path, shell: Any) -> None:
    summary = _compare(shell, *_flags(sample, "nndet_val_t_val_f1"))
    assert summary["methods"][0]["threshold"]["source"] == "same_cases"
    assert "these 10 cases themselves, optimistic" in summary["captions"]["table1"]


def test_without_validation_predictions_a_threshold_is_asked_for(sample: Path, shell: Any) -> None:
    shutil.copytree(sample / MODEL / "consolidated" / "test_predictions", "boxes")
    line = shell.refuses(3, "compare", "-d", "501", "-l", "2", "--nndetection", "boxes", "-o", "out")
    assert "EVAL-THRESHOLD" in line
    assert "--val nndetection=FOLDER" in line
    flags = ["--nndetection", "boxes", "--val", f"nndetection={sample / MODEL / 'consolidated' / 'val_predictions'}"]
    (method,) = _compare(shell, *flags)["methods"]
    assert method["threshold"]["value"] == pytest.approx(0.49962, abs=1e-6)


def test_single_folds_of_both_tools_are_found_in_their_own_folders(sample: Path, shell: Any) -> None:
    nnunet = sample / "nnUNet_results" / "Dataset501_KitsSample" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    flags = ["-f", "1", "--nnunet", str(nnunet), "--nndetection", str(sample / MODEL), "-threshold", "0.5"]
    summary = _compare(shell, *flags)
    assert summary["cases"] == ["case_00064", "case_00434"]


def test_the_imported_task_gives_the_same_comparison(
    sample: Path, shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = json.loads((sample / "expected" / "expected_metrics.json").read_text())["nndet_test_t_val_f1"]
    monkeypatch.setenv("nnanomaly_raw", str(tmp_path / "raw"))
    monkeypatch.delenv("nnanomaly_preprocessed")
    monkeypatch.setenv("det_data", str(sample / "det_data"))
    monkeypatch.setenv("det_models", str(sample / "det_models"))
    assert shell("import_nndetection", "Task501_KitsSample", "-labels", "original") == 0
    assert shell("compare", "-d", "501", "--nndetection", str(sample / MODEL), "-o", "out", "-num_draws", "0") == 0
    (method,) = json.loads(Path("out/detection_summary.json").read_text())["methods"]
    for key in ("precision", "recall", "f1"):
        assert method["metrics"]["all"][key] == pytest.approx(expected["aggregate"]["all"][key], abs=1e-6)


def test_exported_predictions_are_read_back_with_the_same_numbers(
    sample: Path, shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for folder in ("data", "models"):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(f"det_{folder}", str(tmp_path / folder))
    predictions = sample / "nnUNet_predictions_Ts"
    assert shell("export_nndetection", "501", "-l", "2", "-test", predictions) == 0
    folder = tmp_path / "models" / "Task501_KitsSample" / "nnAnomaly_3d"
    assert sorted(path.name for path in (folder / "consolidated").iterdir()) == ["plan.pkl", "test_predictions"]
    flags = ["--nnunet", str(predictions), "-candidate_floor", "0", "0"]
    summary = _compare(shell, *flags, "--nndetection", str(folder), "-threshold", "none")
    masks, exported, boxes = summary["methods"]
    assert (exported["as"], boxes["as"], masks["as"]) == ("boxes", "boxes", "masks")
    assert exported["metrics"] == boxes["metrics"]


def test_evaluate_judges_a_fold_or_the_test_set(sample: Path, shell: Any) -> None:
    expected = json.loads((sample / "expected" / "expected_metrics.json").read_text())
    nnunet = sample / "nnUNet_results" / "Dataset501_KitsSample" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    for name, flags in (
        ("nnunet_val", ["-pred", nnunet, *FOLDS]),
        ("nnunet_test", ["-pred", sample / "nnUNet_predictions_Ts"]),
    ):
        assert shell("evaluate", "-d", "501", "-l", "2", "-o", "out", *flags) == 0
        metrics = json.loads(Path("out/detection_summary.json").read_text())["metrics"]["all"]
        for key in ("precision", "recall", "f1", "dsc"):
            assert metrics[key] == pytest.approx(expected[name]["aggregate"]["all"][key], abs=1e-6)
    assert "CFG-FLAGS" in shell.refuses(2, "evaluate", "-d", "501", "-l", "2")
