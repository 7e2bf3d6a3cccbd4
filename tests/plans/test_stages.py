"""The plans of the stages."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.plans import (
    GatePlan,
    Plans,
)
from nnanomaly.utilities.errors import ConfigurationError


def test_a_codec_that_learns_nothing_needs_no_widths(plans: Plans, with_codec: Callable[[Plans, str], Plans]) -> None:
    haar = with_codec(plans, "haar")
    assert replace(haar.vqgan, widths=()).latent_shape((16, 16, 16)) == (8, 8, 8)
    with pytest.raises(ConfigurationError, match="widths"):
        replace(with_codec(plans, "kl").vqgan, widths=())


def test_a_linear_schedule_of_few_steps_is_refused(plans: Plans) -> None:
    with pytest.raises(ConfigurationError, match="schedule is 'linear', but needs num_timesteps of 1000 or more"):
        replace(plans.ddpm, schedule="linear", num_timesteps=100)


def test_the_published_preset_has_no_limits_and_ours_has() -> None:
    assert PAPER.vqgan.gate == GatePlan()
    assert max(DEFAULT.vqgan.gate.min_contrast_retention) > 0


def test_the_presets_are_plans_in_range() -> None:
    assert PAPER.vqgan.latent_shape(PAPER.preprocessing.patch_size) == (32, 24, 24)
    assert PAPER.preprocessing.patch_mm == (128.0, 96.0, 96.0)
    assert DEFAULT.ddpm.downsampling == 2 ** (len(DEFAULT.ddpm.widths) - 1)


def test_settings_of_one_stage_change_without_touching_the_others(plans: Plans) -> None:
    changed = plans.with_training("classifier", num_iterations=99, seed=5)
    assert changed.training_of("classifier") == replace(plans.classifier.training, num_iterations=99, seed=5)
    assert changed.vqgan == plans.vqgan
    assert plans.classifier.training.num_iterations != 99
