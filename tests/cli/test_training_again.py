"""Training commands on what is trained already: finished stages are kept, and what replaces them grows beside them."""

import json
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.checkpoint import FINAL, LATEST, load_checkpoint, save_checkpoint
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.stages import HEAD
from nnanomaly.training import loop

DATASET = "Dataset501_Tiny"
PREDICT = ("predict", "-i", "imagesTs", "-o", "preds", "-d", DATASET)
ANEW, BEFORE = (f"{what}__nnAnomalyPlans__fold_0" for what in ("anew", "before"))


@pytest.fixture
def results(shell: Any, preprocessed: Path, model: Plans, trained: Path) -> Path:
    """The results of the dataset, whose fold 0 is trained to its end and predicts; trained once, then copied."""
    shutil.rmtree(shell.paths.results_root)
    if not trained.exists():
        assert shell("train", 501, "ddpm") == 0
        shutil.copytree(shell.paths.results_root, trained)
    else:
        shutil.copytree(trained, shell.paths.results_root)
    return Path(shell.paths.results_folder()) / DATASET


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they are kept for the next test; filled by the first."""
    return tmp_path_factory.mktemp("trained") / "results"


def stage(results: Path, name: str, fold: int = 0) -> Path:
    return results / f"nnAnomalyTrainer__nnAnomalyPlans__{name}" / f"fold_{fold}"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def marked(shell: Any) -> dict[str, bytes]:
    """The anomaly maps of a prediction made now."""
    shutil.rmtree("preds", ignore_errors=True)
    assert shell(*PREDICT) == 0
    return files(Path("preds/anomaly_maps"))


def edit(shell: Any, plans: Plans, **inference: Any) -> None:
    """Change fields of the inference in the plans file, as a user does."""
    path = shell.paths.plans(DATASET, plans.plans_name)
    now = load_plans(path)
    save_plans(path, replace(now, inference=replace(now.inference, **inference)))


@pytest.mark.parametrize("configuration", ["ddpm", "vqgan", "classifier"])
@pytest.mark.parametrize("flags", [(), ("--c",), ("-num_iterations", "1")], ids=" ".join)
def test_a_finished_stage_that_is_asked_for_again_is_kept_and_that_is_said(
    shell: Any, results: Path, caplog: pytest.LogCaptureFixture, configuration: str, flags: tuple[str, ...]
) -> None:
    before = files(results)
    caplog.clear()
    assert shell("train", 501, configuration, *flags) == 0
    assert files(results) == before
    assert f"{configuration}, fold 0, is trained: kept. --force trains it anew" in caplog.messages


def test_a_missing_calibration_is_made_and_no_stage_trained(shell: Any, results: Path) -> None:
    before = files(results)
    (stage(results, "ddpm") / "calibration.json").unlink()
    assert shell("train", 501, "ddpm") == 0
    assert files(results) == before


def test_a_calibration_of_other_plans_is_made_anew(shell: Any, results: Path, model: Plans) -> None:
    edit(shell, model, min_voxels=2)
    assert shell("train", 501, "ddpm") == 0
    written = json.loads((stage(results, "ddpm") / "calibration.json").read_text())
    assert written["plans"]["inference"]["min_voxels"] == 2


@pytest.mark.parametrize("flags", [(), ("--c",)], ids=" ".join)
def test_an_interrupted_stage_is_continued_whether_that_is_asked_for_or_not(
    shell: Any, results: Path, caplog: pytest.LogCaptureFixture, flags: tuple[str, ...]
) -> None:
    whole = load_checkpoint(stage(results, "ddpm") / FINAL)
    shutil.rmtree(stage(results, "ddpm"))
    assert shell("train", 501, "ddpm", "-num_iterations", 1) == 0
    folder = stage(results, "ddpm")
    (folder / FINAL).rename(folder / LATEST)  # what a run leaves that was stopped after one of two iterations
    (folder / "calibration.json").unlink()
    assert shell("train", 501, "ddpm", *flags) == 0
    assert "ddpm, fold 0, was interrupted: continuing" in caplog.messages
    assert load_checkpoint(folder / FINAL)["iteration"] == whole["iteration"] == 2
    for name, value in load_checkpoint(folder / FINAL)["averaged_weights"].items():
        assert np.array_equal(value.numpy(), whole["averaged_weights"][name].numpy())


def test_an_interrupted_stage_of_other_plans_is_refused_with_force_as_the_remedy(
    shell: Any, results: Path, model: Plans
) -> None:
    folder = stage(results, "ddpm")
    (folder / FINAL).rename(folder / LATEST)
    (folder / "calibration.json").unlink()
    path = shell.paths.plans(DATASET, model.plans_name)
    plans = load_plans(path)
    save_plans(path, replace(plans, ddpm=replace(plans.ddpm, log_sigma_mean=-1.0)))
    assert shell("train", 501, "ddpm") == 6
    line = shell.error()
    assert "CKPT-PLANS" in line and "--force" in line
    assert (folder / LATEST).is_file()


def test_force_trains_anew_beside_the_old_fold_which_stays_whole(shell: Any, results: Path) -> None:
    old, hashes = marked(shell), files(results)
    assert shell("train", 501, "ddpm", "--force", "-seed", 7) == 0
    assert marked(shell) != old
    kept = results / BEFORE / DATASET
    assert {f"{name}": content for name, content in files(kept).items() if "dataset.json" not in name} == {
        name: content for name, content in hashes.items() if "fold_0/" in name
    }
    assert not (results / ANEW).exists()
    shell.paths = replace(shell.paths, results_root=results / BEFORE)
    os.environ["nnanomaly_results"] = str(results / BEFORE)
    assert marked(shell) == old  # the old one is a model like any other


def test_a_forced_training_that_was_stopped_leaves_the_old_fold_and_is_continued(
    shell: Any, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, hashes = marked(shell), files(results)
    step = loop._train_step

    def stopped(*arguments: Any) -> None:
        step(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_step", stopped)
        assert shell("train", 501, "ddpm", "--force", "-seed", 7) == 130
    assert {name: content for name, content in files(results).items() if not name.startswith("anew")} == hashes
    assert marked(shell) == old
    assert load_checkpoint(stage(results / ANEW / DATASET, "ddpm") / LATEST)["iteration"] == 1
    assert shell("train", 501, "ddpm", "-seed", 7) == 0
    assert not (results / ANEW).exists()
    assert marked(shell) != old


def test_a_forced_vqgan_waits_beside_a_fold_that_predicts_until_all_of_it_is_trained(
    shell: Any, results: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = marked(shell)
    assert shell("train", 501, "vqgan", "--force", "-seed", 7) == 0
    assert "nnanomaly_train Dataset501_Tiny ddpm 0" in caplog.messages[-1]
    assert any("no longer fits the new one: classifier, ddpm" in message for message in caplog.messages)
    assert marked(shell) == old
    assert shell("train", 501, "ddpm") == 0
    assert marked(shell) != old
    hashes = [load_checkpoint(stage(results, name) / FINAL)["vqgan_sha256"] for name in ("classifier", "ddpm")]
    assert len({*hashes}) == 1


def test_a_forced_first_training_needs_no_place_beside(shell: Any, results: Path) -> None:
    shutil.rmtree(results)
    assert shell("train", 501, "vqgan", "--force") == 0
    assert [path.name for path in results.iterdir()] == ["nnAnomalyTrainer__nnAnomalyPlans__vqgan"]


def test_a_finished_stage_goes_on_beside_itself_where_more_iterations_are_asked_for(shell: Any, results: Path) -> None:
    old = marked(shell)
    assert shell("train", 501, "ddpm", "--c", "-num_iterations", 3) == 0
    assert load_checkpoint(stage(results, "ddpm") / FINAL)["iteration"] == 3
    assert load_checkpoint(stage(results / BEFORE / DATASET, "ddpm") / FINAL)["iteration"] == 2
    assert marked(shell) != old


@pytest.mark.parametrize("flag", ["--c", "--val"])
def test_force_and_its_opposites_exclude_each_other(shell: Any, results: Path, flag: str) -> None:
    assert f"--force and {flag} exclude each other" in shell.refuses(2, "train", 501, "ddpm", "--force", flag)


def test_a_fold_of_other_plans_leaves_the_finished_fold_its_own(shell: Any, results: Path, model: Plans) -> None:
    old, hashes = marked(shell), files(stage(results, "ddpm"))
    edit(shell, model, smoothing_mm=8.0)
    assert shell("train", 501, "ddpm", 2) == 0
    assert files(stage(results, "ddpm")) == hashes
    line = shell.refuses(2, *PREDICT[:-3], "other", "-d", DATASET)
    assert "CFG-MIXED" in line and "-f 0" in line and "ddpm 2 --val" in line
    shutil.rmtree("preds")
    assert shell(*PREDICT, "-f", 0) == 0
    assert files(Path("preds/anomaly_maps")) == old


def test_an_older_fold_gets_its_plans_before_those_beside_it_are_replaced(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    results = shell.paths.results_folder() / DATASET
    old = marked(shell)
    edit(shell, model, smoothing_mm=8.0)
    assert shell("train", 501, "ddpm", 2) == 0
    assert json.loads((stage(results, "ddpm") / "calibration.json").read_text())["plans"]["inference"] != {}
    shutil.rmtree("preds")
    assert shell(*PREDICT, "-f", 0) == 0
    assert files(Path("preds/anomaly_maps")) == old


def test_the_detector_that_the_plans_name_is_trained_with_the_ddpm(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    shutil.rmtree(shell.paths.results_root)
    edit(shell, model, detector=HEAD)
    assert shell("train", 501, "ddpm") == 0
    results = shell.paths.results_folder() / DATASET
    assert (stage(results, HEAD) / FINAL).is_file()
    before = files(results)
    assert shell("train", 501, "all") == 0
    assert files(results) == before
    assert shell(*PREDICT) == 0


def test_a_head_is_trained_anew_with_the_ddpm_it_belongs_to(shell: Any, results: Path) -> None:
    assert shell("train", 501, HEAD) == 0
    old = marked(shell)
    assert shell("train", 501, "ddpm", "--force", "-seed", 7) == 0
    assert marked(shell) != old
    (ddpm,) = {load_checkpoint(stage(results, HEAD) / FINAL)["checkpoints"]["ddpm"]}
    assert ddpm == json.loads((stage(results, "ddpm") / "calibration.json").read_text())["checkpoints"]["ddpm"]


def test_a_reduction_that_is_there_is_kept_and_trained_anew_only_when_told(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    edit(shell, model, false_candidates_per_organ=2.0, morphology=False, min_voxels=1, smoothing_mm=0.0)
    assert shell("train", 501, "reduction") == 0
    results = shell.paths.results_folder() / DATASET
    before = files(results)
    assert shell("train", 501, "reduction") == 0
    assert files(results) == before
    assert shell("train", 501, "reduction", "--force", "-seed", 3) == 0
    assert files(stage(results / BEFORE / DATASET, "reduction")) == files_of(before, "reduction")
    assert shell(*PREDICT) == 0


def files_of(results: dict[str, bytes], name: str) -> dict[str, bytes]:
    start = f"nnAnomalyTrainer__nnAnomalyPlans__{name}/fold_0/"
    return {path.removeprefix(start): content for path, content in results.items() if path.startswith(start)}


def test_a_stage_on_another_autoencoder_is_refused_with_a_remedy_that_keeps_it(shell: Any, results: Path) -> None:
    vqgan = stage(results, "vqgan") / FINAL
    save_checkpoint(vqgan, {**load_checkpoint(vqgan), "note": "another file"})
    line = shell.refuses(6, "train", 501, "ddpm")
    assert "CKPT-VQGAN" in line and "--force" in line
