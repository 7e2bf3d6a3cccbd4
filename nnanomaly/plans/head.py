"""The plan of the lesion head."""

from dataclasses import dataclass, field

from nnanomaly.plans.checks import require_limits, require_names
from nnanomaly.plans.choices import HEAD_INPUTS, KINDS_OF_LESIONS, HeadInput, LesionKind
from nnanomaly.plans.declarations import ONLY_TRAINING
from nnanomaly.plans.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """The lesion head: a U-Net on patch and reconstruction, trained on lesions inserted into healthy organs."""

    inputs: tuple[HeadInput, ...] = HEAD_INPUTS
    """What it sees, some of `image`, `reconstruction`, `zscore` (of the residual) and `distance` (to the surface)."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Channels per level, finest first; every level after the first halves the patch."""
    blocks_per_level: int = 1
    """Residual blocks per level."""
    variants_per_patch: int = 12
    """Inserted variants of every healthy patch whose reconstruction is kept for training."""
    crop_mm: float = field(default=96.0, metadata=ONLY_TRAINING)
    """Edge of the cubes that it trains on, a third of them around a lesion; 0 = whole patches."""
    augmentation: bool = field(default=False, metadata=ONLY_TRAINING)
    """Whether crops are rotated, scaled and changed in contrast and brightness, besides being mirrored."""
    held_out_kinds: tuple[LesionKind, ...] = ("fat",)
    """Kinds of lesions that only validation sees: does the head find what it was never shown?"""
    self_training_iterations: int = field(default=0, metadata=ONLY_TRAINING)
    """Iterations of a second round, half of whose examples are unhealthy organs with the lesions that the first round
    sees in them; 0 = none."""
    training: TrainingPlan = field(
        default=TrainingPlan(
            num_iterations=20_000,
            batch_size=2,
            learning_rate=1e-3,
            weight_decay=1e-4,
            warmup_iterations=200,
            decay="cosine",
            gradient_clip=1.0,
            ema_decay=0.999,
            precision="bf16",
            validate_every=500,
        ),
        metadata=ONLY_TRAINING,
    )
    """Optimisation."""

    def __post_init__(self) -> None:
        """Check choices."""
        require_limits(self)
        require_names("head.inputs", self.inputs, HEAD_INPUTS)
        require_names("head.held_out_kinds", self.held_out_kinds, KINDS_OF_LESIONS)
