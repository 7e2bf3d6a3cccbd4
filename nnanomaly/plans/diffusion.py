"""The plan of the diffusion model."""

from dataclasses import dataclass, field

from nnanomaly.plans.checks import require, require_limits
from nnanomaly.plans.choices import LatentScaling, Noise, Process, Schedule, UNet
from nnanomaly.plans.declarations import ONLY_TRAINING, YOUNGER, seen_by_classifier
from nnanomaly.plans.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionPlan:
    """The model of healthy latents, or of both classes with their labels."""

    architecture: UNet
    """`unet3d` (convolutions on all axes) or `factorised` (the paper's)."""
    widths: tuple[int, ...]
    """Channels per level, finest first; every level after the first halves the latent."""
    process: Process = field(metadata=seen_by_classifier("edm"))
    """`edm` (noise level as sigma, preconditioned) or `ddpm` (cosine schedule, noise prediction)."""
    latent_scaling: LatentScaling = field(metadata=seen_by_classifier("standardise"))
    """`standardise` (unit variance per channel) or `codebook_range` (the paper's min-max)."""
    training: TrainingPlan = field(metadata=ONLY_TRAINING)
    """Optimisation."""
    blocks_per_level: int = 2
    """Residual blocks per level."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention (unet3d only)."""
    head_channels: int = 32
    """Channels of one attention head."""
    num_timesteps: int = field(default=1000, metadata=seen_by_classifier(1000, since=2))
    """Steps of the discrete schedule (ddpm only)."""
    log_sigma_mean: float = 0.3
    """Mean of ln(sigma) in training (edm only)."""
    log_sigma_std: float = 1.0
    """Standard deviation of ln(sigma) in training (edm only)."""
    max_sigma: float = 4.5
    """Largest sigma in training (edm only): three times the largest level used."""
    encodings_per_patch: int = 4
    """Augmented encodings of each patch that are cached for training."""
    class_dropout: float = field(default=0.0, metadata=YOUNGER)
    """Share of labels withheld in training on both classes, for `free` guidance; 0 = healthy organs, no labels."""
    schedule: Schedule = field(default="cosine", metadata=YOUNGER | seen_by_classifier("cosine"))
    """Noise of the steps: `cosine` or `linear` (ddpm only)."""
    noise: Noise = field(default="gaussian", metadata=YOUNGER | seen_by_classifier("gaussian"))
    """`gaussian` (white) or `pyramid` (with structure of up to 8 voxels, for codecs `haar` and `identity`)."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
        noisy = self.schedule == "cosine" or self.num_timesteps >= 1000
        require(
            noisy, "schedule", self.schedule, "needs num_timesteps of 1000 or more, or its last step shows the image"
        )

    @property
    def downsampling(self) -> int:
        """Factor between the finest and the coarsest level on every axis."""
        return int(2 ** (len(self.widths) - 1))
