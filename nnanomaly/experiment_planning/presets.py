"""The two presets: every setting that does not depend on the dataset, with its reason. To retune a preset, edit here.

`PAPER` is the published method with its quirks and is taken over as it stands; only the length of the classifier's
training follows the data. Of `DEFAULT` the planner replaces whatever depends on the fingerprint and on the memory:
the numbers marked "planned" below are mere placeholders of the right form, and carry no reason of their own.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nnanomaly.plans import (
    ClassifierPlan,
    DiffusionPlan,
    GatePlan,
    InferencePlan,
    PreprocessingPlan,
    TrainingPlan,
    VQGANPlan,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Settings of every stage, before the planner fits them to a dataset."""

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
    reasons: Mapping[str, str]
    """One line for each number that the planner does not choose."""


DEFAULT = Preset(
    preprocessing=PreprocessingPlan(
        spacing_mm=(1.0, 1.0, 1.0),  # planned
        patch_size=(160, 128, 128),  # planned
        margin_mm=8.0,
        tiling=True,
    ),
    vqgan=VQGANPlan(
        architecture="resize",
        stride=(4, 4, 4),  # planned
        latent_channels=8,  # planned
        num_codes=16384,  # planned
        widths=(16, 32, 64),  # planned
        perceptual="wavelet",
        discriminator_start=10_000,
        discriminator_learning_rate=1e-4,
        gate=GatePlan(min_contrast_retention=(0.0, 0.5, 0.7)),
        training=TrainingPlan(
            num_iterations=100_000,
            batch_size=4,  # at most; planned
            learning_rate=2e-4,
            betas=(0.5, 0.9),
            warmup_iterations=1000,
            decay="cosine",
            gradient_clip=1.0,
            ema_decay=0.999,
            precision="bf16",
        ),
    ),
    classifier=ClassifierPlan(
        widths=(32, 64, 128),
        blocks_per_level=2,
        pool="average",
        label_smoothing=0.1,
        max_sigma=3.0,
        training=TrainingPlan(
            num_iterations=1000,  # planned
            batch_size=32,  # at most; planned
            learning_rate=1e-4,
            weight_decay=1e-2,
            validate_every=10,  # planned
            patience=15,
            precision="bf16",
        ),
    ),
    ddpm=DiffusionPlan(
        architecture="unet3d",
        widths=(64, 128, 256),  # planned
        process="edm",
        latent_scaling="standardise",
        log_sigma_mean=0.5,
        log_sigma_std=1.0,
        max_sigma=6.0,  # planned
        training=TrainingPlan(
            num_iterations=250_000,
            batch_size=40,  # at most; planned
            learning_rate=2e-4,
            weight_decay=1e-2,
            warmup_iterations=5000,
            decay="cosine",
            gradient_clip=1.0,
            ema_decay=0.9999,
            precision="bf16",
        ),
    ),
    inference=InferencePlan(
        sampler="heun",
        encode="noise",
        sigma=2.0,
        num_steps=6,
        guidance="relative",
        guidance_scale=0.02,
        min_classifier_auc=0.6,
        num_samples=4,
        quantise=True,
        anomaly_map="zscore",
        smoothing_mm=3.0,
        organ_gate_mm=8.0,
        threshold="calibrated",
        false_candidates_per_organ=1.0,
        morphology=True,
        hysteresis=0.5,
        precision="bf16",
    ),
    reasons={
        "preprocessing.margin_mm": "tissue around the organ that shows exophytic lesions and forgives coarse masks",
        "preprocessing.tile_overlap": "every voxel of a large organ lies well inside at least one patch",
        "preprocessing.window_hu": "soft tissue from fat to contrast-enhanced parenchyma",
        "preprocessing.interpolation_order": "cubic: sharp without the cost of longer kernels",
        "vqgan.codebook_decay": "usual for codebooks learned by moving averages; as published",
        "vqgan.commitment_weight": "usual for vector quantisation; as published",
        "vqgan.reconstruction_weight": "as published",
        "vqgan.restart_every": "a restarted code gets time to be used before it is judged again",
        "vqgan.perceptual_weight": "wavelet bands have the units of the image, and penalise blur beside the mean error",
        "vqgan.discriminator_start": "as published: the autoencoder settles before the adversarial term acts",
        "vqgan.discriminator_learning_rate": "half of the autoencoder's, so that the discriminators do not run ahead",
        "vqgan.adversarial_weight": "as published",
        "vqgan.feature_matching_weight": "as published",
        "vqgan.gate.min_contrast_retention": "above what a blur by tokens of 5 mm keeps (0.40 and 0.61), well below a "
        "trained autoencoder (0.89 and 0.93); of 5 mm, about one token, nothing is demanded",
        "vqgan.training.num_iterations": "as published",
        "vqgan.training.learning_rate": "AdamW with warm-up and decay bears more than the published constant 3.75e-5",
        "vqgan.training.betas": "short memory of gradients, usual where an adversary moves",
        "vqgan.training.warmup_iterations": "one per cent of the training",
        "vqgan.training.gradient_clip": "as published",
        "vqgan.training.ema_decay": "averages over about 1000 steps, the scale of the codebook's own drift",
        "classifier.widths": "2 to 4 million parameters, which a few hundred labelled organs can still fit",
        "classifier.blocks_per_level": "see classifier.widths",
        "classifier.label_smoothing": "labels from reports are noisy",
        "classifier.max_sigma": "half as much again as the noise level of the reconstruction",
        "classifier.training.learning_rate": "usual for noise-conditioned classifiers",
        "classifier.training.weight_decay": "usual for AdamW",
        "classifier.training.patience": "15 epochs without a better validation AUC",
        "ddpm.blocks_per_level": "usual for latent diffusion",
        "ddpm.log_sigma_mean": "centred below the level of the reconstruction, where most of its steps lie",
        "ddpm.log_sigma_std": "covers sigma 0.2 to 12 within two deviations",
        "ddpm.encodings_per_patch": "augmentation must happen before encoding: a flipped latent is no encoded flip",
        "ddpm.training.num_iterations": "as published",
        "ddpm.training.learning_rate": "AdamW with warm-up and decay bears twice the published constant 1e-4",
        "ddpm.training.weight_decay": "usual for AdamW",
        "ddpm.training.warmup_iterations": "two per cent of the training",
        "ddpm.training.gradient_clip": "usual for diffusion models",
        "ddpm.training.ema_decay": "averages over about 10 000 steps; ten times the published horizon",
        "inference.sigma": "twice the published 1.02, which gives back large lesions; from 3 on the organ is lost",
        "inference.num_steps": "six Heun intervals: the mean over samples needs no exact solver",
        "inference.guidance_scale": "a share of the length of the noise; 0.1 cost lesions where it was measured",
        "inference.min_classifier_auc": "below it the gradient carries no usable signal",
        "inference.num_samples": "the mean over samples is close to what is typical of a healthy organ, one is not",
        "inference.smoothing_mm": "noise and edges of single voxels are not an anomaly",
        "inference.organ_gate_mm": "equal to the margin: lesions bulge out of the mask of the organ",
        "inference.hysteresis": "a large lesion exceeds the threshold in its middle only; it grows to half of it",
        "inference.false_candidates_per_organ": "false candidates a reader accepts on a healthy organ",
        "inference.min_voxels": "as published",
        "inference.min_diameter_mm": "as published",
    },
)

_PUBLISHED = "as published"
_REFERENCE = "not published; the setting of the reference code"
PAPER = Preset(
    preprocessing=PreprocessingPlan(spacing_mm=(1.0, 1.0, 1.0), patch_size=(128, 96, 96), margin_mm=0.0, tiling=False),
    vqgan=VQGANPlan(
        architecture="transposed",
        stride=(4, 4, 4),
        latent_channels=8,
        num_codes=16384,
        widths=(16, 32, 64),
        restart_every=1,
        perceptual="none",
        perceptual_weight=4.0,
        discriminator_start=10_000,
        discriminator_learning_rate=3.75e-5,
        discriminator_norm="batch",
        training=TrainingPlan(
            num_iterations=100_000,
            batch_size=4,
            learning_rate=3.75e-5,
            betas=(0.5, 0.9),
            gradient_clip=1.0,
        ),
    ),
    classifier=ClassifierPlan(
        widths=(32, 64, 128),
        blocks_per_level=2,
        pool="average",
        label_smoothing=0.0,
        training=TrainingPlan(
            num_iterations=1000,  # planned
            batch_size=32,
            learning_rate=1e-4,
            validate_every=10,  # planned
            patience=15,
        ),
    ),
    ddpm=DiffusionPlan(
        architecture="factorised",
        widths=(24, 48, 96, 192),
        process="ddpm",
        latent_scaling="codebook_range",
        encodings_per_patch=1,
        training=TrainingPlan(
            num_iterations=250_000, batch_size=40, accumulation=2, learning_rate=1e-4, ema_decay=0.995
        ),
    ),
    inference=InferencePlan(
        sampler="ddim",
        encode="invert",
        sigma=1.016,
        num_steps=500,
        guidance="gradient",
        guidance_scale=1800.0,
        min_classifier_auc=0.0,
        num_samples=1,
        quantise=True,
        anomaly_map="absolute",
        smoothing_mm=0.0,
        organ_gate_mm=-1.0,
        threshold="otsu",
        false_candidates_per_organ=0.5,
        morphology=True,
    ),
    reasons={
        "preprocessing.spacing_mm": _PUBLISHED,
        "preprocessing.patch_size": "as published: 96 x 96 x 128 mm, the long side along the body",
        "preprocessing.margin_mm": "as published: a box of fixed size, whatever the organ",
        "preprocessing.tile_overlap": "not used: one box per organ, as published",
        "preprocessing.window_hu": "not published; soft tissue from fat to contrast-enhanced parenchyma",
        "preprocessing.interpolation_order": "not published; cubic",
        "vqgan.stride": "not published; 4 agrees with the published training times, 2 and 8 do not",
        "vqgan.latent_channels": _REFERENCE,
        "vqgan.num_codes": _REFERENCE,
        "vqgan.widths": _REFERENCE,
        "vqgan.codebook_decay": _REFERENCE,
        "vqgan.commitment_weight": _REFERENCE,
        "vqgan.reconstruction_weight": _REFERENCE,
        "vqgan.restart_every": "the reference code redraws unused codes every step",
        "vqgan.perceptual": "the published LPIPS term needs local weights: with them, set `lpips`",
        "vqgan.perceptual_weight": "the weight of LPIPS in the reference code; unused without it",
        "vqgan.discriminator_start": _REFERENCE,
        "vqgan.discriminator_learning_rate": "the reference code gives both optimisers the same rate",
        "vqgan.adversarial_weight": _REFERENCE,
        "vqgan.feature_matching_weight": _REFERENCE,
        "vqgan.gate.min_contrast_retention": "no limits: the published method trains on whatever autoencoder it has",
        "vqgan.training.num_iterations": _PUBLISHED,
        "vqgan.training.batch_size": _PUBLISHED,
        "vqgan.training.learning_rate": "not published; what the reference code makes of batch 4 on one GPU",
        "vqgan.training.betas": _REFERENCE,
        "vqgan.training.gradient_clip": _REFERENCE,
        "classifier.widths": "not published; a residual encoder of 2 to 4 million parameters",
        "classifier.blocks_per_level": "see classifier.widths",
        "classifier.label_smoothing": "none is published",
        "classifier.max_sigma": "half as much again as the noise level of the reconstruction",
        "classifier.training.batch_size": _PUBLISHED,
        "classifier.training.learning_rate": "not published; usual for noise-conditioned classifiers",
        "classifier.training.patience": "early stopping is published, 15 epochs are our choice",
        "ddpm.widths": "not published; the reference code ties the width to the latent: 24",
        "ddpm.blocks_per_level": _REFERENCE,
        "ddpm.num_timesteps": _PUBLISHED,
        "ddpm.encodings_per_patch": "the reference code encodes without augmentation",
        "ddpm.training.num_iterations": _PUBLISHED,
        "ddpm.training.batch_size": _PUBLISHED,
        "ddpm.training.accumulation": _REFERENCE,
        "ddpm.training.learning_rate": _REFERENCE,
        "ddpm.training.ema_decay": _REFERENCE,
        "inference.sigma": "noise level of the published L = 500 of 1000 on the cosine schedule",
        "inference.num_steps": "as published: every step from L = 500 down",
        "inference.guidance_scale": "as published for DDIM",
        "inference.min_classifier_auc": "as published: guided however weak the classifier",
        "inference.num_samples": "the inversion is deterministic",
        "inference.smoothing_mm": "none is published",
        "inference.organ_gate_mm": "none is published",
        "inference.false_candidates_per_organ": "not used: the threshold is Otsu's",
        "inference.min_voxels": _PUBLISHED,
        "inference.min_diameter_mm": _PUBLISHED,
    },
)
PRESETS = {"default": DEFAULT, "paper": PAPER}
