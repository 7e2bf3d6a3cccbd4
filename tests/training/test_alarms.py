"""Each alarm provoked in a real training of tiny networks, and healthy trainings that are silent."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nnanomaly.diffusion.noise import gaussian
from nnanomaly.diffusion.process import EDM
from nnanomaly.networks.classifier import LatentClassifier
from nnanomaly.networks.discriminator import PatchDiscriminator
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.plans import ClassifierPlan, TrainingPlan, VQGANPlan
from nnanomaly.training.bottlenecks import CodebookBottleneck
from nnanomaly.training.classifier_stage import ClassifierStage
from nnanomaly.training.expectations import autoencoder_facts, blur, class_facts, latent_facts
from nnanomaly.training.loop import fit
from nnanomaly.training.monitor import MonitorSettings
from nnanomaly.training.optimisation import Batch
from nnanomaly.training.progress_figure import progress_figure
from nnanomaly.training.run_log import RunLog
from nnanomaly.training.vqgan_stage import VQGANStage

CPU = torch.device("cpu")
SETTINGS = MonitorSettings(window=3, long_window=3)
FROZEN = 1e-12  # a learning rate with which nothing is learnt


@pytest.fixture(autouse=True)
def _undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures take longer than these trainings."""
    monkeypatch.setattr(RunLog, "draw", lambda *_, **__: None)


def plan_of(num_iterations: int, learning_rate: float) -> TrainingPlan:
    return TrainingPlan(
        num_iterations=num_iterations, batch_size=2, learning_rate=learning_rate, validate_every=20, ema_decay=0.9
    )


def alarms(folder: Path) -> list[tuple[int, str]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(r["iteration"], r["alarm"]) for r in records if r["kind"] == "alarm" and r["raised"]]


def stripes(seed: int) -> Tensor:
    """[2, 1, 16, 16, 16]: planes that alternate along one axis, with a contrast of their own; a blur loses them all."""
    contrast = 0.3 + 0.6 * torch.rand(2, 1, 1, 1, 1, generator=torch.Generator().manual_seed(seed))
    return contrast * torch.tensor([1.0, -1.0]).repeat(8).view(1, 1, 16, 1, 1).expand(2, 1, 16, 16, 16)


def train_autoencoder(
    folder: Path, patches: Any, *, num_iterations: int, learning_rate: float, judges: bool = False, lost: bool = False
) -> None:
    """`judges`: with discriminators; `lost`: all codes but one lie where no token ever comes, and are not restarted."""
    torch.manual_seed(0)
    plan = VQGANPlan(
        architecture="resize",
        stride=(2, 2, 2),
        latent_channels=4,
        num_codes=64,
        widths=(8, 8),
        training=plan_of(num_iterations, learning_rate),
        restart_every=10_000 if lost else 10,
        discriminator_start=0,
        discriminator_learning_rate=3e-3,
    )
    networks = {"slices": PatchDiscriminator(2, width=4), "volumes": PatchDiscriminator(3, width=4)} if judges else {}
    vqgan = VQGAN(plan)
    if lost:
        vqgan.codebook.codes[1:] = vqgan.codebook.sums[1:] = 100.0
        vqgan.codebook.counts.fill_(1.0)
        vqgan.codebook.initialised.fill_(True)
    stage = VQGANStage(CodebookBottleneck(vqgan, plan), nn.ModuleDict(networks), plan, perceptual=None, device=CPU)
    validation: list[Batch] = [{"patch": patches(-1)}]
    fit(
        stage,
        lambda start, stop: [{"patch": patches(i), "iteration": torch.tensor(i)} for i in range(start, stop)],
        plan=plan.training,
        run_dir=folder,
        validation=validation,
        extra={"plans_identity": "abc"},
        resume=False,
        facts=autoencoder_facts(plan, validation),
        monitor=SETTINGS,
    )


def test_an_autoencoder_that_learns_is_left_in_peace(tmp_path: Path) -> None:
    train_autoencoder(tmp_path, stripes, num_iterations=120, learning_rate=5e-3)
    assert alarms(tmp_path) == []
    start = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[0])
    assert (start["kind"], start["num_codes"]) == ("start", 64)


def test_a_codebook_that_collapses_is_said_once_in_the_log_and_on_the_terminal(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_autoencoder(tmp_path, stripes, num_iterations=60, learning_rate=1e-3, lost=True)
    assert [name for _, name in alarms(tmp_path) if name == "codebook-collapse"] == ["codebook-collapse"]
    assert (30, "codebook-collapse") in alarms(tmp_path)  # the third record of ten iterations
    lines = [record for record in caplog.records if "codebook-collapse" in record.message]
    assert [record.levelno for record in lines] == [logging.WARNING]
    assert "1.0 of 64 codes" in lines[0].message
    (text,) = tmp_path.glob("training_log_*.txt")
    assert "the codebook has collapsed" in text.read_text()


def test_discriminators_that_win_are_noticed(tmp_path: Path) -> None:
    train_autoencoder(tmp_path, stripes, num_iterations=60, learning_rate=FROZEN, judges=True)
    assert "discriminator-wins" in [name for _, name in alarms(tmp_path)]


def test_an_autoencoder_that_does_not_learn_is_worse_than_a_blur(tmp_path: Path) -> None:
    def smooth(seed: int) -> Tensor:
        wave = torch.linspace(0, 3, 16).sin()
        return 0.8 * (wave.view(1, 1, 16, 1, 1) * wave.view(1, 1, 1, 16, 1)).expand(2, 1, 16, 16, 16)

    train_autoencoder(tmp_path, smooth, num_iterations=40, learning_rate=FROZEN)
    assert (20, "worse-than-blur") in alarms(tmp_path)  # half of the run is done


def test_the_blur_keeps_a_ramp_and_loses_stripes() -> None:
    ramp = torch.arange(8.0).view(1, 1, 8, 1, 1).expand(1, 1, 8, 8, 8)
    assert torch.allclose(blur(ramp, (2, 2, 2))[:, :, 1:-1], ramp[:, :, 1:-1])
    assert torch.allclose(blur(stripes(0), (2, 2, 2)), torch.zeros(2, 1, 16, 16, 16), atol=1e-6)
    assert blur(torch.zeros(1, 1, 7, 8, 9), (4, 4, 4)).shape == (1, 1, 7, 8, 9)


def train_classifier(folder: Path, *, signal: float, patience: int = 0) -> None:
    """Latents of two channels; those of the second class are brighter by `signal`."""
    torch.manual_seed(0)
    training = replace(plan_of(40, 1e-2 if signal else FROZEN), validate_every=5, patience=patience)
    plan = ClassifierPlan(widths=(8, 16), training=training, max_sigma=1.0)

    def batch(seed: int, count: int) -> Batch:
        labels = torch.arange(count) % 2
        noise = torch.randn(count, 2, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
        return {"patch": noise + signal * labels.view(-1, 1, 1, 1, 1), "label": labels, "iteration": torch.tensor(seed)}

    stage = ClassifierStage(
        LatentClassifier(plan, 2),
        plan,
        process=EDM(noise=gaussian, log_sigma_mean=0.0, log_sigma_std=1.0, largest_sigma=4.0),
        validation_sigmas=(0.1, 0.3),
        device=CPU,
    )
    validation = [batch(1000, 20)]
    fit(
        stage,
        lambda start, stop: [batch(i, 8) for i in range(start, stop)],
        plan=training,
        run_dir=folder,
        validation=validation,
        extra={"plans_identity": "abc"},
        resume=False,
        facts=class_facts(validation),
        monitor=SETTINGS,
    )


def test_a_classifier_without_signal_is_at_chance_and_one_with_signal_is_not(tmp_path: Path) -> None:
    train_classifier(tmp_path / "noise", signal=0.0)
    assert alarms(tmp_path / "noise") == [(40, "classifier-at-chance")]
    train_classifier(tmp_path / "signal", signal=1.0)
    assert alarms(tmp_path / "signal") == []


def test_a_classifier_that_stops_early_is_judged_by_its_last_validation(tmp_path: Path) -> None:
    train_classifier(tmp_path, signal=0.0, patience=2)
    ((iteration, name),) = alarms(tmp_path)
    assert name == "classifier-at-chance"
    assert iteration < 40


def test_patches_of_both_classes_are_counted_and_no_batch_has_none() -> None:
    batches = [{"label": torch.tensor([0, 1, 0])}, {"label": torch.tensor([0])}]
    assert class_facts(batches) == {"num_healthy": 3.0, "num_unhealthy": 1.0}
    assert class_facts([]) == {"num_healthy": 0.0, "num_unhealthy": 0.0}


def test_facts_of_latents_are_those_of_the_worst_channel() -> None:
    latents = torch.stack([torch.tensor([-1.0, 1.0]), torch.tensor([-3.0, 2.0])]).view(1, 2, 2, 1, 1)
    assert latent_facts([latents]) == {"latent_mean": -0.5, "latent_std_low": 1.0, "latent_std_high": 2.5}


def test_an_alarm_and_the_facts_of_the_start_are_no_curves() -> None:
    curve = [{"iteration": 10 * k, "kind": "train", "loss": 1.0} for k in range(3)]
    alarm = {"iteration": 20, "kind": "alarm", "alarm": "codebook-collapse", "raised": True, "message": "..."}
    figure = progress_figure([{"iteration": 0, "kind": "start", "num_codes": 64}, *curve, alarm], {})
    assert [axes.get_title() for axes in figure.axes] == ["loss: what is minimised"]


def test_latents_that_have_drifted_are_said_at_the_start_and_the_alarm_clears_on_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    latents = torch.randn(4, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    for shift in (2.0, 0.0):
        log = RunLog(tmp_path, 0, 10, monitor=SETTINGS)
        with log:
            log.start(0, latent_facts([latents + shift]))
    states = [r["raised"] for r in log.records if r["kind"] == "alarm"]
    assert states == [True, False]
    messages = [record.message for record in caplog.records]
    assert any("the latents have drifted" in message for message in messages)
    assert any("latent-drift has cleared" in message for message in messages)
