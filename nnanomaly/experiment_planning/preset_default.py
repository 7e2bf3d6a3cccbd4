"""The default preset: every setting that does not depend on the dataset, with its reason. To retune it, edit here.

The planner replaces whatever depends on the fingerprint and on the memory: the numbers marked "planned" below are mere
placeholders of the right form, and carry no reason of their own.
"""

from nnanomaly.experiment_planning.preset import Preset
from nnanomaly.experiment_planning.preset_head import HEAD_PLAN, HEAD_REASONS
from nnanomaly.plans import (
    ClassifierPlan,
    DiffusionPlan,
    GatePlan,
    InferencePlan,
    PreprocessingPlan,
    TrainingPlan,
    VQGANPlan,
)

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
    head=HEAD_PLAN,
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
        "ddpm.log_sigma_std": "covers sigma 0.2 to 12 within two deviations, cut off at max_sigma",
        "ddpm.encodings_per_patch": "augmentation must happen before encoding: a flipped latent is no encoded flip",
        "ddpm.training.num_iterations": "as published",
        "ddpm.training.learning_rate": "AdamW with warm-up and decay bears twice the published constant 1e-4",
        "ddpm.training.weight_decay": "usual for AdamW",
        "ddpm.training.warmup_iterations": "two per cent of the training",
        "ddpm.training.gradient_clip": "usual for diffusion models",
        "ddpm.training.ema_decay": "averages over about 10 000 steps; ten times the published horizon",
        **HEAD_REASONS,
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
