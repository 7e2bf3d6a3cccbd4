"""Organ masks at the command line: made where they are missing, the same in every layout wherever they are used."""

import csv
import json
import shutil
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.plans import Plans

ORGANS = ("kidney_left", "kidney_right")
LAYOUTS = ("map with its table", "map and dataset.json", "left and right")


def rearrange(root: Path, layout: str) -> None:
    """Turn the folders of structures into another layout."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        masks = {organ: nibabel.load(folder / f"{organ}.nii.gz") for organ in ORGANS}
        if layout == "left and right":
            for side in ("left", "right"):
                shutil.copy(folder / f"kidney_{side}.nii.gz", root / f"{folder.name}_{side}.nii.gz")
        else:
            left, right = (np.asarray(masks[organ].dataobj) for organ in ORGANS)
            both = nibabel.Nifti1Image((3 * left + 2 * right).astype(np.uint8), None, masks["kidney_left"].header)
            if layout == "map with its table":
                labels = "".join(f'<Label Key="{n}">{o}</Label>' for o, n in zip(ORGANS, (3, 2), strict=True))
                text = f"<CaretExtension>{labels}</CaretExtension>"
                both.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
            nibabel.save(both, root / f"{folder.name}.nii.gz")
        shutil.rmtree(folder)


def name_values(dataset_json: Path) -> None:
    document = json.loads(dataset_json.read_text())
    document["nnanomaly"]["organ_mask_labels"] = {"kidney_left": 3, "kidney_right": 2}
    dataset_json.write_text(json.dumps(document))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_patches_and_predictions_are_the_same_in_every_layout(
    shell: Any, raw: Path, preprocessed: Path, model: Plans, layout: str
) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "before") == 0
    patches = {path.name: path.read_bytes() for path in preprocessed.rglob("*__kidney_*.npy")}
    assert patches
    for part in ("Tr", "Ts"):
        rearrange(raw / f"organMasks{part}", layout)
    if layout == "map and dataset.json":
        for path in (raw / "dataset.json", *shell.paths.results_root.rglob("dataset.json")):
            name_values(path)
    assert shell("preprocess", "-d", 501) == 0
    assert {path.name: path.read_bytes() for path in preprocessed.rglob("*__kidney_*.npy")} == patches
    assert shell("predict", "-i", "imagesTs", "-o", "after") == 0
    for name in ("test_0.nii.gz", "anomaly_maps/test_0.nii.gz", "detections/test_1_boxes.json"):
        assert Path("after", name).read_bytes() == Path("before", name).read_bytes()


def test_missing_masks_are_made_and_checked_for_training_and_test(
    shell: Any, raw: Path, fake_totalsegmentator: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(raw / "organMasksTr" / "case_0")
    shutil.rmtree(raw / "organMasksTs")
    assert shell("segment_organs", "-d", 501, "-device", "cpu") == 0
    out = shell.capsys.readouterr().out
    assert "1 segmented, 4 kept, 0 failed" in out
    assert "2 segmented, 0 kept, 0 failed" in out
    calls = [json.loads(line) for line in (fake_totalsegmentator / "calls.jsonl").read_text().splitlines()]
    assert [Path(call["arguments"][1]).name for call in calls] == [
        "case_0_0000.nii.gz",
        "test_0_0000.nii.gz",
        "test_1_0000.nii.gz",
    ]
    rows = list(csv.DictReader((raw / "organMasksTr" / "organ_masks.csv").read_text().splitlines()))
    assert {(row["case"], row["organ"]) for row in rows} == {(f"case_{n}", organ) for n in range(5) for organ in ORGANS}
    assert "case_0 kidney_left: [NNA-ROI-CUT]" in caplog.text, "its block reaches the side of the scan"


def test_another_organ_is_one_line_of_the_dataset(shell: Any, raw: Path, fake_totalsegmentator: Path) -> None:
    document = json.loads((raw / "dataset.json").read_text())
    document["nnanomaly"]["organs"] = ["liver"]
    (raw / "dataset.json").write_text(json.dumps(document))
    assert shell("segment_organs", "-d", 501) == 0
    assert (raw / "organMasksTs" / "test_1" / "liver.nii.gz").is_file()


def test_a_part_of_the_cases_and_a_folder_elsewhere(shell: Any, raw: Path, fake_totalsegmentator: Path) -> None:
    arguments = ("-d", 501, "-i", raw / "imagesTr", "-o", "masks", "-num_parts", 3, "-part_id", 2)
    assert shell("segment_organs", *arguments) == 0
    assert [path.name for path in sorted(Path("masks").iterdir())] == ["case_2", "organ_masks.csv"]
    assert "CFG-PARTS" in shell.refuses(2, "segment_organs", "-d", 501, "-num_parts", 2, "-part_id", 2)
    assert "CFG-FLAGS" in shell.refuses(2, "segment_organs", "-d", 501, "-i", raw / "imagesTr")


def test_a_case_that_fails_ends_in_status_4(
    shell: Any, raw: Path, fake_totalsegmentator: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(raw / "organMasksTs")
    (fake_totalsegmentator / "fail").write_text("test_0_0000.nii.gz")
    assert shell("segment_organs", "-d", 501) == 4
    assert "test_0 failed: [NNA-ROI-SEGMENTATION]" in caplog.text
    assert sorted(path.name for path in (raw / "organMasksTs").iterdir()) == ["organ_masks.csv", "test_1"]


def test_masks_are_not_made_behind_a_link_nor_in_place_of_a_link_to_nothing(
    shell: Any, raw: Path, fake_totalsegmentator: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(raw / "organMasksTs")
    (tmp_path / "theirs").mkdir()
    (raw / "organMasksTs" / "test_1").mkdir(parents=True)
    (raw / "organMasksTs" / "test_0").symlink_to(tmp_path / "theirs")
    (raw / "organMasksTs" / "test_1" / "kidney_left.nii.gz").symlink_to(tmp_path / "lost.nii.gz")
    assert shell("segment_organs", "-d", 501) == 4
    assert "test_0 failed: [NNA-IO-LINK]" in caplog.text
    assert "IO-MISSING" in caplog.text
    assert not any((tmp_path / "theirs").iterdir())
    assert (raw / "organMasksTs" / "test_1" / "kidney_left.nii.gz").is_symlink()
    assert (raw / "organMasksTs" / "test_1" / "kidney_right.nii.gz").is_file()


def test_without_weights_or_program_the_remedy_is_named_within_two_seconds(
    shell: Any, raw: Path, fake_totalsegmentator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(fake_totalsegmentator / "weights")
    shell("segment_organs", "-d", 501)  # what is imported for the first time takes longer
    start = time.monotonic()
    assert "totalseg_download_weights -t total_fast" in shell.refuses(5, "segment_organs", "-d", 501)
    monkeypatch.setenv("PATH", "")
    assert 'pip install -c constraints.txt ".[totalseg]"' in shell.refuses(5, "segment_organs", "-d", 501)
    assert time.monotonic() - start < 2


def test_an_organ_that_the_program_does_not_know_is_refused(shell: Any, raw: Path, fake_totalsegmentator: Path) -> None:
    document = json.loads((raw / "dataset.json").read_text())
    document["nnanomaly"]["organs"] = ["kidney"]
    (raw / "dataset.json").write_text(json.dumps(document))
    assert "kidney_left, kidney_right" in shell.refuses(2, "segment_organs", "-d", 501)


def test_the_full_check_reports_and_ends_in_status_3_without_writing_more(
    shell: Any, raw: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shell.truncate(raw / "imagesTs" / "test_1_0000.nii.gz")
    assert shell("plan_and_preprocess", "-d", 501, "--verify_dataset_integrity") == 3
    assert "IO-TRUNCATED" in caplog.text
    assert "VERIFY" in shell.error()
    written = sorted(path.name for path in shell.paths.preprocessed("Dataset501_Tiny").iterdir())
    assert written == ["organ_masks.csv", "verify_report.json"]


def test_masks_of_a_folder_need_no_raw_dataset(
    shell: Any, raw: Path, fake_totalsegmentator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(raw / "imagesTs", "scans")
    monkeypatch.delenv("nnanomaly_raw")
    assert shell("segment_organs", "-i", "scans", "-o", "masks", "-organs", *ORGANS) == 0
    assert Path("masks", "test_1", "kidney_left.nii.gz").is_file()
    assert "-organs" in shell.refuses(2, "segment_organs", "-i", "scans", "-o", "other")
    assert "CFG-OUTPUT" in shell.refuses(2, "segment_organs", "-i", "scans", "-o", "scans/m", "-organs", *ORGANS)
