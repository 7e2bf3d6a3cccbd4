"""What fields of the plans say of themselves besides type and meaning. Identities and the tuning follow from it."""

import dataclasses
from collections.abc import Mapping
from enum import Flag, auto
from typing import Any


class Step(Flag):
    """The steps from a patch to its candidates, in order."""

    NETWORKS = auto()
    """The reconstructions."""
    RESIDUAL = auto()
    """How they differ from the scan, and to which healthy residuals that is related: what the lesion head sees."""
    MAP = auto()
    """The anomaly map of a patch."""
    THRESHOLD = auto()
    """Where the map is cut."""
    CANDIDATES = auto()
    """What becomes of the voxels above the threshold."""


Metadata = dict[str, Any]
ONLY_TRAINING: Metadata = {"only_training": True}
"""A field that decides how a network is trained, and not what it is: no part of an identity."""
YOUNGER: Metadata = {"younger": True}
"""A field younger than schema 1 that changes nothing at its default: an identity leaves it out there, so that models
trained before it still fit. Such a default never changes."""


def acts_on(step: Step, *, since: int = 1) -> Metadata:
    """A field of the inference, the steps that it changes, and the version of the identities that first heeds it."""
    return {"acts_on": step, "since": since}


def seen_by_classifier(usual: object, *, since: int = 1) -> Metadata:
    """A field of the diffusion model that changes what the classifier sees; its identity leaves it out at `usual`."""
    return {"seen_by_classifier": usual, "since": since}


def fields_acting_on(kind: type, steps: Step) -> tuple[str, ...]:
    """Names of the fields of a dataclass that change one of `steps`, in their order."""
    fields = dataclasses.fields(kind)
    return tuple(field.name for field in fields if steps & field.metadata["acts_on"])


def declared(kind: type, key: str) -> Mapping[str, Any]:
    """What the fields of a dataclass that declare `key` say of it, by name."""
    return {field.name: field.metadata[key] for field in dataclasses.fields(kind) if key in field.metadata}
