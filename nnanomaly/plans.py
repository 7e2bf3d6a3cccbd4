"""The plans file: everything the planner decided, as frozen dataclasses with JSON on disk. Knows no torch.

A plans file is nnU-Net-like: the stages are `configurations`, a user may edit any number by hand, and a stage may
say `"inherits_from"` to take all other fields from another entry. Sizes are `(z, y, x)`.
"""

import dataclasses
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnanomaly.stages import HEAD, NETWORKS, SPECS, STAGES
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import document_hash, from_document, read_json, shown, to_document, write_json
from nnanomaly.utilities.shown_text import command_line

SCHEMA_VERSION = 1
MAX_PARENTS = 16
"""Entries that a stage may take its fields from, one behind the other."""
DETECTORS = ("residual", HEAD, "both")
HEAD_INPUTS = ("image", "reconstruction", "zscore", "distance")
GUIDANCE_OF = {
    "heun": ("none", "relative", "free"),
    "one_step": ("none",),
    "ddim": ("none", "gradient"),
    "ddpm": ("none", "gradient"),
}
"""The samplers, and the forms of guidance that each can do."""
FELT_BY_NETWORKS = (
    "sampler",
    "encode",
    "sigma",
    "num_steps",
    "guidance",
    "guidance_scale",
    "num_samples",
    "quantise",
    "precision",
    "residual_of",
    "extra_sigmas",
)
"""Fields of the inference that change what is reconstructed; the others act on what comes out."""
RESIDUAL_FIELDS = ("residual_of", "smoothing_mm", "anomaly_map")
"""Fields of the inference that decide which residuals the lesion head sees."""
PLANS_NAMES = {"default": "nnAnomalyPlans", "paper": "nnAnomalyPaperPlans"}
CODECS = ("vq", "kl", "haar", "identity")
FIXED_CODECS = {"haar": (2, 8), "identity": (1, 1)}
"""Codecs that learn nothing: their stride on every axis, and the channels that it leaves of one."""
NO_PART_OF_A_NETWORK = ("training", "gate", "self_training_iterations", "crop_mm", "augmentation")
"""Fields of a stage that decide how it is trained, and not what it is."""
LATER_FIELDS: dict[str, dict[str, object]] = {
    "vqgan": {"codec": "vq", "kl_weight": 1e-6},
    "ddpm": {"class_dropout": 0.0, "schedule": "cosine", "noise": "gaussian"},
    "inference": {"residual_of": "input", "extra_sigmas": []},
}
"""Fields younger than schema 1, and the values at which they change nothing: an identity leaves these out."""


PLANS_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of plans, which become parts of file and folder names."""
ORGAN_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*")
"""Names of organs, likewise; at most `LONGEST_ORGAN` characters."""
LONGEST_ORGAN = 100
KINDS_OF_LESIONS = ("simple_cyst", "dense_cyst", "solid_dark", "solid_bright", "fat", "necrotic")
"""What `held_out_kinds` may name: the kinds of inserted lesions."""
MAX_PATCH_VOXELS = 2**27
"""Voxels of the largest patch: 512 x 512 x 512."""
MAX_EVALUATIONS = 200_000
"""Steps of the solver for one patch, over all samples and noise levels."""
_TIMES, _BELOW_ONE = (1, 1_000_000_000), (0, 1 - 1e-9)
LIMITS: dict[str, dict[str, tuple[float, float]]] = {
    "PreprocessingPlan": {
        "spacing_mm": (0.05, 20),
        "patch_size": (8, 1024),
        "margin_mm": (0, 500),
        "tile_overlap": (0, 0.95),
        "window_hu": (-32768, 32767),
        "interpolation_order": (0, 5),
    },
    "TrainingPlan": {
        "num_iterations": _TIMES,
        "batch_size": (1, 65536),
        "learning_rate": (1e-12, 10),
        "accumulation": (1, 10_000),
        "betas": _BELOW_ONE,
        "weight_decay": (0, 10),
        "warmup_iterations": (0, _TIMES[1]),
        "gradient_clip": (0, 1e6),
        "ema_decay": _BELOW_ONE,
        "validate_every": _TIMES,
        "patience": (0, _TIMES[1]),
        "checkpoint_every": _TIMES,
        "checkpoint_minutes": (0, 1e6),
        "seed": (0, 2**62),
    },
    "GatePlan": {
        "min_psnr_db": (0, 200),
        "min_ssim": _BELOW_ONE,
        "max_mae_hu": (0, 1e5),
        "min_high_band_ratio": (0, 10),
        "diameters_mm": (0.1, 500),
        "contrast_hu": (0.01, 1e4),
        "min_contrast_retention": _BELOW_ONE,
    },
    "VQGANPlan": {
        "stride": (1, 64),
        "latent_channels": (1, 1024),
        "num_codes": (1, 2**20),
        "widths": (1, 4096),
        "codebook_decay": (0, 1),
        "commitment_weight": (0, 1e6),
        "reconstruction_weight": (0, 1e6),
        "restart_every": _TIMES,
        "perceptual_weight": (0, 1e6),
        "discriminator_start": (0, _TIMES[1]),
        "discriminator_learning_rate": (1e-12, 10),
        "adversarial_weight": (0, 1e6),
        "feature_matching_weight": (0, 1e6),
        "kl_weight": (0, 1e6),
    },
    "ClassifierPlan": {
        "widths": (1, 4096),
        "blocks_per_level": (1, 16),
        "label_smoothing": _BELOW_ONE,
        "max_sigma": (1e-3, 1e4),
    },
    "DiffusionPlan": {
        "widths": (1, 4096),
        "blocks_per_level": (1, 16),
        "attention_levels": (0, 7),
        "head_channels": (1, 4096),
        "num_timesteps": (2, 100_000),
        "log_sigma_mean": (-20, 20),
        "log_sigma_std": (0, 20),
        "max_sigma": (1e-3, 1e4),
        "encodings_per_patch": (1, 1000),
        "class_dropout": _BELOW_ONE,
    },
    "HeadPlan": {
        "widths": (1, 4096),
        "blocks_per_level": (1, 16),
        "variants_per_patch": (1, 10_000),
        "crop_mm": (0, 5000),
        "self_training_iterations": (0, _TIMES[1]),
    },
    "InferencePlan": {
        "sigma": (1e-4, 1e4),
        "num_steps": (1, 10_000),
        "guidance_scale": (0, 1e6),
        "min_classifier_auc": (0, 1),
        "num_samples": (1, 1000),
        "smoothing_mm": (0, 100),
        "organ_gate_mm": (-1e4, 1e4),
        "false_candidates_per_organ": (0, 1000),
        "hysteresis": (1e-6, 1),
        "reduction_pool": (1, 1000),
        "min_voxels": (0, 10**9),
        "min_diameter_mm": (0, 1000),
        "extra_sigmas": (1e-4, 1e4),
        "inpaint_rounds": (0, 100),
    },
    "Plans": {"gpu_memory_target_gb": (0.001, 100_000)},
}
"""Smallest and largest value of every number, and of every number of a list, by dataclass: generous, but no plans file
may ask for work without end. Documented with the fields."""
LENGTHS: dict[str, dict[str, tuple[int, int]]] = {
    "PreprocessingPlan": {"mirrored_organs": (0, 200)},
    "GatePlan": {"diameters_mm": (0, 20), "min_contrast_retention": (0, 20)},
    "VQGANPlan": {"widths": (0, 8)},
    "ClassifierPlan": {"widths": (1, 8)},
    "DiffusionPlan": {"widths": (1, 8), "attention_levels": (0, 8)},
    "HeadPlan": {"inputs": (1, 4), "widths": (1, 8), "held_out_kinds": (0, 5)},
    "InferencePlan": {"extra_sigmas": (0, 8)},
    "Plans": {"organs": (1, 200), "reasons": (0, 1000)},
}
"""Fewest and most values of every list, likewise."""


def _require(condition: bool, field: str, value: object, rule: str) -> None:
    if not condition:
        raise ConfigurationError("CFG-PLAN", f"plans field {field} is {shown(value)}, but {rule}")


def _require_limits(plan: object) -> None:
    """Hold every number and every list of a plan against `LIMITS` and `LENGTHS`."""
    kind = type(plan).__name__
    for field, (fewest, most) in LENGTHS.get(kind, {}).items():
        value = getattr(plan, field)
        _require(fewest <= len(value) <= most, field, value, f"needs {fewest} to {most} values")
    for field, (low, high) in LIMITS[kind].items():
        value = getattr(plan, field)
        values = value if isinstance(value, tuple) else (value,)
        _require(all(low <= item <= high for item in values), field, value, f"must lie in {low:g}..{high:g}")


def _require_names(field: str, names: tuple[str, ...], choices: tuple[str, ...] | None = None) -> None:
    """Names that become parts of file names, or those of `choices`; each once."""
    for name in names:
        fits = name in choices if choices else bool(ORGAN_PATTERN.fullmatch(name)) and len(name) <= LONGEST_ORGAN
        rule = f"one of {', '.join(choices)}" if choices else 'made of letters, digits, "-" and single "_"'
        _require(fits and names.count(name) == 1, field, names, f"{shown(name)} must be there once and be {rule}")


def _require_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    _require(value in choices, field, value, f"must be one of {', '.join(choices)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessingPlan:
    """From a scan and its organ masks to organ patches."""

    spacing_mm: tuple[float, float, float]
    """Voxel size of a patch."""
    patch_size: tuple[int, int, int]
    """Voxels of a patch."""
    margin_mm: float
    """Tissue kept around the bounding box of the organ on every side."""
    tiling: bool
    """Whether an organ larger than the patch gets several overlapping patches (else one, centred)."""
    tile_overlap: float = 0.5
    """Smallest share of a patch that neighbouring patches of one organ have in common."""
    window_hu: tuple[float, float] = (-200.0, 300.0)
    """HU range that is mapped to [-1, 1]; values outside are clipped."""
    interpolation_order: int = 3
    """Spline order from the scan to the patch (3: cubic)."""
    mirrored_organs: tuple[str, ...] = ()
    """Organs whose patches run from left to right, so that paired organs look alike (canonical frame)."""
    antialiasing: bool = True
    """Whether a scan finer than the patch is smoothed before it is sampled."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        voxels = math.prod(self.patch_size)
        _require(voxels <= MAX_PATCH_VOXELS, "patch_size", self.patch_size, f"may have {MAX_PATCH_VOXELS} voxels")
        _require_names("mirrored_organs", self.mirrored_organs)
        _require(self.window_hu[0] < self.window_hu[1], "window_hu", self.window_hu, "must be (low, high)")

    @property
    def patch_mm(self) -> tuple[float, float, float]:
        """Extent of a patch."""
        z, y, x = (size * spacing for size, spacing in zip(self.patch_size, self.spacing_mm, strict=True))
        return z, y, x


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
    decay: str = "constant"
    """Learning rate after warm-up: `constant`, or `cosine` down to a tenth."""
    gradient_clip: float = 0.0
    """Largest gradient norm; 0 = no clipping."""
    ema_decay: float = 0.0
    """Decay of the moving average of the weights; 0 = none."""
    precision: str = "fp32"
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
        _require_limits(self)
        _require_choice("decay", self.decay, ("constant", "cosine"))
        _require_choice("precision", self.precision, ("fp32", "bf16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlan:
    """What the autoencoder must keep of held-out organs before another stage is trained on it; 0 = no limit.

    What PSNR, SSIM, error and details can reach depends on the noise of the scanner; the share of a lesion's contrast
    does not.
    """

    min_psnr_db: float = 0.0
    """Smallest peak signal-to-noise ratio over the window."""
    min_ssim: float = 0.0
    """Smallest structural similarity."""
    max_mae_hu: float = 0.0
    """Largest mean absolute error in the organ."""
    min_high_band_ratio: float = 0.0
    """Smallest energy of the finest details, as a share of that in the patch."""
    diameters_mm: tuple[float, ...] = (5.0, 10.0, 20.0)
    """Spheres that are inserted into healthy organs."""
    contrast_hu: float = 60.0
    """HU that half of them add and the other half takes away."""
    min_contrast_retention: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Smallest share of that contrast that is left after the autoencoder, for each diameter."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        limits = self.min_contrast_retention
        _require(
            len(limits) == len(self.diameters_mm),
            "min_contrast_retention",
            limits,
            f"needs a share in [0, 1) for each of {self.diameters_mm} mm; 0 = no limit",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VQGANPlan:
    """The autoencoder: patches to latents."""

    architecture: str
    """`resize` (nearest upsampling and convolution) or `transposed` (the paper's)."""
    stride: tuple[int, int, int]
    """Downsampling per axis, powers of two."""
    latent_channels: int
    """Channels of a latent, the length of a code."""
    num_codes: int
    """Size of the codebook."""
    widths: tuple[int, ...]
    """Channels per resolution, finest first; one more than the number of halvings."""
    training: TrainingPlan
    """Optimisation of encoder, decoder and codebook."""
    codebook_decay: float = 0.99
    """Decay of the moving averages that are the codebook."""
    commitment_weight: float = 0.25
    """Weight of the distance between encoder output and code."""
    reconstruction_weight: float = 4.0
    """Weight of the mean absolute error."""
    restart_every: int = 100
    """Steps between restarts of unused codes; 1 = every step, as published."""
    perceptual: str = "wavelet"
    """`none`, `wavelet` (Haar high bands) or `lpips` (needs local weights)."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual term."""
    perceptual_file: str = ""
    """Local safetensors file with LPIPS weights, for `lpips` alone; nothing is ever downloaded."""
    discriminator_start: int = 10_000
    """Iteration from which the generator feels the discriminators."""
    discriminator_learning_rate: float = 1e-4
    """Learning rate of both discriminators."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial term once it is on; 0 = no discriminators are built."""
    feature_matching_weight: float = 4.0
    """Weight of the distance between discriminator features of real and reconstructed patches."""
    discriminator_norm: str = "group"
    """`group` or `batch` (as published)."""
    codec: str = "vq"
    """`vq` (codebook), `kl` (Gaussian latents), `haar` (wavelet bands) or `identity`; the last two learn nothing."""
    kl_weight: float = 1e-6
    """Weight of the divergence, in nats per patch, of the latents from unit Gaussians (kl only)."""
    gate: GatePlan = GatePlan()
    """What it must keep before the other stages are trained on its latents."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        _require_choice("architecture", self.architecture, ("resize", "transposed"))
        _require_choice("perceptual", self.perceptual, ("none", "wavelet", "lpips"))
        _require_choice("discriminator_norm", self.discriminator_norm, ("group", "batch"))
        _require(all(s >= 1 and s & (s - 1) == 0 for s in self.stride), "stride", self.stride, "must be powers of two")
        _require_choice("codec", self.codec, CODECS)
        halvings = max(self.stride).bit_length() - 1
        _require(
            self.codec in FIXED_CODECS or len(self.widths) == halvings + 1,
            "widths",
            self.widths,
            f"needs {halvings + 1} entries for {self.stride}",
        )

    def latent_shape(self, patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Voxels of the latent of a patch."""
        _require(
            all(p % s == 0 for p, s in zip(patch_size, self.stride, strict=True)),
            "patch_size",
            patch_size,
            f"must be divisible by the VQ-GAN's stride {self.stride}",
        )
        z, y, x = (p // s for p, s in zip(patch_size, self.stride, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierPlan:
    """Healthy or not, from a noisy latent; its gradient guides the reconstruction."""

    widths: tuple[int, ...]
    """Channels per level, finest first; every level after the first halves the latent."""
    training: TrainingPlan
    """Optimisation."""
    blocks_per_level: int = 1
    """Residual blocks per level."""
    pool: str = "average"
    """`average`, `attention` or `logsumexp` pooling before the linear head."""
    label_smoothing: float = 0.0
    """Share of the target moved to the other class (report labels are noisy)."""
    max_sigma: float = 1.5
    """Largest noise level it is trained for, in units of the latents' standard deviation."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        _require_choice("pool", self.pool, ("average", "attention", "logsumexp"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionPlan:
    """The model of healthy latents, or of both classes with their labels."""

    architecture: str
    """`unet3d` (convolutions on all axes) or `factorised` (the paper's)."""
    widths: tuple[int, ...]
    """Channels per level, finest first; every level after the first halves the latent."""
    process: str
    """`edm` (noise level as sigma, preconditioned) or `ddpm` (cosine schedule, noise prediction)."""
    latent_scaling: str
    """`standardise` (unit variance per channel) or `codebook_range` (the paper's min-max)."""
    training: TrainingPlan
    """Optimisation."""
    blocks_per_level: int = 2
    """Residual blocks per level."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention (unet3d only)."""
    head_channels: int = 32
    """Channels of one attention head."""
    num_timesteps: int = 1000
    """Steps of the discrete schedule (ddpm only)."""
    log_sigma_mean: float = 0.3
    """Mean of ln(sigma) in training (edm only)."""
    log_sigma_std: float = 1.0
    """Standard deviation of ln(sigma) in training (edm only)."""
    max_sigma: float = 4.5
    """Largest sigma in training (edm only): three times the largest level used."""
    encodings_per_patch: int = 4
    """Augmented encodings of each patch that are cached for training."""
    class_dropout: float = 0.0
    """Share of labels withheld in training on both classes, for `free` guidance; 0 = healthy organs, no labels."""
    schedule: str = "cosine"
    """Noise of the steps: `cosine` or `linear` (ddpm only)."""
    noise: str = "gaussian"
    """`gaussian` (white) or `pyramid` (with structure of up to 8 voxels, for codecs `haar` and `identity`)."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        _require_choice("architecture", self.architecture, ("unet3d", "factorised"))
        _require_choice("process", self.process, ("edm", "ddpm"))
        _require_choice("latent_scaling", self.latent_scaling, ("standardise", "codebook_range"))
        _require_choice("schedule", self.schedule, ("cosine", "linear"))
        _require_choice("noise", self.noise, ("gaussian", "pyramid"))
        noisy = self.schedule == "cosine" or self.num_timesteps >= 1000
        _require(
            noisy, "schedule", self.schedule, "needs num_timesteps of 1000 or more, or its last step shows the image"
        )

    @property
    def downsampling(self) -> int:
        """Factor between the finest and the coarsest level on every axis."""
        return int(2 ** (len(self.widths) - 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """The lesion head: a U-Net on patch and reconstruction, trained on lesions inserted into healthy organs."""

    inputs: tuple[str, ...] = HEAD_INPUTS
    """What it sees, some of `image`, `reconstruction`, `zscore` (of the residual) and `distance` (to the surface)."""
    widths: tuple[int, ...] = (16, 32, 64, 128)
    """Channels per level, finest first; every level after the first halves the patch."""
    blocks_per_level: int = 1
    """Residual blocks per level."""
    variants_per_patch: int = 12
    """Inserted variants of every healthy patch whose reconstruction is kept for training."""
    crop_mm: float = 96.0
    """Edge of the cubes that it trains on, a third of them around a lesion; 0 = whole patches."""
    augmentation: bool = False
    """Whether crops are rotated, scaled and changed in contrast and brightness, besides being mirrored."""
    held_out_kinds: tuple[str, ...] = ("fat",)
    """Kinds of lesions that only validation sees: does the head find what it was never shown?"""
    self_training_iterations: int = 0
    """Iterations of a second round, half of whose examples are unhealthy organs with the lesions that the first round
    sees in them; 0 = none."""
    training: TrainingPlan = TrainingPlan(
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
    )
    """Optimisation."""

    def __post_init__(self) -> None:
        """Check choices."""
        _require_limits(self)
        _require_names("head.inputs", self.inputs, HEAD_INPUTS)
        _require_names("head.held_out_kinds", self.held_out_kinds, KINDS_OF_LESIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class InferencePlan:
    """From a patch to candidates."""

    sampler: str
    """`heun` or `one_step` (noise level as sigma), `ddim` or `ddpm` (unit stride on the discrete schedule)."""
    encode: str
    """`invert` (deterministic, along the probability flow) or `noise` (forward diffusion)."""
    sigma: float
    """Noise level the latent is taken to, in units of the latents' standard deviation."""
    num_steps: int
    """Intervals of the solver between that level and 0."""
    guidance: str
    """`none`, `gradient` (published form), `relative` (scale-free) or `free` (no classifier)."""
    guidance_scale: float
    """s of `gradient`, rho of `relative`, or w of `free` (1 = the healthy class alone, more = away from null)."""
    min_classifier_auc: float
    """Guidance is switched off, aloud, when the classifier's validation AUC at `sigma` is below this; 0 = never."""
    num_samples: int
    """Reconstructions that are averaged (more than one only for `encode = noise`)."""
    quantise: bool
    """Whether latents snap to the nearest code before they are decoded."""
    anomaly_map: str
    """`absolute` (HU), `zscore` (by healthy residuals at that distance to the organ), `zscore_intensity` (by distance
    and by the HU of the reconstruction) or `ssim` (the z-score of one minus the structural similarity)."""
    smoothing_mm: float
    """Standard deviation of the Gaussian that smooths the residual (for `ssim`, what is compared); 0 = none."""
    organ_gate_mm: float
    """Distance outside the organ at which the map begins to fade; negative = no gate."""
    threshold: str
    """`otsu` over the covered voxels of the scan, or `calibrated` on healthy organs."""
    false_candidates_per_organ: float
    """Target of the calibrated threshold on the healthy validation organs."""
    morphology: bool
    """Whether the mask is opened, closed and its holes filled."""
    hysteresis: float = 1.0
    """A candidate that exceeds the threshold grows down to this share of it; 1 = no growth."""
    precision: str = "fp32"
    """`fp32`, or `bf16` autocast in the networks; the sampler itself is always fp32."""
    residual_of: str = "input"
    """What the reconstruction is compared with: the `input`, the `autoencoded` one (cancels the codec's error), or the
    `unguided` reconstruction of the same noise (leaves what guidance changes: the counterfactual difference)."""
    detector: str = "residual"
    """What makes the map: `residual` (see `anomaly_map`), `head` (probability of the lesion head), or `both` (the mean
    of the two, z-scores brought to [0, 1])."""
    mirroring: bool = False
    """Whether the probability of the head is the mean over the eight mirrored patches, as in nnU-Net."""
    reduction: str = "none"
    """What sorts candidates out: `none` (the threshold alone), or `mil` (a model trained on weak labels)."""
    reduction_pool: float = 3.0
    """With `mil`, candidates are first taken at a threshold that lets through this many times
    `false_candidates_per_organ`."""
    min_voxels: int = 20
    """Smaller candidates (in voxels of the scan) are dropped."""
    min_diameter_mm: float = 3.0
    """Candidates of smaller equivalent diameter are dropped."""
    extra_sigmas: tuple[float, ...] = ()
    """More noise levels: the map is the mean over those of all levels, each by healthy residuals of its own."""
    inpaint_rounds: int = 0
    """Rounds in which candidates over 30 mm are drawn anew from their surroundings; 0 = off."""
    follow_lesions: bool = False
    """Whether a candidate that a patch cuts off gets another patch further out."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require_limits(self)
        evaluations = self.num_steps * self.num_samples * len(self.sigmas)
        rule = f"with {self.num_samples} samples of {len(self.sigmas)} noise levels at most {MAX_EVALUATIONS} are taken"
        _require(evaluations <= MAX_EVALUATIONS, "num_steps", self.num_steps, rule)
        _require_choice("sampler", self.sampler, tuple(GUIDANCE_OF))
        _require_choice("encode", self.encode, ("invert", "noise"))
        _require_choice("guidance", self.guidance, ("none", "gradient", "relative", "free"))
        _require_choice("anomaly_map", self.anomaly_map, ("absolute", "zscore", "zscore_intensity", "ssim"))
        _require_choice("residual_of", self.residual_of, ("input", "autoencoded", "unguided"))
        _require_choice("threshold", self.threshold, ("otsu", "calibrated"))
        _require_choice("detector", self.detector, DETECTORS)
        _require_choice("reduction", self.reduction, ("none", "mil"))
        reducible = self.reduction == "none" or self.threshold == "calibrated"
        _require(reducible, "reduction", self.reduction, "`mil` needs threshold `calibrated`")
        _require_choice("precision", self.precision, ("fp32", "bf16"))
        forms = GUIDANCE_OF[self.sampler]
        _require(
            self.guidance in forms, "guidance", self.guidance, f"sampler {self.sampler} can do {' and '.join(forms)}"
        )
        _require(
            not self.follow_lesions or self.threshold == "calibrated",
            "follow_lesions",
            self.follow_lesions,
            "a candidate of one patch needs threshold `calibrated`",
        )
        _require(
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


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganDomain:
    """What planning saw of an organ in the training scans; prediction says what lies beside it."""

    num_organs: int
    """Training organs that were measured."""
    median_hu: tuple[float, float, float]
    """Lowest, middle and highest of their medians, in HU."""
    around_low_hu: float
    """In the 20 mm around each of them, 0.5 % of the values lie below this."""
    volume_ml: tuple[float, float]
    """Smallest and largest volume."""
    extent_mm: tuple[float, float, float]
    """Largest size (z, y, x) of their boxes."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(self.num_organs >= 1, "domain.num_organs", self.num_organs, "must be at least 1")
        in_order = -32768 <= self.median_hu[0] <= self.median_hu[1] <= self.median_hu[2] <= 32767
        _require(in_order, "domain.median_hu", self.median_hu, "must be HU in ascending order")
        _require(abs(self.around_low_hu) <= 32768, "domain.around_low_hu", self.around_low_hu, "must be HU")
        low, high = self.volume_ml
        _require(0 < low <= high < 1e6, "domain.volume_ml", self.volume_ml, "must be millilitres in ascending order")
        _require(all(0 < s < 1e4 for s in self.extent_mm), "domain.extent_mm", self.extent_mm, "must be millimetres")


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
        _require_limits(self)
        _require_choice("preset", self.preset, tuple(PLANS_NAMES))
        name, rule = self.dataset_name, "must be a name of at most 128 characters without .. / \\ : < >"
        safe = name.isprintable() and ".." not in name and not set(name) & set("/\\:<>") and 0 < len(name) <= 128
        _require(safe, "dataset_name", name, rule)
        named = bool(PLANS_NAME_PATTERN.fullmatch(self.plans_name)) and ".." not in self.plans_name
        rule = "must be made of letters, digits, '.', '_' and '-', and no '..'"
        _require(named, "plans_name", self.plans_name, rule)
        _require_names("organs", self.organs)
        _check_codec(self)
        samplers = {"edm": ("heun", "one_step"), "ddpm": ("ddim", "ddpm")}[self.ddpm.process]
        _require(
            self.inference.sampler in samplers,
            "sampler",
            self.inference.sampler,
            f"{self.ddpm.process} needs {samplers}",
        )
        trained_for = self.ddpm.max_sigma if self.ddpm.process == "edm" else float("inf")
        highest = max(self.inference.sigmas)
        _require(
            highest <= trained_for,
            "inference.sigma" if highest == self.inference.sigma else "inference.extra_sigmas",
            highest,
            f"the diffusion model is trained for noise levels up to ddpm.max_sigma = {trained_for:g} only",
        )
        _require(
            self.inference.inpaint_rounds == 0 or self.ddpm.process == "edm",
            "inference.inpaint_rounds",
            self.inference.inpaint_rounds,
            f"must be 0 where ddpm.process is {self.ddpm.process}: only edm inpaints",
        )
        dropout, guidance = self.ddpm.class_dropout, self.inference.guidance
        _require(
            (guidance == "free") == (dropout > 0),
            "guidance",
            guidance,
            f"ddpm.class_dropout is {dropout:g}: `free` and a class_dropout above 0 (usually 0.15) need each other",
        )
        latent = self.vqgan.latent_shape(self.preprocessing.patch_size)
        levels = self.ddpm.downsampling
        halved = latent[1:] if self.ddpm.architecture == "factorised" else latent  # which keeps the depth
        divisible = all(size % levels == 0 for size in halved)
        _require(divisible, "latent shape", latent, f"must be divisible by {levels}")
        attended = max(self.ddpm.attention_levels, default=0)
        levels_rule = f"there are only the levels 0 to {len(self.ddpm.widths) - 1}"
        _require(attended < len(self.ddpm.widths), "attention_levels", self.ddpm.attention_levels, levels_rule)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Voxels of a latent."""
        return self.vqgan.latent_shape(self.preprocessing.patch_size)

    @property
    def data_identifier(self) -> str:
        """Name of the folder of preprocessed patches."""
        return f"{self.plans_name}_3d"

    def training_of(self, stage: str) -> TrainingPlan:
        """Optimisation settings of a stage that the training loop fits."""
        _require_choice("stage", stage, NETWORKS)
        training: TrainingPlan = getattr(self, stage).training
        return training

    def with_training(self, stage: str, **changes: Any) -> "Plans":
        """A copy with other optimisation settings for one stage."""
        configuration = getattr(self, stage)
        return replace(self, **{stage: replace(configuration, training=replace(configuration.training, **changes))})

    @property
    def identity(self) -> str:
        """SHA-256 of what a trained model depends on: preprocessing and networks, not training length or gate."""
        return self.identity_of(*STAGES)

    def identity_of(self, *stages: str) -> str:
        """The same for some stages: a stage depends on the patches, on itself and on the autoencoder before it."""
        document = to_document(self)
        relevant = {key: document[key] for key in ("preset", "organs", "preprocessing")}
        before = {"vqgan", "ddpm"} if HEAD in stages else {"vqgan"}
        for stage in sorted({*before, *stages}):
            unused = {*NO_PART_OF_A_NETWORK, *_unchanged_later_fields(stage, document[stage])}
            relevant[stage] = {key: value for key, value in document[stage].items() if key not in unused}
        if HEAD in stages:
            unused = _unchanged_later_fields("inference", document["inference"])
            relevant["inference"] = {n: document["inference"][n] for n in FELT_BY_NETWORKS if n not in unused}
            if self.inference.anomaly_map == "ssim":  # the head sees another residual than that in HU
                relevant["inference"]["anomaly_map"] = "ssim"
        if "classifier" in stages:
            relevant["classifier"] |= _other_classifier_input(document["ddpm"])
        return document_hash(relevant)


def training_command(dataset: str, stage: str, fold: int | str, *, plans_name: str) -> str:
    """What trains a stage of a fold, as a user types it; it keeps whatever is finished, and continues the rest."""
    which = () if plans_name == PLANS_NAMES["default"] else ("-p", plans_name)
    return command_line("nnanomaly_train", dataset, stage, fold, *which)


def _other_classifier_input(ddpm: dict[str, Any]) -> dict[str, Any]:
    """The fields of the diffusion model that decide what the classifier sees, where they are not those of `default`."""
    usual = {"process": "edm", "latent_scaling": "standardise", "schedule": "cosine", "noise": "gaussian"}
    return {f"ddpm.{name}": ddpm[name] for name, value in usual.items() if ddpm[name] != value}


def _unchanged_later_fields(stage: str, fields: dict[str, Any]) -> set[str]:
    """Names of `LATER_FIELDS` that hold their old meaning, so that models trained before them still fit."""
    return {name for name, value in LATER_FIELDS.get(stage, {}).items() if fields[name] == value}


def _check_codec(plans: Plans) -> None:
    """Refuse, in one line, everything that does not fit the codec."""
    codec, wanted, found = plans.vqgan.codec, dict[str, object](), dict[str, object]()
    if codec in FIXED_CODECS:
        stride, channels = FIXED_CODECS[codec]
        wanted = {"vqgan.stride": (stride,) * 3, "vqgan.latent_channels": channels}
        found = {"vqgan.stride": plans.vqgan.stride, "vqgan.latent_channels": plans.vqgan.latent_channels}
    if codec != "vq":  # the others have no codes to snap to, and none that span a range
        wanted |= {"inference.quantise": False, "ddpm.latent_scaling": "standardise"}
        found |= {"inference.quantise": plans.inference.quantise, "ddpm.latent_scaling": plans.ddpm.latent_scaling}
    wrong = [name for name, value in wanted.items() if found[name] != value]
    rule = "; ".join(f"{name} must be {wanted[name]!r}, not {found[name]!r}" for name in wrong)
    _require(not wrong, "vqgan.codec", codec, rule)


def save_plans(path: Path, plans: Plans) -> None:
    """Write a plans file that nnU-Net's evaluation can open as well."""
    document = to_document(plans)
    configurations = {stage: document.pop(stage) for stage in NETWORKS}
    for stage in (name for name in NETWORKS if SPECS[name].built_on):
        configurations[stage] = {"previous_stage": SPECS[stage].built_on[-1], **configurations[stage]}
    head = {
        "schema_version": SCHEMA_VERSION,
        "image_reader_writer": "SimpleITKIO",
        "latent_shape": list(plans.latent_shape),
    }
    write_json(path, {**head, **document, "configurations": configurations})


def load_plans(path: Path) -> Plans:
    """Read a plans file; another schema version, unknown keys and values out of range raise with the place."""
    if not path.is_file():
        raise ConfigurationError("CFG-PLANS", f"{path} does not exist. Run nnanomaly_plan_and_preprocess first.")
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("configurations", {}), dict):
        raise ConfigurationError(
            "CFG-KEYS", f"{path}: expected an object with the object `configurations`. Plan again."
        )
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise IntegrityError(
            "PLAN-VERSION",
            f"{path} has schema_version {shown(version)}, not {SCHEMA_VERSION}. Plan again.",
        )
    for derived in ("image_reader_writer", "latent_shape"):
        document.pop(derived, None)
    configurations = document.pop("configurations", {})
    for stage in NETWORKS:
        if stage in STAGES or stage in configurations:  # plans that are older than an optional stage have none
            document[stage] = _resolve_inheritance(configurations, stage, str(path))
    try:
        return from_document(Plans, document, source=str(path))
    except ConfigurationError as error:
        if error.code != "CFG-PLAN":
            raise
        raise ConfigurationError(error.code, f"{path}: {error.message}. Correct the file, or plan again.") from error


def _resolve_inheritance(
    configurations: dict[str, Any], name: str, source: str, seen: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Fields of a configuration over those of the one it inherits from, nested objects merged."""
    if not isinstance(name, str) or name not in configurations or name in seen or len(seen) >= MAX_PARENTS:
        raise ConfigurationError(
            "CFG-PLAN", f"{source}: configuration {shown(name)} is missing or inherits from itself"
        )
    if not isinstance(configurations[name], dict):
        raise ConfigurationError("CFG-KEYS", f"{source}: configuration {shown(name)} must be an object. Correct it.")
    fields = {key: value for key, value in configurations[name].items() if key != "previous_stage"}
    parent = fields.pop("inherits_from", None)
    if parent is None:
        return fields
    return _merge(_resolve_inheritance(configurations, parent, source, (*seen, name)), fields)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged
