"""Alarms from figures written by hand; `test_alarms.py` provokes them in real trainings."""

from collections.abc import Sequence
from typing import Any

import pytest

from nnanomaly.training.monitor import (
    CHECKS,
    FINE,
    Monitor,
    MonitorSettings,
    Observed,
    auc_standard_error,
    classifier_at_chance,
    codebook_collapse,
    discriminator_wins,
    latent_drift,
    worse_than_blur,
)

SETTINGS = MonitorSettings(window=3, long_window=4)


def seen(
    facts: dict[str, float] | None = None,
    train: Sequence[dict[str, float]] = (),
    validation: dict[str, float] | None = None,
    progress: float = 1.0,
) -> Observed:
    return Observed(facts=facts or {}, train=list(train), validation=validation or {}, progress=progress)


def train_record(iteration: int, **numbers: float) -> dict[str, Any]:
    return {"iteration": iteration, "kind": "train", **numbers}


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert {name: check(seen(), SETTINGS) for name, check in CHECKS.items()} == dict.fromkeys(CHECKS)


@pytest.mark.parametrize(
    ("num_codes", "perplexities", "alarm"),
    [
        (1024, [5.0, 5.0, 5.0], True),  # 0.5 % are 5.12
        (1024, [6.0, 6.0, 6.0], False),
        (16384, [80.0, 80.0, 80.0], True),  # 0.5 % are 82
        (16384, [500.0, 1.0, 1.0], False),  # two bad records are no collapse
        (16384, [500.0, 1.0, 1.0, 1.0], True),
        (32, [3.9, 3.9, 3.9], True),  # at least four codes
        (4, [3.0, 3.0, 3.0], False),  # of four codes, two
    ],
)
def test_a_codebook_has_collapsed_below_half_a_per_cent_of_its_codes(
    num_codes: int, perplexities: list[float], alarm: bool
) -> None:
    message = codebook_collapse(seen({"num_codes": num_codes}, [{"perplexity": p} for p in perplexities]), SETTINGS)
    assert message is not None
    assert bool(message) is alarm


def test_a_collapse_takes_as_many_records_as_the_window() -> None:
    facts, records = {"num_codes": 1024.0}, [{"perplexity": 1.0}] * 3
    assert codebook_collapse(seen(facts, records[:2]), SETTINGS) is None
    message = codebook_collapse(seen(facts, records), SETTINGS)
    assert message is not None
    for part in ("1.0 of 1024", "at least 5", "restart_every"):
        assert part in message


def test_discriminators_have_won_when_the_generator_feels_them_and_their_loss_stays_near_zero() -> None:
    won, undecided = {"discriminator": 0.02, "adversarial": 0.9}, {"discriminator": 2.0, "adversarial": 0.1}
    warm_up = {"discriminator": 0.0}
    assert discriminator_wins(seen(train=[warm_up] * 10 + [won] * 3), SETTINGS) is None
    assert discriminator_wins(seen(train=[won] * 3 + [undecided]), SETTINGS) == FINE
    message = discriminator_wins(seen(train=[undecided] + [won] * 4), SETTINGS)
    assert message is not None
    assert "0.020 (below 0.1)" in message
    assert "discriminator_learning_rate" in message


@pytest.mark.parametrize(
    ("mean", "low", "high", "alarm"),
    [(0.0, 1.0, 1.0, False), (-0.29, 0.71, 1.39, False), (0.31, 1.0, 1.0, True), (-0.31, 1.0, 1.0, True)]
    + [(0.0, 0.69, 1.0, True), (0.0, 1.0, 1.41, True)],
)
def test_latents_have_drifted_when_a_channel_leaves_mean_0_or_deviation_1(
    mean: float, low: float, high: float, alarm: bool
) -> None:
    message = latent_drift(seen({"latent_mean": mean, "latent_std_low": low, "latent_std_high": high}), SETTINGS)
    assert message is not None
    assert bool(message) is alarm
    if alarm:
        assert f"{mean:.2f}" in message
        assert f"{low:.2f} to {high:.2f}" in message
        assert "train the vqgan anew" in message


def test_an_autoencoder_is_compared_with_a_blur_in_the_second_half_of_the_run() -> None:
    facts, validation = {"blur_l1": 0.05}, {"l1": 0.06}
    assert worse_than_blur(seen(facts, validation=validation, progress=0.49), SETTINGS) is None
    assert worse_than_blur(seen(facts, validation={"l1": 0.05}), SETTINGS) == FINE
    message = worse_than_blur(seen(facts, validation=validation, progress=0.5), SETTINGS)
    assert message is not None
    assert "0.0600" in message
    assert "0.0500" in message
    assert "-num_iterations" in message


def test_the_error_of_an_auc_without_signal_is_that_of_all_orders_of_two_and_two() -> None:
    # Ranks of the two positives among four: sums 3 4 5 5 6 7, so AUCs 0, 1/4, 1/2, 1/2, 3/4, 1.
    assert auc_standard_error(2, 2) ** 2 == pytest.approx((0.25 + 0.0625 + 0 + 0 + 0.0625 + 0.25) / 6)


@pytest.mark.parametrize(
    ("auc", "healthy", "unhealthy", "alarm"),
    [(0.60, 12, 8, True), (0.60, 1000, 1000, False), (0.77, 12, 8, True), (0.79, 12, 8, False), (0.1, 12, 8, True)],
)
def test_a_classifier_is_at_chance_within_two_standard_errors_for_its_number_of_patches(
    auc: float, healthy: int, unhealthy: int, alarm: bool
) -> None:
    facts = {"num_healthy": float(healthy), "num_unhealthy": float(unhealthy)}
    message = classifier_at_chance(seen(facts, validation={"auc": auc}), SETTINGS)
    assert message is not None
    assert bool(message) is alarm
    if alarm:
        for part in (f"AUC {auc:.2f}", "12 healthy and 8 unhealthy", "0.50 +- 0.27", "organ_labels.csv"):
            assert part in message
    assert classifier_at_chance(seen(facts, validation={"auc": auc}, progress=0.99), SETTINGS) is None


def test_a_classifier_that_is_validated_on_one_class_is_not_judged() -> None:
    facts = {"num_healthy": 12.0, "num_unhealthy": 0.0}
    assert classifier_at_chance(seen(facts, validation={"cross_entropy": 0.7}), SETTINGS) is None


def test_messages_are_one_line_and_end_with_what_to_do() -> None:
    facts = {"num_codes": 1024, "blur_l1": 0.0, "num_healthy": 2, "num_unhealthy": 2}
    facts |= {"latent_mean": 9, "latent_std_low": 1, "latent_std_high": 1}
    record = {"perplexity": 1, "discriminator": 0, "adversarial": 1}
    everything_wrong = seen(facts, [record] * 4, {"l1": 1.0, "auc": 0.5})
    messages = [check(everything_wrong, SETTINGS) for check in CHECKS.values()]
    assert all(message and "\n" not in message and message.endswith(".") for message in messages)


def test_an_alarm_is_said_once_until_it_clears() -> None:
    monitor = Monitor(SETTINGS)
    monitor.see({"iteration": 0, "kind": "start", "num_codes": 1024.0}, progress=0)
    said = []
    for number, perplexity in enumerate([1.0] * 5 + [900.0] * 3 + [1.0] * 4):
        record = train_record(10 * number, perplexity=perplexity)
        said += [(number, alarm.name, alarm.raised) for alarm in monitor.see(record, progress=0.1)]
    name = "codebook-collapse"
    assert said == [(2, name, True), (5, name, False), (10, name, True)]


def test_an_alarm_stays_on_where_nothing_can_be_told() -> None:
    monitor = Monitor(SETTINGS)
    monitor.restore([{"iteration": 0, "kind": "start", "num_healthy": 5.0, "num_unhealthy": 5.0}])
    validation = {"iteration": 10, "kind": "validation", "auc": 0.5}
    assert [alarm.raised for alarm in monitor.see(validation, progress=1.0)] == [True]
    assert monitor.see({**validation, "iteration": 20}, progress=0.7) == []  # the run was extended
    assert [alarm.raised for alarm in monitor.see({**validation, "auc": 0.99}, progress=1.0)] == [False]


def test_a_validation_of_the_first_half_is_not_judged_later() -> None:
    monitor = Monitor(SETTINGS)
    monitor.see({"iteration": 0, "kind": "start", "blur_l1": 0.1}, progress=0.0)
    assert monitor.see({"iteration": 40, "kind": "validation", "l1": 0.2}, progress=0.4) == []
    assert monitor.see(train_record(60), progress=0.6) == []
    assert [a.name for a in monitor.end()] == ["worse-than-blur"]


def test_a_resumed_run_says_no_alarm_again() -> None:
    records = [{"iteration": 0, "kind": "start", "num_codes": 1024.0}]
    records += [train_record(10 * k, perplexity=1.0) for k in range(3)]
    alarm = {"iteration": 20, "kind": "alarm", "alarm": "codebook-collapse", "raised": True, "message": "..."}
    resumed = Monitor(SETTINGS)
    resumed.restore([*records, alarm])
    assert resumed.see(train_record(30, perplexity=1.0), progress=0.1) == []
    cleared = Monitor(SETTINGS)
    cleared.restore([*records, alarm, {**alarm, "raised": False}])
    assert [a.raised for a in cleared.see(train_record(30, perplexity=1.0), progress=0.1)] == [True]
