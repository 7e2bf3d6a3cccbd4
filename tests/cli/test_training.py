"""Planning and training: what they refuse, before they write anything, and what they say to do about it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.checkpoint import FINAL, load_checkpoint, save_checkpoint
from nnanomaly.plans import Plans

DATASET = "Dataset501_Tiny"


def test_missing_masks_are_named_before_anything_is_written(shell: Any, raw: Path) -> None:
    (raw / "organMasksTr" / "case_3" / "kidney_left.nii.gz").unlink()
    line = shell.refuses(3, "plan_and_preprocess", "-d", 501)
    assert "ROI-MISSING" in line
    assert "case_3" in line
    assert "kidney_left" in line


def test_an_unreadable_training_image_leaves_no_fingerprint(shell: Any, raw: Path) -> None:
    shell.truncate(raw / "imagesTr" / "case_3_0000.nii.gz")
    assert shell("plan_and_preprocess", "-d", 501) == 3
    assert "case_3" in shell.error()
    assert [path.name for path in shell.paths.preprocessed(DATASET).iterdir()] == ["splits_final.json"]


def test_training_misses_the_results_variable_before_it_starts(
    shell: Any, preprocessed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnanomaly_results")
    assert "export nnanomaly_results=" in shell.refuses(2, "train", 501, "vqgan")


@pytest.mark.parametrize("arguments", [["501", "ddpm"], ["501", "vqgan"], ["501", "ddpm", "--val"]])
def test_training_before_planning_names_the_command_to_run_first(shell: Any, raw: Path, arguments: list[str]) -> None:
    assert "nnanomaly_plan_and_preprocess" in shell.refuses(2, "train", *arguments)


def test_training_before_preprocessing_names_the_command_to_run_first(shell: Any, raw: Path) -> None:
    assert shell("plan_and_preprocess", "-d", 501, "-gpu_memory_target", 0.5, "--no_pp") == 0
    line = shell.refuses(3, "train", 501, "ddpm")
    assert "TRAIN-DATA" in line
    assert "nnanomaly_plan_and_preprocess" in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["501", "ddpm", "--val", "--c"], "--val and --c"),
        (["501", "vqgan", "--val"], "vqgan"),
        (["501", "classifier", "--val_best"], "--val_best calibrates a ddpm, a head or a reduction, not classifier"),
        (["501", "reduction", "-lr", "0.1"], "-lr does not go with reduction"),
        (["501", "reduction", "--c"], "--c does not go with reduction"),
        (["501", "ddpm", "-chk", "checkpoint_best.pth"], "--val"),
        (["501", "vqgan", "-num_iterations", "0"], "num_iterations"),
        (["501", "vqgan", "-lr", "-1"], "learning_rate"),
        (["501", "vqgan", "-batch_size", "0"], "batch_size"),
        (["501", "vqgan", "five"], "five"),
        (["501", "vqgan", "-1"], "-1"),
        (["501", "vqgan", "../0"], "../0"),
        (["501", "vqgan", "00"], "'00'"),
        (["501", "vqgan", "0x"], "'0x'"),
        (["501", "vqgan", "5"], "0 ... 4"),
        (["501", "ddpm", "5", "--val"], "0 ... 4"),
        (["501", "ddpm", "0", "--val"], "nnanomaly_train Dataset501_Tiny vqgan 0"),
        (["501", "ddpm", "-device", "cuda:63"], "cuda:63"),
        (["501", "ddpm", "-tr", "nnUNetTrainer"], "nnAnomalyTrainer"),
        (["501", "ddpm", "-num_gpus", "2"], "-device cuda:1"),
        (["501", "ddpm", "-num_gpus", "0"], "-device cpu"),
        (["501", "ddpm", "-p", "OtherPlans"], "OtherPlans"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_training_refuses_what_it_cannot_do(shell: Any, preprocessed: Path, arguments: list[str], part: str) -> None:
    assert part in shell.refuses(2, "train", *arguments)


def test_classes_that_are_missing_in_a_fold_are_counted(shell: Any, preprocessed: Path) -> None:
    table = preprocessed / "organ_labels.csv"
    table.write_text(table.read_text().replace("unhealthy", "healthy"))
    assert shell("train", 501, "classifier") == 3
    line = shell.error()
    assert "TRAIN-CLASSES" in line
    assert "'unhealthy': 0" in line


def take_away(shell: Any, plans: Plans, *stages: str) -> None:
    """Have a model that lacks some stages."""
    for stage in stages:
        shutil.rmtree(shell.paths.model(DATASET, plans.plans_name, stage))


def relabel(preprocessed: Path, cases: set[str], label: str) -> None:
    """Give all organs of some cases another weak label, as a new report would."""
    table = preprocessed / "organ_labels.csv"
    rows = [row.split(",") for row in table.read_text().splitlines()]
    changed = [[row[0], row[1], label, *row[3:]] if row[0] in cases else row for row in rows]
    table.write_text("\n".join(map(",".join, changed)) + "\n")


def validation_cases(preprocessed: Path) -> set[str]:
    return set(json.loads((preprocessed / "splits_final.json").read_text())[0]["val"])


def test_a_classifier_trains_without_labels_to_validate_on(shell: Any, preprocessed: Path, model: Plans) -> None:
    relabel(preprocessed, validation_cases(preprocessed), "uncertain")
    take_away(shell, model, "classifier")
    assert shell("train", 501, "classifier") == 0
    summary = shell.paths.fold(DATASET, model.plans_name, "classifier", 0) / "validation" / "summary.json"
    assert json.loads(summary.read_text()) == {}


def test_without_a_healthy_organ_to_validate_on_no_ddpm_is_trained(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    relabel(preprocessed, validation_cases(preprocessed), "unhealthy")
    take_away(shell, model, "ddpm")
    assert shell("train", 501, "ddpm") == 3
    line = shell.error()
    assert "TRAIN-HEALTHY" in line
    assert "0 to validate" in line


def test_a_scaling_of_another_form_is_measured_beside_the_one_that_is_there(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    path = shell.paths.fold(DATASET, model.plans_name, "vqgan", 0) / "latent_scaling.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "values": {"low": [-3.0], "high": [3.0]}}))
    assert shell("train", 501, "classifier") == 0
    values = json.loads(path.read_text())["values"]
    assert (values["low"], values["high"]) == ([-3.0], [3.0])
    assert len(values["mean"]) == len(values["std"]) == model.vqgan.latent_channels


def test_a_classifier_of_another_autoencoder_is_refused_before_the_ddpm_is_trained(
    shell: Any, preprocessed: Path, model: Plans
) -> None:
    vqgan = shell.paths.fold(DATASET, model.plans_name, "vqgan", 0) / FINAL
    save_checkpoint(vqgan, {**load_checkpoint(vqgan), "note": "another file"})
    take_away(shell, model, "ddpm")
    line = shell.refuses(6, "train", 501, "ddpm")
    assert "CKPT-VQGAN" in line
    assert "classifier" in line
    assert "--force" in line


def set_gate(preprocessed: Path, plans: Plans, limits: list[float]) -> None:
    """Write limits of the reconstruction gate into the plans file, as a user would."""
    path = preprocessed / f"{plans.plans_name}.json"
    document = json.loads(path.read_text())
    document["configurations"]["vqgan"]["gate"]["min_contrast_retention"] = limits
    path.write_text(json.dumps(document))


def test_nothing_is_trained_on_an_autoencoder_that_loses_lesions_until_the_limit_is_lowered(
    shell: Any, preprocessed: Path, tiny_plans: Any
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    set_gate(preprocessed, plans, [0.0, 0.0, 0.95])
    assert shell("train", 501, "ddpm") == 3
    lines = shell.capsys.readouterr().err.splitlines()
    assert "TRAIN-GATE" in lines[-1]
    assert "contrast kept of 20 mm lesions" in lines[-1]
    gate = shell.paths.fold(DATASET, plans.plans_name, "vqgan", 0) / "validation" / "reconstruction_gate.json"
    assert json.loads(gate.read_text())["passed"] is False
    for stage in ("classifier", "ddpm"):
        assert not shell.paths.fold(DATASET, plans.plans_name, stage, 0).exists()
    assert "TRAIN-GATE" in shell.refuses(3, "train", 501, "ddpm")  # known without measuring again
    set_gate(preprocessed, plans, [0.0, 0.0, 0.0])
    assert shell("train", 501, "ddpm") == 0
    assert json.loads(gate.read_text())["passed"] is True


def test_an_autoencoder_alone_is_trained_whatever_it_loses(shell: Any, preprocessed: Path, tiny_plans: Any) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    set_gate(preprocessed, plans, [0.0, 0.0, 0.95])
    assert shell("train", 501, "vqgan") == 0
    gate = shell.paths.fold(DATASET, plans.plans_name, "vqgan", 0) / "validation" / "reconstruction_gate.json"
    assert json.loads(gate.read_text())["passed"] is False


def test_a_log_of_a_run_without_checkpoint_does_not_stand_before_that_of_the_run_which_should_continue_it(
    shell: Any, preprocessed: Path, tiny_plans: Any
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    log = shell.paths.fold(DATASET, plans.plans_name, "vqgan", 0) / "log.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"kind": "of a run that was killed"}\n')
    assert shell("train", 501, "vqgan", "--c") == 0
    assert json.loads(log.read_text().splitlines()[0])["kind"] == "start"


@pytest.mark.parametrize(("shift", "drifted"), [(0.0, False), (1.0, True)])
def test_latents_that_are_not_scaled_as_measured_raise_an_alarm_before_the_ddpm_trains(
    shell: Any, preprocessed: Path, tiny_plans: Any, shift: float, drifted: bool
) -> None:
    plans = tiny_plans("default", dataset=DATASET)
    assert shell("train", 501, "classifier") == 0
    path = shell.paths.fold(DATASET, plans.plans_name, "vqgan", 0) / "latent_scaling.json"
    scaling = json.loads(path.read_text())
    scaling["values"]["mean"][0] += shift * scaling["values"]["std"][0]
    path.write_text(json.dumps(scaling))
    assert shell("train", 501, "ddpm") == 0
    log = shell.paths.fold(DATASET, plans.plans_name, "ddpm", 0) / "log.jsonl"
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert records[0]["kind"] == "start"
    assert [r["alarm"] for r in records if r["kind"] == "alarm"] == (["latent-drift"] if drifted else [])


def test_a_changed_network_is_refused_until_it_is_trained_anew(shell: Any, preprocessed: Path, model: Plans) -> None:
    path = preprocessed / f"{model.plans_name}.json"
    path.write_text(path.read_text().replace('"pool": "average"', '"pool": "logsumexp"'))
    line = shell.refuses(6, "train", 501, "ddpm")
    assert "CKPT-PLANS" in line
    assert "classifier" in line
