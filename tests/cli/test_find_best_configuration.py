"""The choice of a configuration: what it leaves, where prediction reads it, what it refuses."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, checkpoint_hash, save_checkpoint
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.tuning.best_configuration import configurations
from nnanomaly.utilities.json_io import to_document
from nnanomaly.volume import Grid, Volume

DATASET = "Dataset501_Tiny"
GRID = Grid((20, 24, 32), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def small_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values of everything but the maps."""
    for name, values in (("TARGETS", (0.3,)), ("HYSTERESES", (1.0,)), ("MIN_DIAMETERS_MM", (8.0,))):
        monkeypatch.setattr(configurations, name, values)


def write_untrained_head(paths: Paths, plans: Plans) -> None:
    """A head of random weights on the reconstructions of the model that is there."""
    torch.manual_seed(0)
    folders = {stage: paths.fold(DATASET, plans.plans_name, stage, 0) for stage in ("vqgan", "ddpm", "head")}
    state = {
        "plans_identity": plans.identity_of("head"),
        "averaged_weights": build_head(plans).state_dict(),
        "checkpoints": {stage: checkpoint_hash(folders[stage] / FINAL) for stage in ("vqgan", "ddpm")},
    }
    save_checkpoint(folders["head"] / FINAL, state)
    save_plans(folders["head"].parent / "plans.json", plans)


def test_it_needs_no_drawn_lesion_and_prediction_uses_its_choice(shell: Any, preprocessed: Path, model: Plans) -> None:
    write_untrained_head(shell.paths, model)
    assert not (shell.paths.raw(DATASET) / "labelsTr").exists()
    assert shell("find_best_configuration", 501, "-variants", 3, "-max_false_candidates", 0.6) == 0
    stage = shell.paths.model(DATASET, model.plans_name, "ddpm")
    folder = stage / "best_configuration"
    document = json.loads((folder / "best_configuration.json").read_text())
    rows = list(csv.DictReader((folder / "best_configuration.csv").read_text().splitlines()))
    assert len(rows) == len(document["configurations"]) > 50
    assert {row["detector"] for row in rows} == {"residual", "head", "both"}
    assert document["lesions"] == "inserted"
    assert document["num_lesions"] > 0
    assert [row["chosen"] for row in rows].count("True") == 1
    assert document["chosen"]["false_per_healthy_organ"] <= 0.6
    for path in (shell.paths.plans(DATASET, model.plans_name), stage / "plans.json"):
        chosen = load_plans(path)
        assert document["chosen"]["inference"] == to_document(chosen.inference)
        assert "find_best_configuration on fold 0" in chosen.reasons["inference.detector"]
    calibration = json.loads((stage / "fold_0" / "calibration.json").read_text())
    assert calibration["false_candidates_per_organ"] == document["chosen"]["false_per_healthy_organ"]
    assert "Largest F1" in (folder / "best_configuration.md").read_text()
    assert (folder / "inference_instructions.txt").read_text().startswith("nnanomaly_predict -i INPUT_FOLDER")
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0


def test_drawn_lesions_are_used_when_they_are_asked_for(shell: Any, preprocessed: Path, model: Plans) -> None:
    assert "without --drawn" in shell.refuses(3, "find_best_configuration", 501, "--drawn")
    labels = np.zeros((1, *GRID.shape), np.uint8)
    labels[0, 7:11, 9:13, 21:25] = 1
    for case in range(5):
        write_volume(shell.paths.raw(DATASET) / "labelsTr" / f"case_{case}.nii.gz", Volume(labels, GRID))
    assert shell("find_best_configuration", 501, "--drawn", "--disable_ensembling") == 0
    folder = shell.paths.model(DATASET, model.plans_name, "ddpm") / "best_configuration"
    assert json.loads((folder / "best_configuration.json").read_text())["lesions"] == "drawn"


def test_a_fold_without_a_model_is_refused(shell: Any, preprocessed: Path, model: Plans) -> None:
    assert "nnanomaly_train" in shell.refuses(2, "find_best_configuration", 501, "-f", 3)


def test_plans_with_inpainting_are_refused(shell: Any, preprocessed: Path, model: Plans) -> None:
    path = shell.paths.plans(DATASET, model.plans_name)
    save_plans(path, replace(model, inference=replace(model.inference, inpaint_rounds=1)))
    assert "Set it to 0" in shell.refuses(2, "find_best_configuration", 501)


def test_plans_with_a_reduction_are_refused(shell: Any, preprocessed: Path, model: Plans) -> None:
    path = shell.paths.plans(DATASET, model.plans_name)
    save_plans(path, replace(model, inference=replace(model.inference, reduction="mil")))
    assert "Set it to none" in shell.refuses(2, "find_best_configuration", 501)
