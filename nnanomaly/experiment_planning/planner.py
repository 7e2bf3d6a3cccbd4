"""The planner: fingerprint and memory -> plans, a pure function. Every number it chooses gets a one-line reason.

`default`: spacing and patch follow the data (planner_rules); then the networks grow until a training step at the
smallest useful batch fills the memory (memory), then the batches grow up to their usual size. The patch is never
shrunk for memory: it must hold the organs. `paper` is taken as published (presets), and only told what it needs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from nnanomaly.experiment_planning import planner_rules as rules
from nnanomaly.experiment_planning.domain import organ_domain
from nnanomaly.experiment_planning.fingerprint import Fingerprint
from nnanomaly.experiment_planning.memory import DEMANDS
from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.plans import PLANS_NAMES, Plans
from nnanomaly.preprocessing.cropping import excess_mm
from nnanomaly.stages import HEAD, STAGES
from nnanomaly.utilities.errors import ConfigurationError, DataError

VQGAN_LADDER = (8, 16, 32)
UNET_LADDER = (16, 32, 48, 64)
"""Width of the finest level, rung by rung; every halving doubles it."""
SMALLEST_BATCH = {"vqgan": 2, "ddpm": 8, HEAD: 2}
HEAD_CHANNELS = 32
HEAD_LADDER = (16, 24, 32)
TRAINING_SIGMA_FACTOR = 3.0


def plan(
    fingerprint: Fingerprint, *, gpu_memory_target_gb: float, preset: str, dataset_name: str, organs: Sequence[str]
) -> Plans:
    """Plans of a preset for a dataset; the same arguments give the same plans.

    A fingerprint without healthy organ raises `DataError`; an unknown preset or impossible memory `ConfigurationError`.
    """
    _check(fingerprint, gpu_memory_target_gb, preset)
    base = PRESETS[preset]
    plans = Plans(
        dataset_name=dataset_name,
        plans_name=PLANS_NAMES[preset],
        preset=preset,
        gpu_memory_target_gb=gpu_memory_target_gb,
        organs=tuple(organs),
        preprocessing=base.preprocessing,
        vqgan=base.vqgan,
        classifier=base.classifier,
        ddpm=base.ddpm,
        inference=base.inference,
        head=base.head,
        reasons=dict(base.reasons),
    )
    for step in STEPS[preset]:
        plans = step(plans, fingerprint)
    return replace(plans, domain=organ_domain(fingerprint.organs))


def _check(fingerprint: Fingerprint, gpu_memory_target_gb: float, preset: str) -> None:
    if preset not in PRESETS:
        raise ConfigurationError("CFG-PRESET", f"preset is {preset!r}, but must be one of {', '.join(PRESETS)}")
    if not 0 < gpu_memory_target_gb < math.inf:
        raise ConfigurationError(
            "CFG-MEMORY", f"-gpu_memory_target is {gpu_memory_target_gb}, but must be a positive number of GB"
        )
    if not fingerprint.label_counts.get("healthy"):
        raise DataError(
            "LABELS-HEALTHY",
            f"no organ is both labelled healthy and present in its mask (organs: {fingerprint.label_counts})",
        )


def _fit_patch(plans: Plans, fingerprint: Fingerprint) -> Plans:
    """Spacing, patch, and the strides of both networks, which the patch must be divisible by."""
    spacing = rules.isotropic_spacing_mm(fingerprint.spacings)
    stride = rules.vq_stride(spacing)
    kind, organs = rules.organs_to_fit(fingerprint.organs)
    margin, extents = plans.preprocessing.margin_mm, np.array([organ.extent_mm for organ in organs])
    patch, levels = rules.patch_and_levels(extents, spacing_mm=spacing, margin_mm=margin)
    share = float(np.all(excess_mm(extents, margin, np.multiply(patch, spacing)) == 0, axis=1).mean())
    reasons = {
        "preprocessing.spacing_mm": "isotropic: the median in-plane spacing of the scans to 0.1 mm, "
        f"but no finer than {rules.FINEST_SPACING_MM:g} mm",
        "preprocessing.patch_size": f"smallest box, in multiples of {rules.patch_multiple(stride, levels)} voxels, "
        f"that holds {rules.SHARE_OF_ORGANS:.0%} of {len(organs)} {kind} with {margin:g} mm around them: {share:.1%}",
        "vqgan.stride": f"largest power of two whose tokens ({stride * spacing:g} mm) measure at most "
        f"{rules.LARGEST_TOKEN_MM:g} mm, so that small lesions span more than one",
        "vqgan.latent_channels": f"a code stands for {stride**3} voxels",
    }
    mirrored = rules.mirrored_organs(plans.organs)
    reasons["preprocessing.mirrored_organs"] = (
        "turned so that both sides of a pair look alike: half the anatomy to learn"
    )
    return _planned(
        plans,
        reasons,
        preprocessing=replace(
            plans.preprocessing, spacing_mm=(spacing,) * 3, patch_size=patch, mirrored_organs=mirrored
        ),
        vqgan=replace(
            plans.vqgan,
            stride=(stride,) * 3,
            widths=_doubling(VQGAN_LADDER[0], stride.bit_length()),
            latent_channels=rules.latent_channels(stride),
        ),
        ddpm=replace(plans.ddpm, widths=_doubling(UNET_LADDER[0], levels)),
    )


def _fit_autoencoder(plans: Plans, _: Fingerprint) -> Plans:
    """Widths and batch by memory, then the codebook by the tokens of a batch."""
    ladder = [_doubling(first, len(plans.vqgan.widths)) for first in VQGAN_LADDER]
    plans = _fill(_widen(plans, "vqgan", ladder), "vqgan")
    tokens = plans.vqgan.training.batch_size * math.prod(plans.latent_shape)
    fewest, most = rules.NUM_CODES
    reason = f"about one code for {rules.TOKENS_PER_CODE} of the {tokens} tokens of a batch, within {fewest} to {most}"
    return _planned(plans, {"vqgan.num_codes": reason}, vqgan=replace(plans.vqgan, num_codes=rules.num_codes(tokens)))


def _fit_unet(plans: Plans, _: Fingerprint) -> Plans:
    """Attention and noise range, then widths and batch by memory."""
    levels = len(plans.ddpm.widths)
    reasons = {
        "ddpm.attention_levels": f"at the coarsest level alone, if it has at most {rules.MOST_ATTENTION_TOKENS} tokens",
        "ddpm.head_channels": "usual, but no more than the narrowest U-Net has at its coarsest level",
        "ddpm.max_sigma": f"{TRAINING_SIGMA_FACTOR:g} times the noise level of the reconstruction: more is never met",
    }
    ddpm = replace(
        plans.ddpm,
        attention_levels=rules.attention_levels(plans.latent_shape, levels),
        head_channels=min(HEAD_CHANNELS, plans.ddpm.widths[-1]),
        max_sigma=TRAINING_SIGMA_FACTOR * plans.inference.sigma,
    )
    ladder = [_doubling(first, levels) for first in UNET_LADDER]
    return _fill(_widen(_planned(plans, reasons, ddpm=ddpm), "ddpm", ladder), "ddpm")


def _fit_head(plans: Plans, _: Fingerprint) -> Plans:
    """Levels by the patch, then widths and batch by memory."""
    levels = rules.head_levels(plans.preprocessing.patch_size)
    plans = _widen(plans, HEAD, [_doubling(first, levels) for first in HEAD_LADDER])
    why = f"{levels} levels leave at least {rules.SMALLEST_FEATURE_MAP} voxels on every axis of the coarsest"
    return _fill(_planned(plans, {"head.widths": f"{why}; {plans.reasons['head.widths']}"}), HEAD)


def _fit_classifier(plans: Plans, fingerprint: Fingerprint) -> Plans:
    """Batch by memory, then the length of the training by the labels."""
    return _fit_classifier_length(_fill(plans, "classifier"), fingerprint)


def _fit_classifier_length(plans: Plans, fingerprint: Fingerprint) -> Plans:
    """100 epochs, validated once in each; without unhealthy organs there is nothing to learn, and no guidance."""
    healthy, unhealthy = (fingerprint.label_counts.get(label, 0) for label in ("healthy", "unhealthy"))
    iterations = rules.classifier_iterations(healthy, unhealthy, batch_size=plans.classifier.training.batch_size)
    length = (
        f"{rules.CLASSIFIER_EPOCHS} epochs of twice the smaller class ({healthy} healthy, {unhealthy} unhealthy organs)"
    )
    reasons = {
        "classifier.training.num_iterations": f"{length}, but at least {rules.FEWEST_CLASSIFIER_ITERATIONS}",
        "classifier.training.validate_every": "a hundredth of the training, about one epoch",
    }
    training = {"num_iterations": iterations, "validate_every": iterations // rules.CLASSIFIER_EPOCHS}
    plans = _planned(plans.with_training("classifier", **training), reasons)
    if unhealthy:
        return plans
    reasons = {"inference.guidance": "none: no organ is labelled unhealthy, so that no classifier can be trained"}
    unguided = replace(plans.inference, guidance="none")
    return _planned(plans, reasons, inference=unguided, ddpm=replace(plans.ddpm, class_dropout=0.0))


def _tell_memory(plans: Plans, _: Fingerprint) -> Plans:
    """What the published batches need."""
    target = plans.gpu_memory_target_gb
    for stage in STAGES:
        training = plans.training_of(stage)
        need = DEMANDS[stage](plans).gb(training.batch_size)
        advice = f", more than the target of {target:g} GB: choose a smaller -batch_size" if need > target else ""
        key = f"{stage}.training.batch_size"
        plans = _planned(plans, {key: f"{plans.reasons[key]}; a step takes about {need:.1f} GB{advice}"})
    return plans


STEPS: dict[str, tuple[Callable[[Plans, Fingerprint], Plans], ...]] = {
    "default": (_fit_patch, _fit_autoencoder, _fit_unet, _fit_classifier, _fit_head),
    "paper": (_fit_classifier_length, _tell_memory),
}
"""What the planner does in each preset, in this order."""


def _widen(plans: Plans, stage: str, ladder: Sequence[tuple[int, ...]]) -> Plans:
    """The widest rung whose training step fits the memory at the smallest useful batch, else the narrowest."""
    target, batch = plans.gpu_memory_target_gb, SMALLEST_BATCH[stage]
    for widths in sorted(ladder, reverse=True):
        rung = replace(plans, **{stage: replace(getattr(plans, stage), widths=widths)})
        need = DEMANDS[stage](rung).gb(batch)
        if need <= target:
            break
    rank = f"widest of {len(ladder)} that fits" if need <= target else f"narrowest of {len(ladder)}, none fits"
    reason = f"{rank} {target:g} GB at a batch of {batch} (about {need:.1f} GB)"
    return _planned(rung, {f"{stage}.widths": reason})


def _fill(plans: Plans, stage: str) -> Plans:
    """The largest batch, up to the one of the preset, whose training step fits the memory; at least 1."""
    target, training = plans.gpu_memory_target_gb, plans.training_of(stage)
    demand = DEMANDS[stage](plans)
    fitting = demand.largest_batch(target)
    batch = min(max(fitting, 1), training.batch_size)
    need = f"a step takes about {demand.gb(batch):.1f} GB"
    excess = "" if fitting else f", MORE than the target of {target:g} GB: plan with more memory, or on a CPU"
    reason = f"as many as fit {target:g} GB, up to {training.batch_size}; {need}{excess}"
    return _planned(plans.with_training(stage, batch_size=batch), {f"{stage}.training.batch_size": reason})


def _doubling(first: int, levels: int) -> tuple[int, ...]:
    return tuple(first * 2**level for level in range(levels))


def _planned(plans: Plans, reasons: dict[str, str], **changes: Any) -> Plans:
    return replace(plans, reasons={**plans.reasons, **reasons}, **changes)
