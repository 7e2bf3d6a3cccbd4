"""What a preset is: a setting for every stage, and a reason for every number that the planner does not choose."""

from collections.abc import Mapping
from dataclasses import dataclass

from nnanomaly.plans import (
    ClassifierPlan,
    DiffusionPlan,
    HeadPlan,
    InferencePlan,
    PreprocessingPlan,
    VQGANPlan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings of every stage, before the planner fits them to a dataset."""

    preprocessing: PreprocessingPlan
    """From scans to patches."""
    vqgan: VQGANPlan
    """Stage 1."""
    classifier: ClassifierPlan
    """Stage 2, guidance."""
    ddpm: DiffusionPlan
    """Stage 2, the model of healthy organs."""
    head: HeadPlan
    """Stage 3, the lesion head."""
    inference: InferencePlan
    """Prediction."""
    reasons: Mapping[str, str]
    """One line for each number that the planner does not choose."""
