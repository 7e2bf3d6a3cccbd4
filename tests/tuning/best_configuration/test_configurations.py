"""The grid of configurations: what is in it, what shares its networks and maps, and what counts as simpler."""

from dataclasses import replace

from nnanomaly.experiment_planning.presets import DEFAULT, PAPER
from nnanomaly.plans import FELT_BY_NETWORKS, InferencePlan
from nnanomaly.tuning.best_configuration.configurations import (
    Offer,
    changes,
    complexity,
    configurations,
    dimensions,
    group_by,
    map_of,
    reconstruction_of,
)

PLAN = replace(DEFAULT.inference, false_candidates_per_organ=0.3)
HEAD_PLAN = replace(PLAN, anomaly_map="zscore_intensity", residual_of="autoencoded", smoothing_mm=1.0)


def offer(*, head: InferencePlan | None = None, ensembles: bool = True, most: float = 0.5) -> Offer:
    return Offer(head=head, ensembles=ensembles, most_false_candidates=most)


def test_the_plans_as_they_are_come_first_even_beyond_the_limit_and_nothing_comes_twice() -> None:
    for plan in (PLAN, replace(PLAN, false_candidates_per_organ=9.0), PAPER.inference):
        grid = configurations(plan, offer())
        assert grid[0] == plan
        assert len(set(grid)) == len(grid)


def test_the_grid_is_the_product_of_its_dimensions() -> None:
    sizes = [len(choices) for choices in dimensions(PLAN, offer(head=HEAD_PLAN))]
    assert sizes == [3 * 2 + 2 * 2, 4, 3, 2, 4]
    assert len(configurations(PLAN, offer(head=HEAD_PLAN))) == 10 * 4 * 3 * 2 * 4


def test_no_target_lets_more_through_than_the_user_allows() -> None:
    grid = configurations(replace(PLAN, false_candidates_per_organ=0.15), offer(most=0.2))
    assert {plan.false_candidates_per_organ for plan in grid} == {0.1, 0.15, 0.2}


def test_the_head_sees_the_residuals_it_was_trained_with_and_is_left_out_where_there_is_none() -> None:
    assert {plan.detector for plan in configurations(PLAN, offer())} == {"residual"}
    with_head = [plan for plan in configurations(PLAN, offer(head=HEAD_PLAN)) if plan.detector != "residual"]
    assert {plan.detector for plan in with_head} == {"head", "both"}
    seen = {(plan.anomaly_map, plan.residual_of, plan.smoothing_mm) for plan in with_head}
    assert seen == {("zscore_intensity", "autoencoded", 1.0)}
    alone = configurations(PLAN, offer(head=HEAD_PLAN, ensembles=False))
    assert {plan.detector for plan in alone} == {"residual", "head"}
    assert {plan.mirroring for plan in alone if plan.detector == "head"} == {False, True}


def test_otsu_s_threshold_stays_a_choice_where_the_plans_have_it() -> None:
    assert {plan.threshold for plan in configurations(PAPER.inference, offer())} == {"otsu", "calibrated"}
    assert {plan.threshold for plan in configurations(PLAN, offer())} == {"calibrated"}


def test_what_the_networks_do_not_feel_shares_its_reconstruction_and_what_acts_behind_the_map_its_map() -> None:
    numbered = list(enumerate(configurations(PLAN, offer(head=HEAD_PLAN))))
    groups = group_by(numbered, reconstruction_of)
    assert sorted(number for group in groups for number, _ in group) == list(range(len(numbered)))
    names = [name for name in FELT_BY_NETWORKS if name != "residual_of"]
    felt = [{tuple(getattr(plan, name) for name in names) for _, plan in group} for group in groups]
    assert [len(values) for values in felt] == [1] * len(groups) == [1] * len(set.union(*felt))
    assert [len(group) for group in group_by(numbered, map_of)] == [4 * 3 * 2 * 4] * 10
    assert len(group_by([(0, PLAN), (1, replace(PLAN, sigma=1.0))], reconstruction_of)) == 2


def test_only_a_residual_of_the_unguided_reconstruction_needs_another_one() -> None:
    guided = replace(PLAN, sampler="heun", guidance="free")
    of = [replace(guided, residual_of=reference) for reference in ("input", "autoencoded", "unguided")]
    assert [len(group) for group in group_by(enumerate(of), reconstruction_of)] == [2, 1]


def test_fewer_networks_are_simpler_than_fewer_changes() -> None:
    head, both = replace(PLAN, detector="head"), replace(PLAN, detector="both")
    two_changes = replace(PLAN, morphology=not PLAN.morphology, hysteresis=0.9)
    order = [both, head, two_changes, PLAN]
    assert sorted(order, key=lambda plan: complexity(plan, PLAN)) == order[::-1]
    assert changes(two_changes, PLAN) == {"morphology": not PLAN.morphology, "hysteresis": 0.9}
