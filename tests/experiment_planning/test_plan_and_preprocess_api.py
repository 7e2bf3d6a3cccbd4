"""The planning commands on a small dataset on disk: what they write, what they keep, and what they refuse first."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from nnanomaly.dataset.patch_store import list_patches
from nnanomaly.dataset.splits import load_splits
from nnanomaly.experiment_planning import extraction
from nnanomaly.experiment_planning import plan_and_preprocess_api as api
from nnanomaly.paths import Paths
from nnanomaly.plans import load_plans, save_plans
from nnanomaly.utilities.errors import ConfigurationError, DataError

DATASET = "Dataset501_Tiny"


@pytest.fixture
def paths(raw_folder: Path) -> Paths:
    root = raw_folder.parent
    return Paths(root, root.parent / "preprocessed", None)


def test_raw_dataset_becomes_plans_folds_and_patches(paths: Paths, raw_folder: Path) -> None:
    (raw_folder / "labelsTr").mkdir()
    mask = raw_folder / "organMasksTr" / "case_0" / "kidney_left.nii.gz"
    (raw_folder / "labelsTr" / "case_0.nii.gz").write_bytes(mask.read_bytes())
    assert api.plan_and_preprocess(paths, DATASET, gpu_memory_target_gb=0.5) == 0
    folder = paths.preprocessed(DATASET)
    plans = load_plans(folder / "nnAnomalyPlans.json")
    assert plans.preprocessing.spacing_mm == (4.0, 4.0, 4.0)
    assert plans.preprocessing.patch_size == (16, 12, 12)  # 48, 32 and 32 mm, and 8 mm on both sides
    assert plans.organs == ("kidney_left", "kidney_right")
    assert len(load_splits(folder / "splits_final.json")) == 5
    assert json.loads((folder / "dataset.json").read_text()) == json.loads((raw_folder / "dataset.json").read_text())
    assert (folder / "gt_segmentations" / "case_0.nii.gz").read_bytes() == mask.read_bytes()
    assert len(list_patches(paths.patches(DATASET, plans.data_identifier))) == 12


def test_both_presets_lie_side_by_side(paths: Paths) -> None:
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    for preset in ("default", "paper"):
        api.plan_experiment(paths, DATASET, preset=preset, gpu_memory_target_gb=0.5)
    names = {path.name for path in paths.preprocessed(DATASET).iterdir()}
    assert {"nnAnomalyPlans.json", "nnAnomalyPaperPlans.json"} <= names


def test_a_plans_file_that_was_edited_is_kept_beside_the_new_one(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    path = paths.plans(DATASET, "nnAnomalyPlans")
    kept = path.with_name("nnAnomalyPlans.json.bak")
    for _ in range(2):
        planned = api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5)
        assert not kept.exists()
    edited = replace(planned, inference=replace(planned.inference, num_samples=3))
    save_plans(path, edited)
    assert api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5) == planned
    assert load_plans(kept) == edited
    assert load_plans(path) == planned
    assert "kept in" in caplog.text


def copy_scan(raw_folder: Path, case: str, other: str) -> None:
    """Give one case the scan of another."""
    image = raw_folder / "imagesTr" / f"{case}_0000.nii.gz"
    (raw_folder / "imagesTr" / f"{other}_0000.nii.gz").write_bytes(image.read_bytes())


def test_a_scan_under_two_names_on_both_sides_of_a_fold_is_refused_at_planning(paths: Paths, raw_folder: Path) -> None:
    copy_scan(raw_folder, "case_1", "case_4")
    for _ in range(2):  # the fingerprint that is kept remembers it
        with pytest.raises(DataError, match="SPLIT-LEAK.*case_1 and case_4 are one scan, and fold"):
            api.extract_fingerprint(paths, DATASET, num_processes=1)


def test_a_scan_under_two_names_of_one_patient_is_said_at_planning(
    paths: Paths, raw_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy_scan(raw_folder, "case_1", "case_4")
    cases = [f"case_{number}" for number in range(6)]
    folds = [
        {"train": [c for c in cases if c != own], "val": [own]} for own in ("case_0", "case_2", "case_3", "case_5")
    ]
    (raw_folder / "splits_final.json").write_text(json.dumps(folds))
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    assert "[NNA-DATA-TWICE] case_1 and case_4 are one scan" in caplog.text


def test_fingerprint_is_kept_until_labels_or_clean_ask_for_a_new_one(
    paths: Paths, raw_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = api.extract_fingerprint(paths, DATASET, num_processes=1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(extraction, "extract_fingerprint", refuse)
        assert api.extract_fingerprint(paths, DATASET, num_processes=1) == first
        assert api.extract_fingerprint(paths, DATASET, num_processes=1, verify=True) == first
        with pytest.raises(AssertionError, match="measured again"):
            api.extract_fingerprint(paths, DATASET, num_processes=1, clean=True)
    table = raw_folder / "organ_labels.csv"
    table.write_text(table.read_text().replace("case_1,kidney_left,healthy", "case_1,kidney_left,unhealthy"))
    assert api.extract_fingerprint(paths, DATASET, num_processes=1).label_counts["unhealthy"] == 2


def test_dataset_without_healthy_organ_is_refused_before_any_work(paths: Paths, raw_folder: Path) -> None:
    table = raw_folder / "organ_labels.csv"
    table.write_text(table.read_text().replace(",healthy", ",unhealthy"))
    with pytest.raises(DataError, match=r"LABELS-HEALTHY.*12"):
        api.extract_fingerprint(paths, DATASET, num_processes=1)
    assert not paths.preprocessed(DATASET).exists()


def test_unreadable_image_leaves_no_fingerprint(paths: Paths, raw_folder: Path) -> None:
    image = raw_folder / "imagesTr" / "case_1_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:-20])
    with pytest.raises(DataError, match="case_1"):
        api.extract_fingerprint(paths, DATASET, num_processes=1)
    assert not (paths.preprocessed(DATASET) / "dataset_fingerprint.json").exists()


def test_steps_out_of_order_say_what_to_run_first(paths: Paths) -> None:
    with pytest.raises(ConfigurationError, match="nnanomaly_extract_fingerprint"):
        api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=1.0)
    with pytest.raises(ConfigurationError, match="nnanomaly_plan_and_preprocess"):
        api.preprocess(paths, DATASET, plans_name="nnAnomalyPlans", num_processes=1)


def test_failures_of_preprocessing_are_counted_and_named(
    paths: Paths, raw_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5)
    (raw_folder / "organMasksTr" / "case_3" / "kidney_right.nii.gz").unlink()
    with caplog.at_level(logging.INFO, logger="nnanomaly"):
        assert api.preprocess(paths, DATASET, plans_name="nnAnomalyPlans", num_processes=1) == 1
    assert "case_3 kidney_right" in caplog.text
    assert "11 organs stored" in caplog.text


def test_nothing_preprocessed_is_an_error(paths: Paths, raw_folder: Path) -> None:
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5)
    for mask in (raw_folder / "organMasksTr").glob("*/*"):
        mask.unlink()
    with pytest.raises(DataError, match="12 failed"):
        api.preprocess(paths, DATASET, plans_name="nnAnomalyPlans", num_processes=1)
