"""One trained fold: what turns patches into reconstructions, maps and sorted candidates."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.inpainting import Inpainter
from nnanomaly.inference.reconstruct import Reconstructor
from nnanomaly.inference.reducer import Reducer


class Sampled(NamedTuple):
    """What averages samples of the noise."""

    reconstruct: Reconstructor
    """Patches to healthy reconstructions."""
    inpaint: Inpainter | None
    """Draws large candidates anew; None = the plan does not ask for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """A fold that can reconstruct, and with its calibration predict."""

    reconstruct: Reconstructor
    """Patches to healthy reconstructions."""
    detect: Detector
    """Looks to maps."""
    guidance: bool = False
    """Whether the reconstruction is guided."""
    guidance_reason: str = ""
    """Why, or why not."""
    checkpoints: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the checkpoint of every stage."""
    inpaint: Inpainter | None = None
    """Draws large candidates anew; None = the plan does not ask for it."""
    reducer: Reducer | None = None
    """What sorts candidates out, where the plans say so."""
    sampled: Callable[[int], Sampled] | None = None
    """Reconstruction and inpainting with another number of samples than the plans say."""
    measured: Calibration | None = None
    """Healthy residuals and thresholds; None before the fold is calibrated."""

    @property
    def calibration(self) -> Calibration:
        """The calibration of a fold that has one."""
        assert self.measured is not None  # who predicts has loaded a calibrated fold
        return self.measured

    def with_num_samples(self, num_samples: int) -> "Fold":
        """The same fold, which averages so many samples of the noise."""
        assert self.sampled is not None  # loaded folds have it
        reconstruct, inpaint = self.sampled(num_samples)
        return replace(self, reconstruct=reconstruct, inpaint=inpaint)
