"""Which configurations of the inference are compared: all that need no training. Knows neither files nor networks.

A configuration is an `InferencePlan`. They form a grid; `dimensions` is the one place where an option is added to it.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

from nnanomaly.plans import (
    ANOMALY_MAPS,
    BEHIND_THE_MAP,
    DETECTORS,
    FELT_BY_NETWORKS,
    RESIDUAL_FIELDS,
    InferencePlan,
)
from nnanomaly.stages import HEAD

Changes = dict[str, Any]
"""Fields of an InferencePlan and other values."""
Numbered = tuple[int, InferencePlan]
"""A configuration and its place in the list of all."""

TARGETS = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Candidates per healthy organ that the threshold may let through, as far as the user's limit goes."""
HYSTERESES = (1.0, 0.7, 0.5)
MIN_DIAMETERS_MM = (5.0, 8.0, 11.0)
"""With `min_voxels` 1, so that the limit means the same on every grid."""
NETWORKS = {detector: number for number, detector in enumerate(DETECTORS)}
"""Detectors, the simplest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What there is to choose from besides the plans."""

    head: InferencePlan | None
    """The plans that the lesion head was trained with; None without a head."""
    ensembles: bool
    """Whether detectors are combined."""
    most_false_candidates: float
    """Largest target of the threshold, per healthy organ."""


def configurations(plan: InferencePlan, offer: Offer) -> list[InferencePlan]:
    """The plans as they are, then the whole grid, each configuration once."""
    found = {plan: None}
    for choice in product(*dimensions(plan, offer)):
        changed: Changes = {}
        for changes in choice:
            changed |= changes
        found[replace(plan, **changed)] = None
    return list(found)


def dimensions(plan: InferencePlan, offer: Offer) -> list[list[Changes]]:
    """The choices that are independent of each other, in each what the plans say first.

    A new option of the inference takes part by one more list here; `group_by` then knows what it can share.
    """
    return [
        _maps(plan, offer),
        _thresholds(plan, offer.most_false_candidates),
        [{"hysteresis": share} for share in _own_first(plan.hysteresis, HYSTERESES)],
        [{"morphology": plan.morphology}, {"morphology": not plan.morphology}],
        [{}, *({"min_voxels": 1, "min_diameter_mm": diameter} for diameter in MIN_DIAMETERS_MM)],
    ]


def _maps(plan: InferencePlan, offer: Offer) -> list[Changes]:
    """Residual maps of every kind, and the detectors that take the head.

    The head must see the residuals that it was trained with, whatever the plans have become since.
    """
    scores = [kind for kind in ANOMALY_MAPS if kind not in ("absolute", plan.anomaly_map)]
    maps: list[Changes] = [
        {"detector": "residual", "anomaly_map": kind, "residual_of": reference}
        for kind in (plan.anomaly_map, *scores)
        for reference in _own_first(plan.residual_of, ("input", "autoencoded"))
    ]
    if offer.head is not None:
        seen = {name: getattr(offer.head, name) for name in RESIDUAL_FIELDS}
        detectors = (HEAD, "both") if offer.ensembles else (HEAD,)
        maps += [
            {"detector": detector, "mirroring": mirroring, **seen}
            for detector in detectors
            for mirroring in _own_first(plan.mirroring, (False, True))
        ]
    return maps


def _thresholds(plan: InferencePlan, limit: float) -> list[Changes]:
    targets = [target for target in TARGETS if target < limit] + [limit]
    if plan.threshold == "calibrated" and plan.false_candidates_per_organ <= limit:
        targets = _own_first(plan.false_candidates_per_organ, targets)
    calibrated = [{"threshold": "calibrated", "false_candidates_per_organ": target} for target in targets]
    return [{"threshold": "otsu"}, *calibrated] if plan.threshold == "otsu" else calibrated


def _own_first(own: Any, values: Iterable[Any]) -> list[Any]:
    return [own, *(value for value in values if value != own)]


def group_by(numbered: Iterable[Numbered], key: Callable[[InferencePlan], Hashable]) -> list[list[Numbered]]:
    """Numbered configurations, those of one key together, in order."""
    groups: dict[Hashable, list[Numbered]] = {}
    for number, plan in numbered:
        groups.setdefault(key(plan), []).append((number, plan))
    return list(groups.values())


def reconstruction_of(plan: InferencePlan) -> Hashable:
    """Equal for configurations that share their reconstructions; those to the input and its codec are always made."""
    felt = {name: getattr(plan, name) for name in FELT_BY_NETWORKS}
    return tuple((felt | {"residual_of": plan.residual_of == "unguided"}).values())


def map_of(plan: InferencePlan) -> Hashable:
    """Equal for configurations that share their maps."""
    return tuple(getattr(plan, field.name) for field in fields(plan) if field.name not in BEHIND_THE_MAP)


def changes(plan: InferencePlan, start: InferencePlan) -> Changes:
    """The fields in which a configuration differs from another, with its own values."""
    return {
        field.name: getattr(plan, field.name)
        for field in fields(plan)
        if getattr(plan, field.name) != getattr(start, field.name)
    }


def complexity(plan: InferencePlan, start: InferencePlan) -> tuple[int, int]:
    """What counts as simpler: fewer networks, then fewer fields that differ from the plans that are there."""
    return NETWORKS[plan.detector], len(changes(plan, start))
