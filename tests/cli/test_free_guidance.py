"""Classifier-free guidance from patches to predictions: no classifier is trained, both classes are, and it is said."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.checkpoint import FINAL, load_checkpoint
from nnanomaly.plans import Plans, save_plans

DATASET = "Dataset501_Tiny"


@pytest.fixture
def free(shell: Any, preprocessed: Path, tiny_plans: Callable[..., Plans]) -> Plans:
    """Plans whose model knows the classes, where the commands look for them."""
    plans = tiny_plans("default", dataset=DATASET)
    inference = replace(plans.inference, guidance="free", guidance_scale=2.0)
    plans = replace(plans, inference=inference, ddpm=replace(plans.ddpm, class_dropout=0.15))
    save_plans(shell.paths.plans(DATASET, plans.plans_name), plans)
    return plans


def folder(shell: Any, plans: Plans, stage: str) -> Path:
    return Path(shell.paths.fold(DATASET, plans.plans_name, stage, 0))


@pytest.mark.slow
def test_from_patches_to_predictions_without_a_classifier(shell: Any, free: Plans, tmp_path: Path) -> None:
    assert shell("train", 501, "ddpm") == 0
    assert not folder(shell, free, "classifier").exists()
    weights = load_checkpoint(folder(shell, free, "ddpm") / FINAL)["averaged_weights"]
    assert weights["classes.weight"].shape[0] == 3
    calibration = json.loads((folder(shell, free, "ddpm") / "calibration.json").read_text())
    assert calibration["guidance"] is True
    assert "classifier-free" in calibration["guidance_reason"]
    assert set(calibration["checkpoints"]) == {"vqgan", "ddpm"}
    assert shell("predict", "-i", "imagesTs", "-o", tmp_path / "preds") == 0
    anomaly = nibabel.load(tmp_path / "preds" / "anomaly_maps" / "test_0.nii.gz")
    assert np.asarray(anomaly.dataobj).max() > 0


@pytest.mark.slow
def test_without_an_unhealthy_organ_there_is_nothing_to_contrast(shell: Any, preprocessed: Path, free: Plans) -> None:
    table = preprocessed / "organ_labels.csv"
    table.write_text(table.read_text().replace("unhealthy", "healthy"))
    assert shell("train", 501, "ddpm") == 3
    line = shell.error()
    assert "TRAIN-CLASSES" in line
    assert "'unhealthy': 0" in line


def test_a_model_of_healthy_organs_alone_cannot_be_guided_freely(shell: Any, free: Plans) -> None:
    path = shell.paths.plans(DATASET, free.plans_name)
    path.write_text(path.read_text().replace('"class_dropout": 0.15', '"class_dropout": 0.0'))
    line = shell.refuses(2, "train", 501, "ddpm")
    assert "CFG-PLAN" in line
    assert "class_dropout" in line
