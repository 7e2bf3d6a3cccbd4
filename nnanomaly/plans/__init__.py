"""The plans file: everything the planner decided, as frozen dataclasses with JSON on disk. Knows no torch.

A plans file is nnU-Net-like: the stages are `configurations`, a user may edit any number by hand, and a stage may
say `"inherits_from"` to take all other fields from another entry. Sizes are `(z, y, x)`.
"""

from nnanomaly.plans.choices import (
    ANOMALY_MAPS,
    CODECS,
    DETECTORS,
    FIXED_CODECS,
    GUIDANCE_OF,
    HEAD_INPUTS,
    KINDS_OF_LESIONS,
    PLANS_NAMES,
    SAMPLERS_OF,
    Guidance,
)
from nnanomaly.plans.classifier import ClassifierPlan
from nnanomaly.plans.commands import training_command
from nnanomaly.plans.declarations import Step
from nnanomaly.plans.diffusion import DiffusionPlan
from nnanomaly.plans.domain import OrganDomain
from nnanomaly.plans.files import load_plans, save_plans
from nnanomaly.plans.head import HeadPlan
from nnanomaly.plans.identity import BEHIND_THE_MAP, FELT_BY_NETWORKS, RESIDUAL_FIELDS, fits, shortened
from nnanomaly.plans.inference import InferencePlan
from nnanomaly.plans.limits import LENGTHS, LIMITS, LONGEST_ORGAN, ORGAN_PATTERN
from nnanomaly.plans.plans import Plans
from nnanomaly.plans.preprocessing import PreprocessingPlan
from nnanomaly.plans.training import TrainingPlan
from nnanomaly.plans.vqgan import GatePlan, VQGANPlan

__all__ = [
    "ANOMALY_MAPS",
    "BEHIND_THE_MAP",
    "CODECS",
    "DETECTORS",
    "FELT_BY_NETWORKS",
    "FIXED_CODECS",
    "GUIDANCE_OF",
    "HEAD_INPUTS",
    "KINDS_OF_LESIONS",
    "LENGTHS",
    "LIMITS",
    "LONGEST_ORGAN",
    "ORGAN_PATTERN",
    "PLANS_NAMES",
    "RESIDUAL_FIELDS",
    "SAMPLERS_OF",
    "ClassifierPlan",
    "DiffusionPlan",
    "GatePlan",
    "Guidance",
    "HeadPlan",
    "InferencePlan",
    "OrganDomain",
    "Plans",
    "PreprocessingPlan",
    "Step",
    "TrainingPlan",
    "VQGANPlan",
    "fits",
    "load_plans",
    "save_plans",
    "shortened",
    "training_command",
]
