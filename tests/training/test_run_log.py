"""What a training says and draws: lines with the time left, panels in plain words, three samples, a tracker's share."""

import logging
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from matplotlib.image import imread
from torch import Tensor

from nnanomaly.training import run_log
from nnanomaly.training.monitor import MonitorSettings
from nnanomaly.training.progress_figure import as_grey, in_order, progress_figure, sample_figure, title_of
from nnanomaly.training.run_log import RunLog
from nnanomaly.training.samples import keep_samples

PICTURES = {"input": torch.zeros(4, 6), "reconstruction": torch.ones(4, 6), "difference": torch.ones(4, 6)}


class Recorder:
    """A tracker that remembers, and fails from call `fails_at` on."""

    faults: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, fails_at: int = 10_000) -> None:
        self.told: list[tuple[object, ...]] = []
        self.fails_at = fails_at

    def _note(self, *what: object) -> None:
        self.told.append(what)
        if len(self.told) >= self.fails_at:
            raise ConnectionError("the server is gone")

    def start(self, iteration: int) -> None:
        self._note("start", iteration)

    def log(self, iteration: int, numbers: dict[str, float]) -> None:
        self._note("log", iteration, *sorted(numbers))

    def picture(self, iteration: int, name: str, picture: object) -> None:
        self._note("picture", iteration, name)

    def end(self) -> None:
        self._note("end")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our own lines: matplotlib may log that it builds its font cache."""
    return [record.message for record in caplog.records if record.name.startswith("nnanomaly")]


def follow(folder: Path, tracker: Recorder) -> None:
    """Twenty steps and a validation."""
    with RunLog(folder, 0, 40, monitor=MonitorSettings(), tracker=tracker) as log:
        for iteration in range(1, 21):
            log.step(iteration, {"loss": float(iteration), "gradient_norm": 1.0})
        log.validation(20, {"loss": 3.0})
        log.draw(20, PICTURES, best=True)


def test_a_validation_is_one_line_with_the_mean_loss_since_the_last_and_the_time_left(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 0.0, *[10.0] * 100])
    monkeypatch.setattr(run_log, "time", SimpleNamespace(monotonic=lambda: next(clock), strftime=time.strftime))
    with caplog.at_level(logging.INFO, logger="nnanomaly"):
        follow(tmp_path, Recorder())
    assert said(caplog) == [
        "iteration 20/40 (50%); mean training loss 10.5; validation: loss 3; 2 iterations/s, 10 s left"
    ]


def test_a_tracker_is_told_all_that_is_logged_and_drawn(tmp_path: Path) -> None:
    tracker = Recorder()
    follow(tmp_path, tracker)
    train = ("train/gradient_norm", "train/iterations_per_second", "train/loss")
    assert tracker.told == [
        ("start", 0),
        ("log", 10, *train),
        ("log", 20, *train),
        ("log", 20, "validation/loss"),
        *(("picture", 20, name) for name in PICTURES),
        ("end",),
    ]


def test_a_tracker_that_fails_is_said_once_and_asked_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracker = Recorder(fails_at=3)
    follow(tmp_path, tracker)
    assert len(tracker.told) == 3
    assert [line for line in said(caplog) if line.startswith("tracking")] == [
        "tracking ends, training goes on: ConnectionError: the server is gone"
    ]
    assert (tmp_path / "progress.png").is_file()


def test_panels_are_titled_in_words_and_ordered_from_losses_to_throughput() -> None:
    names = {"iterations_per_second", "gradient_norm", "perplexity", "loss", "loss_level_0.3", "strange_number"}
    ordered = ["loss", "perplexity", "loss_level_0.3", "strange_number", "gradient_norm", "iterations_per_second"]
    assert in_order(names) == ordered
    assert title_of("loss_level_0.3") == "held-out loss at noise level 0.3"
    assert title_of("strange_number") == "strange number"
    records = [
        {"iteration": 10, "kind": "train", "loss": 100.0, "gradient_norm": 1.0},
        {"iteration": 20, "kind": "train", "loss": 1.0, "gradient_norm": 2.0},
        {"iteration": 20, "kind": "validation", "loss": 2.0},
        {"iteration": 20, "kind": "alarm", "alarm": "x", "raised": True},
    ]
    loss, norm, picture = progress_figure(records, {"input": torch.zeros(4, 6)}).axes
    assert [line.get_xydata().tolist() for line in loss.lines] == [[[10.0, 100.0], [20.0, 1.0]], [[20.0, 2.0]]]
    assert (loss.get_yscale(), norm.get_yscale()) == ("log", "linear")
    assert picture.get_title() == "input"


def test_a_title_says_what_its_curve_or_colour_means() -> None:
    assert title_of("l1") == "mean absolute error"
    (picture,) = sample_figure("iteration 1", {"difference": torch.zeros(4, 6)}).axes
    assert picture.get_title() == "reconstruction minus input\n(red: brighter; full colour: 1/8 of the window)"
    assert picture.images[0].get_clim() == (-0.25, 0.25)


def test_first_last_and_best_samples_are_kept_and_no_more(tmp_path: Path) -> None:
    for iteration, best in ((10, True), (20, True), (30, False)):
        pictures = {name: picture * 0 + iteration / 30 for name, picture in PICTURES.items()}
        keep_samples(tmp_path, pictures, iteration=iteration, best=best)
    images = {path.name: imread(path) for path in tmp_path.iterdir()}
    assert set(images) == {"first.png", "last.png", "best.png"}
    shades = {name: float(image[..., :3].min(axis=2).mean()) for name, image in images.items()}
    assert len(set(shades.values())) == 3  # of three different validations
    keep_samples(tmp_path / "none", {}, iteration=10, best=True)
    assert not (tmp_path / "none").exists()


def test_a_difference_is_mid_grey_at_zero_and_white_at_an_eighth_of_the_window() -> None:
    picture: Tensor = torch.tensor([[-1.0, 0.0, 0.25]])
    assert as_grey("difference", picture).tolist() == [[0, 128, 255]]
    assert as_grey("input", picture).tolist() == [[0, 128, 159]]
