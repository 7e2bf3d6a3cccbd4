"""The plan of prediction: every field names the steps that it acts on."""

from dataclasses import dataclass, field, replace

from nnanomaly.plans.checks import require, require_limits
from nnanomaly.plans.choices import (
    GUIDANCE_OF,
    AnomalyMap,
    Detector,
    Encode,
    Guidance,
    Precision,
    Reduction,
    ResidualOf,
    Sampler,
    Threshold,
)
from nnanomaly.plans.declarations import YOUNGER, Step, acts_on
from nnanomaly.plans.limits import MAX_EVALUATIONS
from nnanomaly.stages import HEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePlan:
    """From a patch to candidates."""

    sampler: Sampler = field(metadata=acts_on(Step.NETWORKS))
    """`heun` or `one_step` (noise level as sigma), `ddim` or `ddpm` (unit stride on the discrete schedule)."""
    encode: Encode = field(metadata=acts_on(Step.NETWORKS))
    """`invert` (deterministic, along the probability flow) or `noise` (forward diffusion)."""
    sigma: float = field(metadata=acts_on(Step.NETWORKS))
    """Noise level the latent is taken to, in units of the latents' standard deviation."""
    num_steps: int = field(metadata=acts_on(Step.NETWORKS))
    """Intervals of the solver between that level and 0."""
    guidance: Guidance = field(metadata=acts_on(Step.NETWORKS))
    """`none`, `gradient` (published form), `relative` (scale-free) or `free` (no classifier)."""
    guidance_scale: float = field(metadata=acts_on(Step.NETWORKS))
    """s of `gradient`, rho of `relative`, or w of `free` (1 = the healthy class alone, more = away from null)."""
    min_classifier_auc: float = field(metadata=acts_on(Step.NETWORKS, since=2))
    """Guidance is switched off, aloud, when the classifier's validation AUC at `sigma` is below this; 0 = never."""
    num_samples: int = field(metadata=acts_on(Step.NETWORKS))
    """Reconstructions that are averaged (more than one only for `encode = noise`)."""
    quantise: bool = field(metadata=acts_on(Step.NETWORKS))
    """Whether latents snap to the nearest code before they are decoded."""
    anomaly_map: AnomalyMap = field(metadata=acts_on(Step.RESIDUAL | Step.MAP, since=2))
    """`absolute` (HU), `zscore` (by healthy residuals at that distance to the organ), `zscore_intensity` (by distance
    and by the HU of the reconstruction) or `ssim` (the z-score of one minus the structural similarity)."""
    smoothing_mm: float = field(metadata=acts_on(Step.RESIDUAL, since=2))
    """Standard deviation of the Gaussian that smooths the residual (for `ssim`, what is compared); 0 = none."""
    organ_gate_mm: float = field(metadata=acts_on(Step.MAP))
    """Distance outside the organ at which the map begins to fade; negative = no gate."""
    threshold: Threshold = field(metadata=acts_on(Step.THRESHOLD))
    """`otsu` over the covered voxels of the scan, or `calibrated` on healthy organs."""
    false_candidates_per_organ: float = field(metadata=acts_on(Step.THRESHOLD))
    """Target of the calibrated threshold on the healthy validation organs."""
    morphology: bool = field(metadata=acts_on(Step.CANDIDATES))
    """Whether the mask is opened, closed and its holes filled."""
    hysteresis: float = field(default=1.0, metadata=acts_on(Step.CANDIDATES))
    """A candidate that exceeds the threshold grows down to this share of it; 1 = no growth."""
    precision: Precision = field(default="fp32", metadata=acts_on(Step.NETWORKS | Step.MAP))
    """`fp32`, or `bf16` autocast in the networks; the sampler itself is always fp32."""
    residual_of: ResidualOf = field(default="input", metadata=YOUNGER | acts_on(Step.NETWORKS | Step.RESIDUAL))
    """What the reconstruction is compared with: the `input`, the `autoencoded` one (cancels the codec's error), or the
    `unguided` reconstruction of the same noise (leaves what guidance changes: the counterfactual difference)."""
    detector: Detector = field(default="residual", metadata=acts_on(Step.MAP))
    """What makes the map: `residual` (see `anomaly_map`), `head` (probability of the lesion head), or `both` (the mean
    of the two, z-scores brought to [0, 1])."""
    mirroring: bool = field(default=False, metadata=acts_on(Step.MAP))
    """Whether the probability of the head is the mean over the eight mirrored patches, as in nnU-Net."""
    reduction: Reduction = field(default="none", metadata=acts_on(Step.CANDIDATES))
    """What sorts candidates out: `none` (the threshold alone), or `mil` (a model trained on weak labels)."""
    reduction_pool: float = field(default=3.0, metadata=acts_on(Step.THRESHOLD))
    """With `mil`, candidates are first taken at a threshold that lets through this many times
    `false_candidates_per_organ`."""
    min_voxels: int = field(default=20, metadata=acts_on(Step.CANDIDATES))
    """Smaller candidates (in voxels of the scan) are dropped."""
    min_diameter_mm: float = field(default=3.0, metadata=acts_on(Step.CANDIDATES))
    """Candidates of smaller equivalent diameter are dropped."""
    extra_sigmas: tuple[float, ...] = field(default=(), metadata=YOUNGER | acts_on(Step.NETWORKS))
    """More noise levels: the map is the mean over those of all levels, each by healthy residuals of its own."""
    inpaint_rounds: int = field(default=0, metadata=acts_on(Step.NETWORKS, since=2))
    """Rounds in which candidates over 30 mm are drawn anew from their surroundings; 0 = off."""
    follow_lesions: bool = field(default=False, metadata=acts_on(Step.CANDIDATES))
    """Whether a candidate that a patch cuts off gets another patch further out."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
        evaluations = self.num_steps * self.num_samples * len(self.sigmas)
        rule = f"with {self.num_samples} samples of {len(self.sigmas)} noise levels at most {MAX_EVALUATIONS} are taken"
        require(evaluations <= MAX_EVALUATIONS, "num_steps", self.num_steps, rule)
        reducible = self.reduction == "none" or self.threshold == "calibrated"
        require(reducible, "reduction", self.reduction, "`mil` needs threshold `calibrated`")
        forms = GUIDANCE_OF[self.sampler]
        require(
            self.guidance in forms, "guidance", self.guidance, f"sampler {self.sampler} can do {' and '.join(forms)}"
        )
        require(
            not self.follow_lesions or self.threshold == "calibrated",
            "follow_lesions",
            self.follow_lesions,
            "a candidate of one patch needs threshold `calibrated`",
        )
        require(
            self.residual_of != "unguided" or self.guidance != "none",
            "residual_of",
            self.residual_of,
            "without guidance that difference is nought everywhere",
        )

    @property
    def before_reduction(self) -> "InferencePlan":
        """The plan of the candidates that are yet to be sorted out; this one itself where none are."""
        if self.reduction == "none":
            return self
        pool = self.false_candidates_per_organ * self.reduction_pool
        return replace(self, reduction="none", false_candidates_per_organ=pool)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """All noise levels, that of the plan first."""
        return (self.sigma, *self.extra_sigmas)

    @property
    def needs_classifier(self) -> bool:
        """Whether guidance takes the gradient of a classifier."""
        return self.guidance in ("gradient", "relative")

    @property
    def needs_head(self) -> bool:
        """Whether the map takes the lesion head."""
        return self.detector in (HEAD, "both")
