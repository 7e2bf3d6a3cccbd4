"""Training and prediction on what was damaged or is not as before (F62 to F82, F99): status, code, what is left."""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from nnanomaly.checkpoint import FINAL, LATEST, PREVIOUS, load_checkpoint
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans
from nnanomaly.training.batches import PatchBatches

DATASET = "Dataset501_Tiny"


@pytest.mark.parametrize("damage", ["truncated", "missing"])
def test_a_damaged_patch_is_named_and_preprocessing_again_mends_that_one_alone(
    shell: Any, preprocessed: Path, model: Plans, damage: str
) -> None:
    shutil.rmtree(shell.paths.model(DATASET, model.plans_name, "vqgan"))
    patch, *others = sorted((preprocessed / model.data_identifier).glob("*.npy"))
    whole, times = patch.read_bytes(), {path: path.stat().st_mtime_ns for path in others}
    if damage == "missing":
        patch.unlink()
    else:
        patch.write_bytes(whole[:500])
    line = shell.refuses(6, "train", 501, "vqgan")
    assert patch.name in line and "Run nnanomaly_preprocess again" in line
    assert shell("preprocess", "-d", 501) == 0
    assert patch.read_bytes() == whole
    assert {path: path.stat().st_mtime_ns for path in others} == times


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_killed_loader_is_one_line_with_a_remedy(
    shell: Any, preprocessed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = PatchBatches.__getitem__

    def killed(self: PatchBatches, iteration: int) -> Any:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return load(self, iteration)

    monkeypatch.setattr(PatchBatches, "__getitem__", killed)
    assert shell("train", 501, "vqgan", "-num_workers", 1) == 5
    line = shell.error()
    assert "[NNA-ENV-WORKER]" in line and "-num_workers" in line


def test_two_broken_checkpoints_are_refused_and_kept(shell: Any, preprocessed: Path, model: Plans) -> None:
    folder = shell.paths.fold(DATASET, model.plans_name, "vqgan", 0)
    final = folder / FINAL
    for name in (LATEST, PREVIOUS):
        (folder / name).write_bytes(final.read_bytes()[:1000])
    final.unlink()
    assert shell("train", 501, "vqgan", "--c") == 6
    line = shell.error()
    assert "[NNA-CKPT-DAMAGED]" in line and "--force" in line
    assert sorted(path.name for path in folder.glob("*.pth")) == sorted([LATEST, PREVIOUS])


def test_nothing_to_continue_starts_anew_and_says_so(
    shell: Any, preprocessed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert shell("train", 501, "vqgan", "--c", "-num_iterations", 1) == 0
    assert "nothing to continue" in caplog.text


def test_another_batch_size_may_continue_and_is_recorded(shell: Any, preprocessed: Path, model: Plans) -> None:
    folder = shell.paths.fold(DATASET, model.plans_name, "vqgan", 0)
    shutil.rmtree(shell.paths.results_root)
    assert shell("train", 501, "vqgan", "-num_iterations", 1) == 0
    assert shell("train", 501, "vqgan", "--c", "-num_iterations", 2, "-batch_size", 1) == 0
    assert load_checkpoint(folder / FINAL)["iteration"] == 2
    assert '"batch_size": 1' in (folder / "debug.json").read_text()


def test_a_part_without_a_case_is_nothing_to_do(shell: Any, model: Plans) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "-num_parts", 5, "-part_id", 4) == 0
    assert not list(Path("preds").glob("*.nii.gz"))


def test_a_newer_plans_file_of_a_model_is_refused_with_both_versions(shell: Any, model: Plans) -> None:
    path = shell.paths.model(DATASET, model.plans_name, "ddpm") / "plans.json"
    path.write_text(path.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    line = shell.refuses(6, "predict", "-i", "imagesTs", "-o", "preds")
    assert "[NNA-PLAN-VERSION]" in line and "schema_version 2" in line and "reads 1" in line


def test_spaces_and_letters_of_all_kinds_in_paths_do_no_harm(
    shell: Any, preprocessed: Path, model: Plans, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = tmp_path / "Zähne & 数据 (neu)"
    odd.mkdir()
    for name in ("raw", "preprocessed", "results"):
        shutil.move(tmp_path / name, odd / name)
        monkeypatch.setenv(f"nnanomaly_{name}", str(odd / name))
    shell.paths = Paths(odd / "raw", odd / "preprocessed", odd / "results")
    assert shell("plan_and_preprocess", "-d", 501, "-gpu_memory_target", 0.5) == 0
    assert shell("predict", "-i", odd / "raw" / DATASET / "imagesTs", "-o", odd / "vorhersagen ü") == 0
    assert (odd / "vorhersagen ü" / "test_0.nii.gz").is_file()
