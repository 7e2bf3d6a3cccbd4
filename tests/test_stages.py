"""The table of stages: in order, complete, free of networks, and the relations that commands read from it."""

import inspect
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nnanomaly import stages
from nnanomaly.experiment_planning.memory import DEMANDS
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.stages import SPECS, TABLE, StageSpec
from nnanomaly.training.stage_run import StageRun, StageSetup


@pytest.fixture
def inference(tiny_plans: Callable[..., Plans]) -> InferencePlan:
    plan = tiny_plans("default", dataset="Dataset501_Kidney").inference
    return replace(plan, guidance="relative", detector="residual", reduction="none")


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_a_stage_stands_behind_everything_that_it_is_built_on(spec: StageSpec) -> None:
    earlier = [other.name for other in TABLE[: TABLE.index(spec)]]
    assert {*spec.built_on, *spec.before} <= {*earlier}
    assert [name for name in earlier if name in spec.built_on] == [*spec.built_on]


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_a_stage_is_built_on_whatever_the_stages_below_it_are_built_on(spec: StageSpec) -> None:
    assert {deeper for name in spec.built_on for deeper in SPECS[name].built_on} <= {*spec.built_on}


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_a_stage_is_set_up_for_the_loop_or_trains_itself_by_a_function_that_is_there(spec: StageSpec) -> None:
    assert bool(spec.setup) != bool(spec.train)
    if spec.setup:
        assert inspect.get_annotations(stages.resolve(spec.setup)) == {"run": StageRun, "return": StageSetup}
    if spec.finish:
        assert [*inspect.signature(stages.resolve(spec.finish)).parameters] == ["run", "kept"]
    if spec.train:
        assert [*inspect.signature(stages.resolve(spec.train)).parameters] == [
            "paths",
            "dataset",
            "fold",
            "plans_name",
            "options",
        ]


@pytest.mark.parametrize("name", stages.NETWORKS)
def test_a_network_has_its_training_in_the_plans(tiny_plans: Callable[..., Plans], name: str) -> None:
    plans = tiny_plans("default", dataset="Dataset501_Kidney")
    assert plans.with_training(name, num_iterations=7).training_of(name).num_iterations == 7


def test_every_network_of_a_prediction_has_a_demand_of_memory() -> None:
    assert {name for name in stages.NETWORKS if SPECS[name].used is not stages.never} <= {*DEMANDS}


def test_the_table_names_functions_without_importing_what_they_compute_with() -> None:
    code = "import sys, nnanomaly.stages; print([name for name in ('torch', 'numpy') if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("stage", "changes", "later"),
    [
        ("vqgan", {}, ("classifier", "ddpm", "head", "reduction")),
        ("classifier", {}, ("head", "reduction")),
        ("classifier", {"guidance": "none"}, ()),
        ("ddpm", {"guidance": "none"}, ("head", "reduction")),
        ("head", {"detector": "both"}, ("reduction",)),
        ("head", {}, ()),
        ("reduction", {"reduction": "mil"}, ()),
    ],
)
def test_what_was_built_on_a_stage_no_longer_fits_another_one_where_the_plans_take_it(
    inference: InferencePlan, stage: str, changes: dict[str, str], later: tuple[str, ...]
) -> None:
    assert stages.stages_built_on(stage, replace(inference, **changes)) == later


@pytest.mark.parametrize(
    ("stage", "guidance", "trained"),
    [
        ("ddpm", "relative", ("vqgan", "classifier", "ddpm")),
        ("ddpm", "none", ("vqgan", "ddpm")),
        ("classifier", "none", ("vqgan", "classifier")),
        ("vqgan", "none", ("vqgan",)),
        ("head", "relative", ("head",)),
    ],
)
def test_a_command_trains_the_stages_before_its_own_that_the_plans_take(
    inference: InferencePlan, stage: str, guidance: str, trained: tuple[str, ...]
) -> None:
    assert stages.stages_to_train(stage, replace(inference, guidance=guidance)) == trained


def test_plans_go_by_the_chain_and_a_prediction_by_the_networks_that_it_takes(inference: InferencePlan) -> None:
    unguided = replace(inference, guidance="none")
    assert stages.planned_networks(unguided) == ("vqgan", "classifier", "ddpm")
    assert stages.networks_of(unguided) == ("vqgan", "ddpm")
    assert stages.networks_of(replace(inference, detector="head")) == ("vqgan", "classifier", "ddpm", "head")


def test_a_checkpoint_says_which_checkpoints_it_was_trained_on() -> None:
    hashes = {"vqgan": "1", "ddpm": "2"}
    assert stages.links_of("vqgan", {}) == {}
    assert stages.links_of("ddpm", hashes) == {"vqgan_sha256": "1"}
    assert stages.links_of("head", {**hashes, "other": "3"}) == {"checkpoints": hashes}


def test_only_what_a_prediction_is_made_with_is_calibrated() -> None:
    assert [name for name in stages.TRAINABLE if not stages.predicts(name)] == ["vqgan", "classifier"]
    assert stages.asked_for("all") == ("ddpm", "head")


def test_no_other_module_spells_a_row_of_names() -> None:
    package = Path(stages.__file__).parent
    spelled = [
        path.name
        for path in package.rglob("*.py")
        if path.name != "stages.py" and "(*STAGES," in path.read_text(encoding="utf-8")
    ]
    assert spelled == []
