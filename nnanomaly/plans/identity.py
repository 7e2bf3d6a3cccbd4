"""What a trained network depends on, as a hash: its *identity*, derived from what the fields declare of themselves."""

import dataclasses
from collections.abc import Collection
from typing import Any

from nnanomaly.plans.choices import HEAD
from nnanomaly.plans.classifier import ClassifierPlan
from nnanomaly.plans.declarations import Step, declared, fields_acting_on
from nnanomaly.plans.diffusion import DiffusionPlan
from nnanomaly.plans.head import HeadPlan
from nnanomaly.plans.inference import InferencePlan
from nnanomaly.plans.vqgan import VQGANPlan
from nnanomaly.utilities.json_io import document_hash, to_document

KINDS: dict[str, type] = {
    "vqgan": VQGANPlan,
    "classifier": ClassifierPlan,
    "ddpm": DiffusionPlan,
    HEAD: HeadPlan,
    "inference": InferencePlan,
}
"""Dataclasses of the entries of a plans document."""
FORGOTTEN = ("min_classifier_auc", "inpaint_rounds")
FELT_BY_NETWORKS = tuple(name for name in fields_acting_on(InferencePlan, Step.NETWORKS) if name not in FORGOTTEN)
"""Fields of the inference that change what is reconstructed; the others act on what comes out."""
RESIDUAL_FIELDS = fields_acting_on(InferencePlan, Step.RESIDUAL)
"""Fields of the inference that decide which residuals the lesion head sees."""
BEHIND_THE_MAP = tuple(
    field.name
    for field in dataclasses.fields(InferencePlan)
    if not field.metadata["acts_on"] & (Step.NETWORKS | Step.RESIDUAL | Step.MAP)
)
"""Fields of the inference that act on a finished map alone."""


def identity_of(document: dict[str, Any], stages: Collection[str]) -> str:
    """SHA-256 of what networks of these stages depend on: the patches, themselves and the stages before them.

    `document`: plans as plain types. A stage depends on the autoencoder, the lesion head on the ddpm as well.
    """
    relevant = {key: document[key] for key in ("preset", "organs", "preprocessing")}
    before = {"vqgan", "ddpm"} if HEAD in stages else {"vqgan"}
    for stage in {*before, *stages}:
        relevant[stage] = _that_counts(stage, document[stage])
    if HEAD in stages:
        counts = _that_counts("inference", document["inference"])
        relevant["inference"] = {name: value for name, value in counts.items() if name in FELT_BY_NETWORKS}
        if document["inference"]["anomaly_map"] == "ssim":  # the head sees another residual than that in HU
            relevant["inference"]["anomaly_map"] = "ssim"
    if "classifier" in stages:
        usual = declared(DiffusionPlan, "seen_by_classifier")
        ddpm = document["ddpm"]
        relevant["classifier"] |= {f"ddpm.{name}": ddpm[name] for name in usual if ddpm[name] != usual[name]}
    return document_hash(relevant)


def _that_counts(stage: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an entry that say what a network is, without younger ones that hold their old meaning."""
    kind = KINDS[stage]
    unused = {*declared(kind, "only_training")}
    for field in dataclasses.fields(kind):
        if "younger" in field.metadata and fields[field.name] == to_document(field.default):
            unused.add(field.name)
    return {name: value for name, value in fields.items() if name not in unused}
