"""What the picture of noise and guidance counts, on reconstructions whose answer is known."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from noise_and_guidance import SCALES, SIGMAS, Effect, Known, draw, effect_of, table_of

from nnanomaly.plans import Plans
from nnanomaly.tuning.trials import Trial
from nnanomaly.volume import Grid

SHAPE = (16, 16, 16)


@pytest.fixture
def known() -> Known:
    """An organ of 100 HU that fills the patch, with a block of 4 voxels at a corner that is 60 HU darker."""
    lesion = np.zeros(SHAPE, dtype=bool)
    lesion[:4, :4, :4] = True
    healthy = np.full(SHAPE, 100.0, dtype=np.float32)
    array = np.ones((3, *SHAPE), dtype=np.float32)
    grid = Grid(SHAPE, (3.0, 3.0, 3.0), (0.0, 0.0, 0.0))
    trial = Trial(name="a", case="a", organ="kidney_left", array=array, grid=grid, lesions=lesion)
    return Known(trial=trial, image_hu=np.where(lesion, 40, healthy).astype(np.float32), healthy_hu=healthy)


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    planned = tiny_plans("default", dataset="Dataset501_Test")
    return replace(planned, inference=replace(planned.inference, smoothing_mm=0.0))


def test_the_scan_itself_takes_nothing_away_and_the_organ_before_takes_all(known: Known, plans: Plans) -> None:
    assert effect_of(known, known.image_hu, plans) == Effect(0.0, 0.0)
    assert effect_of(known, known.healthy_hu, plans) == Effect(1.0, 0.0)


def test_half_of_a_lesion_and_a_shift_of_the_organ_are_told_apart(known: Known, plans: Plans) -> None:
    half = np.where(known.trial.lesions, 70, 105).astype(np.float32)
    effect = effect_of(known, half, plans)
    assert effect.taken_away == pytest.approx(0.5)
    assert effect.changed_hu == pytest.approx(5.0)


def test_the_table_and_the_picture_hold_every_setting(known: Known) -> None:
    effects = {(sigma, scale): Effect(sigma / 10, scale) for scale in SCALES for sigma in SIGMAS}
    lines = table_of(effects).splitlines()
    assert len(lines) == 2 + len(SCALES)
    assert lines[2] == "| off | 5%, 0.0 HU | 10%, 0.0 HU | 20%, 0.0 HU | 40%, 0.0 HU |"
    pictures = {setting: (known.healthy_hu, effect) for setting, effect in effects.items()}
    titles = [axes.get_title() for axes in draw(known, pictures).axes]
    assert titles[:2] == ["scan with lesion", "scan before"]
    assert len(titles) == 2 + len(effects)
    assert "sigma 4, guidance 0.1\n40% taken away, 0 HU" in titles
