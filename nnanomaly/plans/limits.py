"""Limits of every number, list and name of the plans: generous, but no plans file may ask for work without end."""

import re

PLANS_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of plans, which become parts of file and folder names."""
ORGAN_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9-]*(_[A-Za-z0-9-]+)*")
"""Names of organs, likewise; at most `LONGEST_ORGAN` characters."""
LONGEST_ORGAN = 100
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
