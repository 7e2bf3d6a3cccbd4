"""What the plans may choose from, each list stated once: checks, reference page and tables of other modules follow."""

from typing import Literal, get_args

Decay = Literal["constant", "cosine"]
Precision = Literal["fp32", "bf16"]
Autoencoder = Literal["resize", "transposed"]
Perceptual = Literal["none", "wavelet", "lpips"]
DiscriminatorNorm = Literal["group", "batch"]
Codec = Literal["vq", "kl", "haar", "identity"]
Pool = Literal["average", "attention", "logsumexp"]
UNet = Literal["unet3d", "factorised"]
Process = Literal["edm", "ddpm"]
LatentScaling = Literal["standardise", "codebook_range"]
Schedule = Literal["cosine", "linear"]
Noise = Literal["gaussian", "pyramid"]
HeadInput = Literal["image", "reconstruction", "zscore", "distance"]
LesionKind = Literal["simple_cyst", "dense_cyst", "solid_dark", "solid_bright", "fat", "necrotic"]
Sampler = Literal["heun", "one_step", "ddim", "ddpm"]
Encode = Literal["invert", "noise"]
Guidance = Literal["none", "gradient", "relative", "free"]
AnomalyMap = Literal["absolute", "zscore", "zscore_intensity", "ssim"]
ResidualOf = Literal["input", "autoencoded", "unguided"]
Threshold = Literal["otsu", "calibrated"]
Detector = Literal["residual", "head", "both"]
"""The simplest first."""
Reduction = Literal["none", "mil"]

CODECS: tuple[Codec, ...] = get_args(Codec)
DETECTORS: tuple[Detector, ...] = get_args(Detector)
ANOMALY_MAPS: tuple[AnomalyMap, ...] = get_args(AnomalyMap)
HEAD_INPUTS: tuple[HeadInput, ...] = get_args(HeadInput)
KINDS_OF_LESIONS: tuple[LesionKind, ...] = get_args(LesionKind)
"""What `held_out_kinds` may name: the kinds of inserted lesions."""

SAMPLERS_OF: dict[Process, tuple[Sampler, ...]] = {"edm": ("heun", "one_step"), "ddpm": ("ddim", "ddpm")}
"""The samplers of each process."""
GUIDANCE_OF: dict[Sampler, tuple[Guidance, ...]] = {
    "heun": ("none", "relative", "free"),
    "one_step": ("none",),
    "ddim": ("none", "gradient"),
    "ddpm": ("none", "gradient"),
}
"""The forms of guidance that each sampler can do."""
FIXED_CODECS: dict[Codec, tuple[int, int]] = {"haar": (2, 8), "identity": (1, 1)}
"""Codecs that learn nothing: their stride on every axis, and the channels that it leaves of one."""
PLANS_NAMES = {"default": "nnAnomalyPlans", "paper": "nnAnomalyPaperPlans"}
"""The presets, and the name of the plans of each."""
