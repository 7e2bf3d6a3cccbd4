"""`nnanomaly_train 501 reduction`: what it opens, writes and refuses."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.candidate_reduction import train_reduction_api
from nnanomaly.inference.calibrate_api import calibration_of
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.fold import Fold
from nnanomaly.patch import Patch
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.utilities.json_io import read_json

DATASET = "Dataset501_Tiny"


@pytest.fixture
def sensitive(shell: Any, preprocessed: Path, model: Plans) -> Path:
    """Plans of a model of random weights with candidates to learn from; the plans file."""
    path = shell.paths.plans(DATASET, model.plans_name)
    plans = load_plans(path)
    inference = replace(plans.inference, false_candidates_per_organ=2.0, morphology=False, min_voxels=1, smoothing_mm=0)
    save_plans(path, replace(plans, inference=inference))
    return Path(path)


def reducer_of(shell: Any, plans: Plans) -> Path:
    return Path(shell.paths.fold(DATASET, plans.plans_name, "reduction", 0)) / "reducer.json"


def test_training_a_reduction_makes_it_part_of_calibration_and_prediction_and_opens_no_drawn_lesion(
    shell: Any, sensitive: Path, model: Plans
) -> None:
    opened: list[str] = []
    watching = [True]
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if watching and event == "open" else None)
    assert shell("train", 501, "reduction") == 0
    watching.clear()  # the hook itself stays as long as the process
    assert any("organ_labels" in path for path in opened)
    assert not [path for path in opened if "labelsT" in path or "gt_segmentations" in path]
    assert load_plans(sensitive).inference.reduction == "mil"
    trained = read_json(reducer_of(shell, model))
    assert trained["num_candidates"]["negatives"] > 0
    calibration = read_json(shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json")
    assert 0 <= calibration["score_threshold"] < 1
    assert calibration["false_candidates_per_organ"] <= 2.0
    assert shell("predict", "-i", "imagesTs", "-o", "out", "-d", 501) == 0
    for path in Path("out/detections").glob("*_boxes.json"):
        scores = [candidate["score"] for candidate in read_json(path)["candidates"]]
        assert scores == sorted(scores, reverse=True)
        assert all(calibration["score_threshold"] < score < 1 for score in scores)


def test_thresholds_for_training_candidates_come_from_training_organs(
    shell: Any, sensitive: Path, model: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[set[str]] = []

    def watch(trained: Fold, healthy: Sequence[Patch], plans: Plans) -> Calibration:
        measured.append({patch.case for patch in healthy})
        return calibration_of(trained, healthy, plans)

    monkeypatch.setattr(train_reduction_api, "calibration_of", watch)
    assert shell("train", 501, "reduction") == 0
    (cases,) = measured
    split = read_json(shell.paths.preprocessed(DATASET) / "splits_final.json")[0]
    assert cases and cases <= set(split["train"])


def test_a_reduction_works_with_inpainting_more_noise_levels_and_followed_lesions(
    shell: Any, sensitive: Path, model: Plans
) -> None:
    plans = load_plans(sensitive)
    together = replace(
        plans.inference, inpaint_rounds=1, follow_lesions=True, extra_sigmas=(plans.inference.sigma / 2,)
    )
    save_plans(sensitive, replace(plans, inference=together))
    assert shell("train", 501, "reduction") == 0
    calibration = read_json(shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json")
    assert calibration["score_threshold"] is not None
    assert calibration["inpaint_threshold"] is not None
    assert len(calibration["statistics"]["extra"]) == 1
    assert shell("predict", "-i", "imagesTs", "-o", "out", "-d", 501) == 0
    found = [c for path in Path("out/detections").glob("*_boxes.json") for c in read_json(path)["candidates"]]
    assert all(calibration["score_threshold"] < candidate["score"] < 1 for candidate in found)


def test_a_reducer_of_other_settings_is_refused_with_the_command_that_trains_it(
    shell: Any, sensitive: Path, model: Plans
) -> None:
    assert shell("train", 501, "reduction") == 0
    plans = load_plans(sensitive)
    save_plans(sensitive, replace(plans, inference=replace(plans.inference, smoothing_mm=4.0)))
    line = shell.refuses(6, "train", 501, "ddpm", "--val")
    assert "CKPT-REDUCTION" in line
    assert "nnanomaly_train Dataset501_Tiny reduction 0" in line


def test_plans_that_ask_for_a_reducer_that_is_not_there_name_the_command(
    shell: Any, sensitive: Path, model: Plans
) -> None:
    plans = load_plans(sensitive)
    save_plans(sensitive, replace(plans, inference=replace(plans.inference, reduction="mil")))
    line = shell.refuses(2, "train", 501, "ddpm", "--val")
    assert "CKPT-MISSING" in line
    assert "nnanomaly_train Dataset501_Tiny reduction 0" in line


def test_without_candidates_nothing_is_trained(shell: Any, sensitive: Path, model: Plans) -> None:
    plans = load_plans(sensitive)
    save_plans(sensitive, replace(plans, inference=replace(plans.inference, min_diameter_mm=500.0)))
    assert shell("train", 501, "reduction") == 3
    assert "TRAIN-REDUCTION" in shell.error()
    assert not reducer_of(shell, model).exists()
    assert load_plans(sensitive).inference.reduction == "none"


def test_a_model_with_a_reduction_is_exported_and_predicts_the_same_where_it_is_installed(
    shell: Any, sensitive: Path, model: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("train", 501, "reduction") == 0
    predict = ("predict", "-i", shell.paths.raw(DATASET) / "imagesTs", "-d", "501", "-device", "cpu", "-o")
    assert shell(*predict, "before") == 0
    assert shell("export_model_to_zip", "-d", "501", "-o", "model.zip") == 0
    monkeypatch.setenv("nnanomaly_results", str(Path.cwd() / "elsewhere"))
    assert shell("install_pretrained_model_from_zip", "model.zip") == 0
    assert shell(*predict, "after") == 0
    names = sorted(path.name for path in Path("before").glob("*.nii.gz"))
    assert names
    for name in [*names, *(f"detections/{name.removesuffix('.nii.gz')}_boxes.json" for name in names)]:
        assert Path("before", name).read_bytes() == Path("after", name).read_bytes()
    (Path("elsewhere") / DATASET / "nnAnomalyTrainer__nnAnomalyPlans__reduction" / "mine.txt").write_text("kept")
    for stage in ("vqgan", "classifier", "ddpm"):
        shutil.rmtree(Path("elsewhere") / DATASET / f"nnAnomalyTrainer__nnAnomalyPlans__{stage}")
    assert "CFG-OUTPUT" in shell.refuses(2, "install_pretrained_model_from_zip", "model.zip")
