"""The verdict on figures written by hand, and the gate of a fold on disk. `tests/cli` trains through it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nnanomaly.checkpoint import load_checkpoint, save_checkpoint
from nnanomaly.dataset.patch_store import save_patch
from nnanomaly.paths import Paths
from nnanomaly.plans import GatePlan, Plans
from nnanomaly.training import reconstruction_gate
from nnanomaly.training.fold_data import PatchSet
from nnanomaly.training.reconstruction_gate import describe, find_shortfalls, measure_gate, refuse_poor_autoencoder
from nnanomaly.training.reconstruction_quality import Fidelity
from nnanomaly.utilities.errors import DataError

GOOD = Fidelity(psnr_db=28.0, ssim=0.93, mae_hu=14.0, high_band_ratio=0.7, contrast_retention=(0.25, 0.65, 0.75))
CPU = torch.device("cpu")


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    return tiny_plans("default", dataset="Dataset501_Kidney")


def with_gate(plans: Plans, **limits: object) -> Plans:
    return replace(plans, vqgan=replace(plans.vqgan, gate=GatePlan(**limits)))


@pytest.mark.parametrize(
    ("limits", "phrase"),
    [
        ({"min_psnr_db": 30.0}, "PSNR in dB 28, limit 30"),
        ({"min_ssim": 0.95}, "SSIM 0.93, limit 0.95"),
        ({"max_mae_hu": 10.0}, "error in the organ in HU 14, limit 10"),
        ({"min_high_band_ratio": 0.8}, "high-band energy 0.7, limit 0.8"),
        ({"min_contrast_retention": (0.0, 0.7, 0.0)}, "contrast kept of 10 mm lesions 0.65, limit 0.7"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_each_figure_beyond_its_limit_is_named_with_both(limits: dict[str, object], phrase: str) -> None:
    assert list(find_shortfalls(GOOD, GatePlan(**limits))) == [phrase]


def test_figures_within_their_limits_and_limits_of_zero_refuse_nothing() -> None:
    exact = GatePlan(
        min_psnr_db=28.0,
        min_ssim=0.93,
        max_mae_hu=14.0,
        min_high_band_ratio=0.7,
        min_contrast_retention=(0.25, 0.65, 0.75),
    )
    assert list(find_shortfalls(GOOD, exact)) == []
    useless = Fidelity(psnr_db=-3.0, ssim=-0.5, mae_hu=400.0, high_band_ratio=0.0, contrast_retention=(-1.0, 0.0, None))
    assert list(find_shortfalls(useless, GatePlan())) == []


def test_what_could_not_be_measured_refuses_nothing_and_is_called_unknown() -> None:
    unknown = replace(GOOD, mae_hu=None, contrast_retention=(None, None, None))
    plan = GatePlan(max_mae_hu=1.0, min_contrast_retention=(0.5, 0.5, 0.5))
    assert list(find_shortfalls(unknown, plan)) == []
    assert describe(unknown, plan).count("unknown") == 4


def test_the_refusal_is_one_line_with_all_figures_the_limits_and_the_remedy(plans: Plans) -> None:
    strict = with_gate(plans, min_contrast_retention=(0.5, 0.4, 0.8))
    with pytest.raises(DataError) as refused:
        refuse_poor_autoencoder(GOOD, strict, stage="ddpm", fold=3)
    line = str(refused.value)
    assert refused.value.code == "TRAIN-GATE"
    assert "\n" not in line
    for part in ("28", "0.93", "14", "0.7", "0.25 (limit 0.5)", "0.65 (limit 0.4)", "0.75 (limit 0.8)"):
        assert part in line
    for part in ("ddpm is not trained", "vqgan 3 --c -num_iterations", "stride", "nnAnomalyPlans.json"):
        assert part in line
    assert "longer than it was" in line
    with pytest.raises(DataError, match="longer than the 5 iterations that it was"):
        refuse_poor_autoencoder(replace(GOOD, num_trained=5), strict, stage="ddpm", fold=3)
    refuse_poor_autoencoder(GOOD, with_gate(plans, min_contrast_retention=(0.2, 0.4, 0.7)), stage="ddpm", fold=3)


def test_the_gate_knows_how_long_the_autoencoder_was_trained(fold: Path, plans: Plans, held_out: PatchSet) -> None:
    path = fold / "checkpoint_final.pth"
    save_checkpoint(path, {**load_checkpoint(path), "iteration": 7})
    assert measure_gate(fold, plans, held_out, CPU).num_trained == 7


@pytest.fixture
def held_out(tmp_path: Path) -> PatchSet:
    """Twelve patches with a ball for an organ: two of three healthy."""
    points = np.indices((16, 16, 16)) - 7.5
    ball = np.sqrt((points**2).sum(axis=0)) < 6
    names = tuple(f"case_{number:02d}__kidney_left" for number in range(12))
    grid = {"shape": [16] * 3, "spacing_mm": [4.0] * 3, "origin_mm": [0.0] * 3, "direction": np.eye(3).tolist()}
    for number, name in enumerate(names):
        image = np.where(ball, 0.3, -0.5) + np.random.default_rng(number).normal(0, 0.02, ball.shape)
        array = np.stack([image, ball, np.ones_like(ball)]).astype(np.float16)
        save_patch(tmp_path / "patches", name, array, metadata={"grid": grid, "case": name[:7], "organ": "kidney_left"})
    labels = tuple("unhealthy" if number % 3 == 0 else "healthy" for number in range(12))
    return PatchSet(folder=tmp_path / "patches", names=names, labels=labels)


@pytest.fixture
def fold(paths: Paths, plans: Plans, write_untrained_model: Callable[..., None]) -> Path:
    write_untrained_model(paths, plans)
    return paths.fold(plans.dataset_name, plans.plans_name, "vqgan", 0)


def test_the_gate_is_written_with_its_limits_and_says_its_figures_in_one_line(
    fold: Path, plans: Plans, held_out: PatchSet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    strict = with_gate(plans, min_contrast_retention=(0.0, 0.9, 0.9))
    fidelity = measure_gate(fold, strict, held_out, CPU)
    document = json.loads((fold / "validation" / "reconstruction_gate.json").read_text())
    assert document["figures"]["psnr_db"] == fidelity.psnr_db
    assert document["limits"]["min_contrast_retention"] == [0.0, 0.9, 0.9]
    assert document["passed"] is False
    assert len(document["shortfalls"]) == 2
    (line,) = [record.message for record in caplog.records if "held-out patches" in record.message]
    assert f"PSNR {fidelity.psnr_db:.3g} dB" in line
    assert "too little for the other stages" in line


def test_an_untrained_autoencoder_keeps_nothing_of_a_lesion(fold: Path, plans: Plans, held_out: PatchSet) -> None:
    fidelity = measure_gate(fold, plans, held_out, CPU)
    assert all(abs(share or 0) < 0.3 for share in fidelity.contrast_retention)


def test_healthy_patches_are_measured_and_where_there_are_none_the_others(
    fold: Path, plans: Plans, held_out: PatchSet
) -> None:
    path = fold / "validation" / "reconstruction_gate.json"
    measure_gate(fold, plans, held_out, CPU)
    healthy = held_out.where("healthy").names
    assert json.loads(path.read_text())["conditions"]["patches"] == list(healthy)  # eight of eight
    ill = held_out.where("unhealthy")
    measure_gate(fold, plans, ill, CPU)
    assert json.loads(path.read_text())["conditions"]["patches"] == list(ill.names)


def test_figures_are_measured_once_per_checkpoint_and_limits_are_judged_anew(
    fold: Path, plans: Plans, held_out: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = measure_gate(fold, plans, held_out, CPU)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(reconstruction_gate, "measure_fidelity", refuse)
    assert measure_gate(fold, with_gate(plans, min_contrast_retention=(0.0, 0.0, 0.9)), held_out, CPU) == first
    assert json.loads((fold / "validation" / "reconstruction_gate.json").read_text())["passed"] is False
    with pytest.raises(AssertionError, match="measured again"):
        measure_gate(fold, with_gate(plans, contrast_hu=30.0), held_out, CPU)
    (fold / "checkpoint_final.pth").write_bytes(b"of another training")
    with pytest.raises(Exception, match="CKPT-DAMAGED"):
        measure_gate(fold, plans, held_out, CPU)
