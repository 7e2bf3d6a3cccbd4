"""Scores of maps whose lesions are written by hand, the choice among outcomes, and the settings that are tried."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.patch import COVERAGE, IMAGE, ORGAN, Patch
from nnanomaly.plans import Plans
from nnanomaly.preprocessing.normalization import denormalise, normalise
from nnanomaly.tuning.sweep.files import heat_map
from nnanomaly.tuning.sweep.outcomes import Outcome, best_outcome, score_trials
from nnanomaly.tuning.sweep.settings import candidate_plans
from nnanomaly.tuning.trials import CONTRASTS_HU, Trial, drawn_trials, inserted_trials
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Grid, Volume

SHAPE = (12, 12, 24)
GRID = Grid(SHAPE, (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
WINDOW = (-200.0, 300.0)
PLAN = replace(DEFAULT.inference, morphology=False, hysteresis=1.0)


def cube(start: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[4:8, 4:8, start : start + 4] = True
    return mask


def trial(lesions: np.ndarray, name: str = "a") -> Trial:
    return Trial(name=name, case="case", organ="kidney_left", array=np.zeros((3, *SHAPE)), grid=GRID, lesions=lesions)


def stored(name: str, case: str = "case") -> Patch:
    array = np.zeros((3, *SHAPE), dtype=np.float16)
    array[IMAGE] = normalise(np.full(SHAPE, 100.0), WINDOW)
    array[ORGAN, 1:11, 1:11, 1:23] = 1
    array[COVERAGE] = 1
    return Patch(name=name, case=case, organ="kidney_left", array=array, grid=GRID)


def test_what_lies_over_the_threshold_is_matched_with_the_lesions() -> None:
    lesions = cube(2) | cube(16)
    anomaly = (5.0 * cube(2) + 5.0 * cube(9) + 1.0 * cube(16)).astype(np.float32)  # one found, one false, one too faint
    numbers = score_trials([trial(lesions)], [anomaly], PLAN, threshold=lambda *_: 2.0)
    assert numbers == {"dice": 0.5, "precision": 0.5, "recall": 0.5, "f1": 0.5, "num_lesions": 2}


def test_every_trial_may_have_a_threshold_of_its_own() -> None:
    trials = [trial(cube(2), "low"), trial(cube(2), "high")]
    maps = [np.float32(level) * cube(2) for level in (1, 10)]
    numbers = score_trials(trials, maps, PLAN, threshold=lambda anomaly, _: float(anomaly.max()) / 2)
    assert numbers["recall"] == 1.0


def test_trials_without_a_lesion_are_refused() -> None:
    with pytest.raises(DataError, match="SWEEP-LESIONS"):
        score_trials([trial(np.zeros(SHAPE, bool))], [np.zeros(SHAPE, np.float32)], PLAN, threshold=lambda *_: 1.0)


def test_an_inserted_lesion_changes_the_image_where_its_mask_says_and_nothing_else() -> None:
    patches = {f"patch_{n}": stored(f"patch_{n}") for n in range(6)}
    trials = inserted_trials(patches, window_hu=WINDOW, seed=3, diameters_mm=(10.0,))
    assert [t.name for t in trials] == list(patches)
    seen = set()
    for made in trials:
        change = denormalise(made.array[IMAGE], WINDOW) - 100.0
        contrast = float(change[made.lesions].flat[np.abs(change[made.lesions]).argmax()])
        seen.add(round(contrast, -1))
        assert np.abs(change[~made.lesions]).max() <= abs(contrast) / 2 + 1  # the soft edge
        assert (made.array[ORGAN] == patches[made.name].array[ORGAN]).all()
    assert seen == set(CONTRASTS_HU)


def test_the_same_seed_inserts_the_same_lesions() -> None:
    patches = {"a": stored("a"), "b": stored("b")}
    first, second, other = (
        inserted_trials(patches, window_hu=WINDOW, seed=seed, diameters_mm=(10.0, 20.0)) for seed in (1, 1, 2)
    )
    assert all((x.array == y.array).all() for x, y in zip(first, second, strict=True))
    assert any((x.array != y.array).any() for x, y in zip(first, other, strict=True))


def test_drawn_lesions_are_read_once_a_case_and_cases_without_are_left_out() -> None:
    asked = []

    def reference(case: str) -> Volume | None:
        asked.append(case)
        return Volume(cube(2)[None].astype(np.uint8), GRID) if case == "drawn" else None

    patches = {"a": stored("a", "drawn"), "b": stored("b", "drawn"), "c": stored("c", "blank")}
    trials = drawn_trials(patches, reference)
    assert asked == ["drawn", "blank"]
    assert [t.name for t in trials] == ["a", "b"]
    assert (trials[0].lesions == cube(2)).all()


def outcome(sigma: float, scale: float, dice: float) -> Outcome:
    return Outcome(
        sigma=sigma,
        guidance="relative",
        guidance_scale=scale,
        threshold=1.0,
        false_candidates_per_organ=1.0,
        dice=dice,
        precision=0.0,
        recall=0.0,
        f1=1 - dice,
        num_lesions=3,
    )


def test_the_best_outcome_is_that_of_the_metric_and_of_equals_the_gentlest() -> None:
    outcomes = [outcome(2.0, 0.1, 0.6), outcome(1.0, 0.2, 0.6), outcome(1.0, 0.1, 0.6), outcome(0.5, 0.1, 0.2)]
    assert best_outcome(outcomes, "dice") is outcomes[2]
    assert best_outcome(outcomes, "f1") is outcomes[3]


def test_the_heat_map_shows_every_outcome_and_leaves_a_gap_where_none_was_tried() -> None:
    outcomes = [outcome(1.0, 0.1, 0.25), outcome(2.0, 0.1, 0.5), outcome(2.0, 0.2, 0.75)]
    axes = heat_map(outcomes, outcomes[2], metric="dice", source="inserted").axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["0.25", "0.50", "0.75"]
    assert np.isnan(axes.images[0].get_array().filled(np.nan)[1, 0])


def test_settings_are_all_pairs_of_levels_and_scales(tiny_plans: Callable[..., Plans]) -> None:
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    tried = candidate_plans(plans, sigmas=[1.0, 0.5], scales=[0.2, 0.1])
    assert [(p.inference.sigma, p.inference.guidance_scale) for p in tried] == [
        (0.5, 0.1), (0.5, 0.2), (1.0, 0.1), (1.0, 0.2),
    ]  # fmt: skip
    assert {p.identity for p in tried} == {plans.identity}  # the trained model stays that of the plans


def test_a_sweep_tries_to_do_without_guidance(tiny_plans: Callable[..., Plans]) -> None:
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    tried = candidate_plans(plans, sigmas=[1.0], scales=None)
    scale = plans.inference.guidance_scale
    assert [(p.inference.guidance, p.inference.guidance_scale) for p in tried] == [
        ("none", 0.0), ("relative", scale / 2), ("relative", scale), ("relative", 2 * scale),
    ]  # fmt: skip


def test_on_a_discrete_schedule_the_stride_stays_that_of_the_plans(tiny_plans: Callable[..., Plans]) -> None:
    plans = tiny_plans("paper", dataset="Dataset501_Kidney")
    unit_stride = replace(plans, inference=replace(plans.inference, sigma=1.016, num_steps=500))
    tried = {p.inference.sigma: p.inference.num_steps for p in candidate_plans(unit_stride, sigmas=None, scales=None)}
    assert list(tried.values()) == pytest.approx([250, 400, 500, 600, 750], abs=1)


def test_a_level_the_model_was_not_trained_for_is_refused_with_both_numbers(tiny_plans: Callable[..., Plans]) -> None:
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    with pytest.raises(ConfigurationError, match=rf"99.*{plans.ddpm.max_sigma:g}"):
        candidate_plans(plans, sigmas=[99.0], scales=None)
    with pytest.raises(ConfigurationError, match="guidance_scale is -1"):
        candidate_plans(plans, sigmas=None, scales=[-1.0])
