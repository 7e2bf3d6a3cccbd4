"""Identities: those of version 1 are what they always were, and follow from what the fields declare."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.plans import DiffusionPlan, InferencePlan, Plans, Step, fits
from nnanomaly.stages import HEAD, STAGES
from nnanomaly.utilities.json_io import from_document

RECORDED = json.loads(Path(__file__).with_name("identities.json").read_text(encoding="utf-8"))
"""Plans of both presets, and for changes of (nearly) every field the first 12 digits of their identities, recorded
before identities were derived: of all stages, of each, of all with the head."""


def changed(document: dict[str, Any], changes: dict[str, Any]) -> Plans:
    document = copy.deepcopy(document)
    for dotted, value in changes.items():
        *path, field = dotted.split(".")
        place = document
        for key in path:
            place = place[key]
        place[field] = value
    return from_document(Plans, document, source="recorded")


@pytest.mark.parametrize("recorded", RECORDED, ids=["default", "paper"])
def test_identities_are_those_that_were_recorded(recorded: dict[str, Any]) -> None:
    assert len(recorded["variants"]) > 150
    for variant in recorded["variants"]:
        plans = changed(recorded["plans"], variant["changes"])
        found = [plans.identity, *map(plans.identity_of, (*STAGES, HEAD)), plans.identity_of(*STAGES, HEAD)]
        assert [identity[:12] for identity in found] == variant["identities"], variant["changes"]


@pytest.mark.parametrize("recorded", RECORDED, ids=["default", "paper"])
def test_a_network_of_version_1_fits_whatever_plans_fitted_it_before(recorded: dict[str, Any]) -> None:
    for variant in recorded["variants"]:
        now = changed(recorded["plans"], variant["changes"]).identity_of(HEAD)
        before = now.partition(":2:")[0]
        assert fits(before, now) and not fits("0" * 64, now)
        assert not fits(now, before)  # such plans cannot be: there is no way back


OTHER_VALUES: dict[str, Any] = {
    "sampler": "one_step",
    "encode": "invert",
    "guidance": "none",
    "anomaly_map": "zscore_intensity",
    "threshold": "otsu",
    "precision": "fp32",
    "residual_of": "autoencoded",
    "detector": "both",
    "reduction": "mil",
    "extra_sigmas": (0.5,),
}


def other_value(plan: InferencePlan, name: str) -> Any:
    """Another value of a field that plans may have."""
    value = getattr(plan, name)
    if name in OTHER_VALUES:
        return OTHER_VALUES[name]
    return not value if isinstance(value, bool) else value * 0.5 if isinstance(value, float) and value else value + 1


@pytest.mark.parametrize("field", dataclasses.fields(InferencePlan), ids=lambda field: field.name)
def test_the_head_is_another_one_where_a_field_changes_what_it_sees_and_only_there(field: Any) -> None:
    plans = changed(RECORDED[0]["plans"], {"inference.sampler": "heun", "inference.guidance": "relative"})
    change = {field.name: other_value(plans.inference, field.name)}
    if field.name == "sampler":
        change["guidance"] = "none"  # nothing else is possible there
    other = dataclasses.replace(plans, inference=dataclasses.replace(plans.inference, **change))
    assert other.inference != plans.inference
    seen = bool(field.metadata["acts_on"] & (Step.NETWORKS | Step.RESIDUAL))
    assert (other.identity_of(HEAD) != plans.identity_of(HEAD)) is seen
    assert fits(other.identity_of(HEAD), plans.identity_of(HEAD)) is not seen
    for stage in STAGES:
        assert other.identity_of(stage) == plans.identity_of(stage)
    old = plans.identity_of(HEAD).partition(":2:")[0]
    assert fits(old, other.identity_of(HEAD)) is (not seen or field.metadata["since"] == 2)


@pytest.mark.parametrize(
    "name", [f.name for f in dataclasses.fields(DiffusionPlan) if "seen_by_classifier" in f.metadata]
)
def test_the_classifier_is_another_one_where_the_diffusion_shows_it_something_else(name: str) -> None:
    changes = {"process": ("ddpm", "edm"), "latent_scaling": ("codebook_range", "standardise")}
    changes |= {"schedule": ("linear", "cosine"), "noise": ("pyramid", "gaussian"), "num_timesteps": (500, 1000)}
    needed = {"inference.sampler": "ddim", "inference.guidance": "none"} if name == "process" else {}
    one, other = (
        changed(RECORDED[0]["plans"], {f"ddpm.{name}": value, **extra})
        for value, extra in zip(changes[name], (needed, {}), strict=True)
    )
    assert one.identity_of("classifier") != other.identity_of("classifier")
    assert one.identity_of("vqgan") == other.identity_of("vqgan")


def test_a_head_is_another_one_where_another_classifier_guides_what_it_sees() -> None:
    guided = {"inference.sampler": "heun", "inference.guidance": "relative"}
    for changes, same in ((guided, False), ({"inference.guidance": "none"}, True)):
        pools = [changed(RECORDED[0]["plans"], {**changes, "classifier.pool": p}) for p in ("average", "attention")]
        assert (pools[0].identity_of(HEAD) == pools[1].identity_of(HEAD)) is same


def test_every_field_of_the_inference_declares_the_steps_it_acts_on() -> None:
    for field in dataclasses.fields(InferencePlan):
        assert isinstance(field.metadata["acts_on"], Step) and field.metadata["acts_on"], field.name
