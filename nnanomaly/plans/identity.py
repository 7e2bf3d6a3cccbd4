"""What a trained network depends on, as a hash: its *identity*, derived from what the fields declare of themselves."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from nnanomaly.plans.declarations import Step, declared, fields_acting_on
from nnanomaly.plans.diffusion import DiffusionPlan
from nnanomaly.plans.inference import InferencePlan
from nnanomaly.stages import HEAD
from nnanomaly.utilities.json_io import document_hash, to_document

VERSION_2 = ":2:"
"""What an identity holds from version 2 on: before it stands what version 1 heeded, behind it what that forgot."""
FELT_BY_NETWORKS = fields_acting_on(InferencePlan, Step.NETWORKS)
"""Fields of the inference that change what is reconstructed; the others act on what comes out."""
RESIDUAL_FIELDS = fields_acting_on(InferencePlan, Step.RESIDUAL)
"""Fields of the inference that decide which residuals the lesion head sees."""
SEEN_BY_HEAD = fields_acting_on(InferencePlan, Step.NETWORKS | Step.RESIDUAL)
SINCE = declared(InferencePlan, "since")
BEHIND_THE_MAP = tuple(
    field.name
    for field in dataclasses.fields(InferencePlan)
    if not field.metadata["acts_on"] & (Step.NETWORKS | Step.RESIDUAL | Step.MAP)
)
"""Fields of the inference that act on a finished map alone."""


def identity_of(document: dict[str, Any], stages: Collection[str], *, kinds: Mapping[str, Any], guided: bool) -> str:
    """What networks of these stages depend on: the patches, themselves and the stages before them.

    `document`: plans as plain types; `kinds`: the dataclass of each of its entries; `guided`: whether a classifier
    guides. A stage depends on the autoencoder, the lesion head on the ddpm as well, and on what the inference shows it.
    The identity is the SHA-256 of what version 1 heeded and, where version 2 heeds more, `:2:` and the SHA-256 of that.
    """
    first, second = document_hash(_heeded_by_1(document, stages, kinds)), _added_by_2(document, stages, kinds, guided)
    return f"{first}{VERSION_2}{document_hash(second)}" if second else first


def fits(trained_with: str, identity: str) -> bool:
    """Whether a network that was trained with one identity belongs to plans of another.

    A network that carries an identity of version 1 is judged by version 1: what that forgot is not known of it.
    """
    if VERSION_2 not in trained_with:
        identity = identity.partition(VERSION_2)[0]
    return trained_with == identity


def shortened(identity: str) -> str:
    """An identity for a message: the first 12 digits of each of its hashes."""
    return ":".join(part[:12] for part in identity.split(":"))


def _heeded_by_1(document: dict[str, Any], stages: Collection[str], kinds: Mapping[str, Any]) -> dict[str, Any]:
    relevant = {key: document[key] for key in ("preset", "organs", "preprocessing")}
    before = {"vqgan", "ddpm"} if HEAD in stages else {"vqgan"}
    for stage in {*before, *stages}:
        relevant[stage] = _that_counts(kinds[stage], document[stage])
    if HEAD in stages:
        counts = _that_counts(InferencePlan, document["inference"])
        old = {name for name in SEEN_BY_HEAD if SINCE[name] == 1}
        relevant["inference"] = {name: value for name, value in counts.items() if name in old}
        if document["inference"]["anomaly_map"] == "ssim":  # of the maps, version 1 told this one alone from the others
            relevant["inference"]["anomaly_map"] = "ssim"
    if "classifier" in stages:
        relevant["classifier"] |= _shown_to_classifier(document["ddpm"], version=1)
    return relevant


def _added_by_2(
    document: dict[str, Any], stages: Collection[str], kinds: Mapping[str, Any], guided: bool
) -> dict[str, Any]:
    added = _shown_to_classifier(document["ddpm"], version=2) if "classifier" in stages else {}
    if HEAD in stages:
        added |= {f"inference.{name}": document["inference"][name] for name in SEEN_BY_HEAD if SINCE[name] == 2}
        added["classifier"] = _that_counts(kinds["classifier"], document["classifier"]) if guided else None
    return added


def _shown_to_classifier(ddpm: dict[str, Any], *, version: int) -> dict[str, Any]:
    usual, since = declared(DiffusionPlan, "seen_by_classifier"), declared(DiffusionPlan, "since")
    names = [name for name, value in usual.items() if ddpm[name] != value and since[name] == version]
    return {f"ddpm.{name}": ddpm[name] for name in names}


def _that_counts(kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry that say what a network is, without younger ones that hold their old meaning."""
    unused = {*declared(kind, "only_training")}
    for field in dataclasses.fields(kind):
        if "younger" in field.metadata and fields[field.name] == to_document(field.default):
            unused.add(field.name)
    return {name: value for name, value in fields.items() if name not in unused}
