"""Identities: those of version 1 are what they always were, and follow from what the fields declare."""

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.plans import HEAD, STAGES, InferencePlan, Plans, Step
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


def test_every_field_of_the_inference_declares_the_steps_it_acts_on() -> None:
    for field in dataclasses.fields(InferencePlan):
        assert isinstance(field.metadata["acts_on"], Step) and field.metadata["acts_on"], field.name
