"""The plan of the classifier."""

from dataclasses import dataclass, field

from nnanomaly.plans.checks import require_limits
from nnanomaly.plans.choices import Pool
from nnanomaly.plans.declarations import ONLY_TRAINING
from nnanomaly.plans.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierPlan:
    """Healthy or not, from a noisy latent; its gradient guides the reconstruction."""

    widths: tuple[int, ...]
    """Channels per level, finest first; every level after the first halves the latent."""
    training: TrainingPlan = field(metadata=ONLY_TRAINING)
    """Optimisation."""
    blocks_per_level: int = 1
    """Residual blocks per level."""
    pool: Pool = "average"
    """`average`, `attention` or `logsumexp` pooling before the linear head."""
    label_smoothing: float = 0.0
    """Share of the target moved to the other class (report labels are noisy)."""
    max_sigma: float = 1.5
    """Largest noise level it is trained for, in units of the latents' standard deviation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
