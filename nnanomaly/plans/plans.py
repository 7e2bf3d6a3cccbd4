"""All plans of a dataset together."""

import dataclasses
import typing
from dataclasses import dataclass, replace
from typing import Any

from nnanomaly.plans.checks import require, require_choice, require_limits, require_names
from nnanomaly.plans.choices import PLANS_NAMES
from nnanomaly.plans.classifier import ClassifierPlan
from nnanomaly.plans.consistency import require_fitting_codec, require_fitting_inference, require_fitting_latents
from nnanomaly.plans.diffusion import DiffusionPlan
from nnanomaly.plans.domain import OrganDomain
from nnanomaly.plans.head import HeadPlan
from nnanomaly.plans.identity import identity_of
from nnanomaly.plans.inference import InferencePlan
from nnanomaly.plans.limits import PLANS_NAME_PATTERN
from nnanomaly.plans.preprocessing import PreprocessingPlan
from nnanomaly.plans.training import TrainingPlan
from nnanomaly.plans.vqgan import VQGANPlan
from nnanomaly.stages import NETWORKS, STAGES
from nnanomaly.utilities.json_io import to_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Everything that follows from a dataset fingerprint and a memory budget."""

    dataset_name: str
    """Such as `Dataset501_Kidney`."""
    plans_name: str
    """Name of the plans file without its ending."""
    preset: str
    """`default` or `paper`."""
    gpu_memory_target_gb: float
    """Memory the planner filled."""
    organs: tuple[str, ...]
    """Organ names, one patch (or more) each per case."""
    preprocessing: PreprocessingPlan
    """From scans to patches."""
    vqgan: VQGANPlan
    """Stage 1."""
    classifier: ClassifierPlan
    """Stage 2, guidance."""
    ddpm: DiffusionPlan
    """Stage 2, the model of healthy organs."""
    inference: InferencePlan
    """Prediction."""
    reasons: dict[str, str]
    """One line for every number the planner chose."""
    head: HeadPlan = HeadPlan()
    """Stage 3, which may be left out."""
    domain: dict[str, OrganDomain] = dataclasses.field(default_factory=dict)
    """What the training scans look like, by organ; empty in plans of earlier versions, which cannot say it."""

    def __post_init__(self) -> None:
        """Check that patch, autoencoder and U-Net fit each other."""
        require_limits(self)
        require_choice("preset", self.preset, tuple(PLANS_NAMES))
        name, rule = self.dataset_name, "must be a name of at most 128 characters without .. / \\ : < >"
        safe = name.isprintable() and ".." not in name and not set(name) & set("/\\:<>") and 0 < len(name) <= 128
        require(safe, "dataset_name", name, rule)
        named = bool(PLANS_NAME_PATTERN.fullmatch(self.plans_name)) and ".." not in self.plans_name
        rule = "must be made of letters, digits, '.', '_' and '-', and no '..'"
        require(named, "plans_name", self.plans_name, rule)
        require_names("organs", self.organs)
        require_fitting_codec(self.vqgan, self.ddpm, self.inference)
        require_fitting_inference(self.inference, self.ddpm)
        require_fitting_latents(self.latent_shape, self.ddpm)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Voxels of a latent."""
        return self.vqgan.latent_shape(self.preprocessing.patch_size)

    @property
    def data_identifier(self) -> str:
        """Name of the folder of preprocessed patches."""
        return f"{self.plans_name}_3d"

    def training_of(self, stage: str) -> TrainingPlan:
        """Optimisation settings of `vqgan`, `classifier`, `ddpm` or `head`."""
        require_choice("stage", stage, NETWORKS)
        training: TrainingPlan = getattr(self, stage).training
        return training

    def with_training(self, stage: str, **changes: Any) -> "Plans":
        """A copy with other optimisation settings for one stage."""
        configuration = getattr(self, stage)
        return replace(self, **{stage: replace(configuration, training=replace(configuration.training, **changes))})

    @property
    def identity(self) -> str:
        """What a trained model depends on, hashed: preprocessing and networks, not training length or gate."""
        return self.identity_of(*STAGES)

    def identity_of(self, *stages: str) -> str:
        """The same for some stages: a stage depends on the patches, on itself and on those before it."""
        kinds = typing.get_type_hints(type(self))
        return identity_of(to_document(self), stages, kinds=kinds, guided=self.inference.needs_classifier)
