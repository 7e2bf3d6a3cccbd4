"""Prediction of scans that are not what the model was trained on: refused, or said in log, table, report and Python."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.inference.predictor import Predictor
from nnanomaly.paths import Paths
from nnanomaly.plans import OrganDomain, Plans, save_plans

DATASET = "Dataset501_Tiny"
ORGANS = ("kidney_left", "kidney_right")

KIDNEY = OrganDomain(
    num_organs=10,
    median_hu=(90.0, 100.0, 110.0),
    around_low_hu=0.0,
    volume_ml=(20.0, 60.0),
    extent_mm=(60.0, 60.0, 60.0),
)


def change_scan(raw: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    path = raw / "imagesTs" / "test_1_0000.nii.gz"
    image = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(change(image.get_fdata()).astype(np.float32), image.affine), path)


def know_training_scans(paths: Paths, plans: Plans, domain: OrganDomain = KIDNEY) -> None:
    save_plans(
        paths.model(DATASET, plans.plans_name, "ddpm") / "plans.json",
        replace(plans, domain=dict.fromkeys(ORGANS, domain)),
    )


def warnings_of(folder: Path, case: str) -> dict[str, str]:
    with (folder / "detections" / "status.csv").open(encoding="utf-8-sig") as file:
        return {row["organ"]: row["warnings"] for row in csv.DictReader(file) if row["case"] == case}


@pytest.mark.parametrize("change", [lambda hu: hu / 1000, lambda hu: hu + 1024], ids=["scaled", "raw"])
def test_a_scan_that_is_not_in_hu_fails_with_a_code_and_costs_only_itself(
    shell: Any, raw: Path, model: Plans, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    know_training_scans(shell.paths, model)
    change_scan(raw, change)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    assert "NNA-INT-UNITS] test_1 cannot be a CT in HU" in Path("preds/detections/status.csv").read_text()
    assert Path("preds/test_0.nii.gz").is_file() and not Path("preds/test_1.nii.gz").exists()


def test_another_phase_is_predicted_and_said_in_every_place(
    shell: Any, raw: Path, model: Plans, caplog: pytest.LogCaptureFixture
) -> None:
    know_training_scans(shell.paths, model)
    change_scan(raw, lambda hu: hu - 60)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0
    said = warnings_of(Path("preds"), "test_1")
    assert all("[NNA-DOMAIN-HU]" in said[organ] and "[NNA-DOMAIN-MARKED]" in said[organ] for organ in ORGANS)
    assert all(not text for text in warnings_of(Path("preds"), "test_0").values())
    assert "test_1: [NNA-DOMAIN-HU] kidney_left has 39 HU" in caplog.text or "kidney_left has 40 HU" in caplog.text
    document = json.loads(Path("preds/detections/test_1_boxes.json").read_text())
    assert {warning["code"] for warning in document["warnings"]} == {"DOMAIN-HU", "DOMAIN-MARKED"}
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction") == 0
    assert warnings_of(Path("preds"), "test_1") == said
    assert shell("report", "preds", "-o", "page") == 0
    assert "[NNA-DOMAIN-HU] kidney_left" in Path("page/cases/0002.html").read_text()
    found = Predictor.from_trained("501", paths=shell.paths, device="cpu").predict(
        raw / "imagesTs" / "test_1_0000.nii.gz"
    )
    assert [warning.code for warning in found.warnings].count("DOMAIN-HU") == 2


def test_exchanged_sides_are_said_and_a_mask_of_the_whole_scan_is_refused(shell: Any, raw: Path, model: Plans) -> None:
    know_training_scans(shell.paths, model)
    folder = raw / "organMasksTs" / "test_1"
    left, right = (folder / f"{organ}.nii.gz" for organ in ORGANS)
    content = left.read_bytes(), right.read_bytes()
    left.write_bytes(content[1])
    right.write_bytes(content[0])
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0
    assert all("[NNA-ROI-SIDES]" in text for text in warnings_of(Path("preds"), "test_1").values())
    image = nibabel.load(left)
    nibabel.save(nibabel.Nifti1Image(np.ones(image.shape, np.uint8), image.affine), left)
    know_training_scans(shell.paths, model, replace(KIDNEY, extent_mm=(20.0, 20.0, 20.0), volume_ml=(1.0, 9.0)))
    assert shell("predict", "-i", "imagesTs", "-o", "others") == 4
    assert "NNA-ROI-EXTENT" in Path("others/detections/status.csv").read_text()


def test_folders_are_remembered_by_their_whole_names(
    shell: Any, raw: Path, model: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / "imagesTs").rename("scans")
    assert shell("predict", "-i", "scans", "-o", "preds", "-organ_masks", raw / "organMasksTs") == 0
    stored = json.loads(Path("preds/predict_from_raw_data_args.json").read_text())
    assert Path(stored["images"]) == Path("scans").absolute()
    here = Path.cwd()
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert shell("report", here / "preds", "-o", here / "page") == 0
