"""How every stage is optimised."""

from dataclasses import dataclass

from nnanomaly.plans.checks import require_limits
from nnanomaly.plans.choices import Decay, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """How one stage is optimised."""

    num_iterations: int
    """Optimiser steps."""
    batch_size: int
    """Patches (or latents) in one batch."""
    learning_rate: float
    """Peak learning rate."""
    accumulation: int = 1
    """Batches whose gradients are summed for one optimiser step."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam moments."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW); 0 is Adam."""
    warmup_iterations: int = 0
    """Steps of linear warm-up."""
    decay: Decay = "constant"
    """Learning rate after warm-up: `constant`, or `cosine` down to a tenth."""
    gradient_clip: float = 0.0
    """Largest gradient norm; 0 = no clipping."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights; 0 = none."""
    precision: Precision = "fp32"
    """`fp32`, or `bf16` autocast in the networks."""
    validate_every: int = 500
    """Iterations between validations."""
    patience: int = 0
    """Validations without improvement after which training stops; 0 = never."""
    checkpoint_every: int = 1000
    """Iterations between checkpoints."""
    checkpoint_minutes: float = 10.0
    """Wall time after which a checkpoint is written in any case."""
    seed: int = 1234
    """Seed of weights, batches and noise."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
