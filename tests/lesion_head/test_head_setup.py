"""Training the head of a fold whose other stages have random weights: files, what is opened, resuming, calibrating."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nnanomaly import cli
from nnanomaly.dataset.organ_labels import write_label_snapshot
from nnanomaly.dataset.patch_store import save_patch
from nnanomaly.lesion_head.example_store import example_names, load_example
from nnanomaly.lesion_head.examples import LESION
from nnanomaly.paths import Paths, environment_for
from nnanomaly.plans import HeadPlan, Plans, load_plans, save_plans
from nnanomaly.synthesis.shapes import distance_from

DATASET = "Dataset501_Kidney"
CASES = tuple(f"case_{number}" for number in range(6))
SHAPE = (16, 16, 16)
GRID = {"shape": list(SHAPE), "spacing_mm": [4.0] * 3, "origin_mm": [0.0] * 3, "direction": np.eye(3).tolist()}
UNHEALTHY = "case_3"
VARIANTS = 2


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    plans = tiny_plans("default", dataset=DATASET)
    inference = replace(plans.inference, sampler="one_step", guidance="none", num_samples=1, precision="fp32")
    plans = replace(
        plans, organs=("kidney_left",), inference=inference, head=HeadPlan(widths=(4, 8), variants_per_patch=VARIANTS)
    )
    return plans.with_training(
        "head",
        num_iterations=4,
        validate_every=2,
        checkpoint_every=2,
        warmup_iterations=0,
        decay="constant",
        precision="fp32",
    )


@pytest.fixture
def project(paths: Paths, plans: Plans, write_untrained_model: Callable[..., None]) -> Iterator[Paths]:
    """Six cases with a kidney each, one of them unhealthy; the last two validate."""
    write_untrained_model(paths, plans)
    folder = paths.preprocessed(DATASET)
    ball = distance_from((8, 8, 8), SHAPE, (4.0,) * 3) < 22
    for number, case in enumerate(CASES):
        image = np.where(ball, 0.45, -0.5) + np.random.default_rng(number).normal(0, 0.02, SHAPE)
        array = np.stack([image, ball, np.ones_like(ball)]).astype(np.float16)
        metadata = {"grid": GRID, "case": case, "organ": "kidney_left"}
        save_patch(folder / plans.data_identifier, f"{case}__kidney_left", array, metadata=metadata)
    labels = {(case, "kidney_left"): "unhealthy" if case == UNHEALTHY else "healthy" for case in CASES}
    write_label_snapshot(folder, labels, groups={})
    (folder / "splits_final.json").write_text(json.dumps([{"train": CASES[:4], "val": CASES[4:]}]))
    (folder / "dataset.json").write_text("{}")
    save_plans(paths.plans(DATASET, plans.plans_name), plans)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment_for(paths).items():
            patch.setenv(name, value)
        yield paths


def train(*arguments: str) -> int:
    return cli.train(["501", "head", "0", "-device", "cpu", *arguments])


def head_folder(paths: Paths, plans: Plans) -> Path:
    return paths.fold(DATASET, plans.plans_name, "head", 0)


def test_the_command_trains_calibrates_and_makes_the_head_the_detector(project: Paths, plans: Plans) -> None:
    assert train() == 0
    folder = head_folder(project, plans)
    assert torch.load(folder / "checkpoint_final.pth", weights_only=True)["iteration"] == 4
    after = load_plans(project.plans(DATASET, plans.plans_name))
    assert after.inference.detector == "head"
    assert "head" in after.reasons["inference.detector"]
    calibration = json.loads((project.fold(DATASET, plans.plans_name, "ddpm", 0) / "calibration.json").read_text())
    assert set(calibration["checkpoints"]) == {"vqgan", "ddpm", "head"}
    assert 0 <= calibration["threshold"] <= 1


def test_examples_are_made_of_healthy_training_organs_alone(project: Paths, plans: Plans) -> None:
    assert train() == 0
    examples = head_folder(project, plans) / "examples"
    assert {name.split("__")[0] for name in example_names(examples / "train")} == set(CASES[:3])
    assert {name.split("__")[0] for name in example_names(examples / "val")} == set(CASES[4:])
    plain, *edited = [load_example(examples / "train", f"{CASES[0]}__kidney_left__v{v}") for v in range(VARIANTS + 1)]
    assert not plain[LESION].any()
    assert any(np.any(example[0] != plain[0]) for example in edited)


def test_examples_are_kept_and_made_anew_when_another_ddpm_stands_behind_them(project: Paths, plans: Plans) -> None:
    assert train() == 0
    path = head_folder(project, plans) / "examples" / "train" / f"{CASES[0]}__kidney_left__v1.npy"
    first = path.stat().st_mtime_ns
    assert train("--force") == 0
    assert path.stat().st_mtime_ns == first
    ddpm = project.fold(DATASET, plans.plans_name, "ddpm", 0) / "checkpoint_final.pth"
    state = torch.load(ddpm, weights_only=True)
    state["averaged_weights"] = {name: 0.9 * value for name, value in state["averaged_weights"].items()}
    torch.save(state, ddpm)
    assert train() == 6
    assert train("--force") == 0
    assert path.stat().st_mtime_ns != first


def test_a_run_that_was_stopped_ends_with_the_same_weights(project: Paths, plans: Plans) -> None:
    final = head_folder(project, plans) / "checkpoint_final.pth"
    assert train() == 0
    whole = torch.load(final, weights_only=True)["averaged_weights"]
    assert train("--force", "-num_iterations", "2") == 0
    assert torch.load(final, weights_only=True)["iteration"] == 2
    assert train("--c") == 0
    resumed = torch.load(final, weights_only=True)["averaged_weights"]
    for name, value in whole.items():
        torch.testing.assert_close(resumed[name], value, rtol=0, atol=0)


def test_a_second_round_learns_from_what_the_first_sees_in_unhealthy_organs(project: Paths, plans: Plans) -> None:
    twice = replace(plans, head=replace(plans.head, self_training_iterations=3))
    save_plans(project.plans(DATASET, plans.plans_name), twice)
    assert train() == 0
    folder = head_folder(project, plans)
    assert example_names(folder / "examples" / "unhealthy") == [f"{UNHEALTHY}__kidney_left"]
    first, second = (
        torch.load(path / "checkpoint_final.pth", weights_only=True) for path in (folder / "first_round", folder)
    )
    assert (first["iteration"], second["iteration"]) == (4, 3)
    steps = [
        float((first["averaged_weights"][name] - value).abs().max())
        for name, value in second["averaged_weights"].items()
    ]
    assert 0 < max(steps) < 0.05  # it starts from the first round's weights


def test_a_head_of_other_reconstructions_is_refused(
    project: Paths, plans: Plans, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    ddpm = project.fold(DATASET, plans.plans_name, "ddpm", 0) / "checkpoint_final.pth"
    state = torch.load(ddpm, weights_only=True)
    torch.save({**state, "note": "another file"}, ddpm)
    assert cli.train(["501", "ddpm", "0", "--val", "-device", "cpu"]) != 0
    error = capsys.readouterr().err
    assert "CKPT-HEAD" in error
    assert "nnanomaly_train Dataset501_Kidney head 0" in error


def test_a_fold_without_healthy_organs_is_refused(
    project: Paths, plans: Plans, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {(case, "kidney_left"): "unhealthy" for case in CASES}
    write_label_snapshot(project.preprocessed(DATASET), labels, groups={})
    assert train() != 0
    assert "TRAIN-HEALTHY" in capsys.readouterr().err
