"""The choice among configurations whose counts are written by hand."""

from dataclasses import replace

import numpy as np
import pytest

from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.experiment_planning.presets import DEFAULT
from nnanomaly.plans import InferencePlan
from nnanomaly.tuning.best_configuration.selection import Choice, Tried, choose, merged

PLAN = DEFAULT.inference
OTHER = replace(PLAN, hysteresis=0.9)
HEAD = replace(PLAN, detector="head")
CASES = [f"case_{number // 2}" for number in range(20)]  # two trials each
FOUND, MISSED, FALSE = (1, 0, 0), (0, 0, 1), (0, 1, 0)


def tried(plan: InferencePlan, counts: list[tuple[int, int, int]], *, num_false: int = 0) -> Tried:
    return Tried(plan=plan, counts=np.array(counts), num_false=num_false, num_healthy=10)


def chosen(*configurations: Tried, limit: float = 0.5) -> Choice:
    return choose(configurations, CASES, start=PLAN, limit=limit, bootstrap=Bootstrap(num_draws=500))


def test_a_candidate_in_a_trial_without_a_lesion_counts() -> None:
    one = tried(PLAN, [FOUND] * 4 + [MISSED] * 2 + [FALSE] * 2)
    assert (one.precision, one.recall, one.f1) == pytest.approx((4 / 6, 4 / 6, 8 / 12))
    assert tried(PLAN, [(0, 0, 0)]).f1 == 0.0


def test_what_is_better_in_every_case_is_chosen_however_small_the_difference() -> None:
    poor = tried(PLAN, [(2, 1, 1), (1, 0, 0)] * 10)
    good = tried(HEAD, [(2, 0, 1), (1, 0, 0)] * 10)
    choice = chosen(poor, good)
    assert (choice.chosen, choice.best, choice.tied) == (1, 1, [1])
    assert choice.behind_errors[0] == pytest.approx(0.0)  # all cases are alike: no draw differs from another


def test_of_what_one_case_decides_the_simpler_is_chosen() -> None:
    plans = tried(PLAN, [FOUND, MISSED] * 10)
    lucky = tried(OTHER, [FOUND, FOUND] + [FOUND, MISSED] * 9)
    choice = chosen(plans, lucky)
    assert choice.best == 1
    assert choice.tied == [0, 1]
    assert choice.chosen == 0
    assert choice.behind[0] == pytest.approx(lucky.f1 - plans.f1)


def test_what_most_cases_agree_on_is_chosen() -> None:
    plans = tried(PLAN, [FOUND, MISSED] * 10)
    better = tried(OTHER, [FOUND, FOUND] * 6 + [FOUND, MISSED] * 4)
    assert chosen(plans, better).chosen == 1


def test_trials_of_one_case_are_one_piece_of_evidence() -> None:
    one_case = [FOUND] * 10 + [FOUND, MISSED] * 5
    plans, lucky = tried(PLAN, [FOUND, MISSED] * 10), tried(OTHER, one_case)
    alone = choose([plans, lucky], ["lucky"] * 10 + CASES[10:], start=PLAN, limit=1, bootstrap=Bootstrap())
    many = choose([plans, lucky], [str(n) for n in range(20)], start=PLAN, limit=1, bootstrap=Bootstrap())
    assert alone.behind_errors[0] > 1.2 * many.behind_errors[0]


def test_of_equally_simple_ones_the_better_is_chosen() -> None:
    plans, other, third = (
        tried(PLAN, [MISSED] * 20),
        tried(OTHER, [FOUND, MISSED] * 10),
        tried(replace(PLAN, hysteresis=0.8), [FOUND] * 2 + [FOUND, MISSED] * 9),
    )
    assert chosen(plans, other, third).chosen == 2


def test_too_many_candidates_in_healthy_organs_are_not_allowed() -> None:
    modest, greedy = tried(PLAN, [MISSED] * 20), tried(OTHER, [FOUND] * 20, num_false=6)
    assert chosen(modest, greedy).chosen == 0
    assert chosen(modest, greedy, limit=0.6).chosen == 1
    all_greedy = chosen(replace(modest, num_false=9), greedy)
    assert all_greedy.allowed == [1]  # nothing keeps the limit: the least of them


def test_the_best_of_many_that_only_guess_is_worth_less_where_it_was_not_chosen() -> None:
    rng = np.random.default_rng(0)
    guesses = [
        tried(replace(PLAN, hysteresis=0.1 + 0.01 * n), [FOUND if rng.random() < 0.5 else MISSED for _ in CASES])
        for n in range(60)
    ]
    choice = chosen(*guesses)
    assert choice.unseen_f1 is not None
    mean = float(np.mean([one.f1 for one in guesses]))
    assert abs(choice.unseen_f1 - mean) < 0.1 < guesses[choice.best].f1 - choice.unseen_f1


def test_folds_are_pooled() -> None:
    first, second = [tried(PLAN, [FOUND], num_false=1)], [tried(PLAN, [MISSED, FALSE], num_false=2)]
    (both,) = merged([first, second])
    assert both.counts.tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert both.false_candidates_per_organ == pytest.approx(3 / 20)
