"""Configurations on a fold whose networks are written by hand: what they find, and how often the networks are asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from nnanomaly.inference.detectors import residual_detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.reconstruct import Reconstruction
from nnanomaly.patch import COVERAGE, IMAGE, ORGAN, Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import normalise
from nnanomaly.tuning.best_configuration.fold_trials import try_configurations
from nnanomaly.tuning.trials import Trial, generated_trials
from nnanomaly.volume import Grid

SHAPE = (16, 16, 24)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
WINDOW = (-200.0, 300.0)


def patch(image_hu: np.ndarray) -> np.ndarray:
    array = np.zeros((3, *SHAPE), dtype=np.float32)
    array[IMAGE] = normalise(image_hu.astype(np.float32), WINDOW)
    array[ORGAN, 2:14, 2:14, 2:22] = 1
    array[COVERAGE] = 1
    return array


def cube(start: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[5:10, 5:10, start : start + 5] = True
    return mask


def healthy_patches() -> dict[str, Patch]:
    """Two organs of noise; one of them has a spot that is no lesion."""
    rng = np.random.default_rng(0)
    noise = [100 + rng.normal(0, 2, SHAPE) for _ in range(2)]
    noise[1] += 40 * cube(4)
    return {
        f"case_{n}": Patch(name=f"case_{n}", case=f"case_{n}", organ="kidney", array=patch(image), grid=GRID)
        for n, image in enumerate(noise)
    }


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    inference = replace(
        plans.inference, anomaly_map="absolute", smoothing_mm=0.0, residual_of="input", threshold="calibrated"
    )
    return replace(plans, inference=replace(inference, morphology=False, hysteresis=1.0))


def test_every_patch_is_reconstructed_once_and_every_configuration_is_scored(plans: Plans) -> None:
    asked: list[str] = []

    def reconstruct(images: Sequence[np.ndarray], names: Sequence[str]) -> Reconstruction:
        asked.extend(names)
        flat = torch.full((1, 1, *SHAPE), float(normalise(np.float32(100.0), WINDOW)))
        return Reconstruction(healthy=flat, autoencoded=flat)

    def load(changed: Plans) -> Fold:
        return Fold(
            reconstruct=reconstruct,
            detect=residual_detector(changed.inference),
        )

    trials = [
        Trial(
            name="found",
            case="case_0",
            organ="kidney_left",
            array=patch(100 + 80.0 * cube(4)),
            grid=GRID,
            lesions=cube(4),
        ),
        Trial(
            name="faint",
            case="case_0",
            organ="kidney_left",
            array=patch(100 + 20.0 * cube(4)),
            grid=GRID,
            lesions=cube(4),
        ),
        Trial(
            name="clean",
            case="case_1",
            organ="kidney_left",
            array=patch(100 + 80.0 * cube(12)),
            grid=GRID,
            lesions=cube(0) & False,
        ),
    ]
    strict, lax = (replace(plans.inference, false_candidates_per_organ=rate) for rate in (0.0, 0.5))
    blind, otsu = replace(strict, residual_of="autoencoded"), replace(strict, threshold="otsu")
    tried = try_configurations(load, plans, [strict, lax, blind, otsu], healthy=healthy_patches(), trials=trials)
    assert len(asked) == len(healthy_patches()) + len(trials)
    assert [one.plan for one in tried] == [strict, lax, blind, otsu]
    assert tried[0].counts.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert tried[1].counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]  # the spot of 40 HU is let through
    assert tried[2].counts.tolist() == [[0, 0, 1], [0, 0, 1], [0, 0, 0]]
    assert [one.false_candidates_per_organ for one in tried[:3]] == [0.0, 0.5, 0.0]
    assert tried[3].counts.tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0]]


def test_trials_of_the_generator_follow_from_seed_and_name_and_some_have_no_lesion() -> None:
    patches = healthy_patches()
    first, again, other = (generated_trials(patches, window_hu=WINDOW, seed=seed, variants=8) for seed in (0, 0, 1))
    assert [(trial.name, trial.case) for trial in first[:2]] == [("case_0__v1", "case_0"), ("case_0__v2", "case_0")]
    assert len({trial.name for trial in first}) == len(first) == 16
    assert all((a.array == b.array).all() for a, b in zip(first, again, strict=True))
    assert any((a.array != b.array).any() for a, b in zip(first, other, strict=True))
    assert {bool(trial.lesions.any()) for trial in first} == {True, False}
