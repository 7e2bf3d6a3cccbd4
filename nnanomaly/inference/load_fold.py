"""Loading a trained fold: autoencoder, U-Net, classifier, and whether the classifier is good enough to guide."""

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nnanomaly.checkpoint import FINAL, checkpoint_field, checkpoint_hash, load_checkpoint
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.inference.detectors import WITHOUT_WEIGHTS, Detector, ensemble_detector, head_detector
from nnanomaly.inference.fold import Fold, Sampled
from nnanomaly.inference.inpainting import build_inpainter
from nnanomaly.inference.reconstruct import LatentModels, build_reconstructor
from nnanomaly.inference.reducer_file import load_reducer
from nnanomaly.paths import REDUCER_JSON, Paths
from nnanomaly.plans import InferencePlan, Plans, training_command
from nnanomaly.stages import AUTOENCODER, CALIBRATED, HEAD, REDUCTION, SPECS, networks_of
from nnanomaly.trained_model import load_classifier, load_codec, load_head, load_unet, require_checkpoint
from nnanomaly.utilities.errors import IntegrityError

_AREA = re.compile(r"auc_sigma_([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)")
"""Numbers of a classifier's validation, by noise level."""


def load_trained_fold(
    paths: Paths, plans: Plans, fold: int | str, device: torch.device, *, checkpoint: str = FINAL, seed: int = 0
) -> Fold:
    """Load the stages of a fold that its guidance needs; a missing stage, other plans or another autoencoder raise.

    `checkpoint` is that of the ddpm. The other stages are always final: latents belong to the final autoencoder.
    """
    folders = _folders(paths, plans, fold)
    needed = _needed(paths, plans, fold, checkpoint)
    checkpoints = {stage: checkpoint_hash(path) for stage, path in needed.items()}
    for stage in sorted(needed):
        if SPECS[stage].built_on == (AUTOENCODER,):
            _refuse_other_vqgan(needed[stage], checkpoints[AUTOENCODER])
    guidance, reason = _may_guide(needed, plans.inference)
    classify = guidance and plans.inference.needs_classifier
    models = LatentModels(
        unet=load_unet(folders["ddpm"], plans, device, checkpoint=checkpoint),
        classifier=load_classifier(folders["classifier"], plans, device) if classify else None,
        diffusion=plans.ddpm,
        inference=plans.inference if guidance else replace(plans.inference, guidance="none"),
    )
    codec = load_codec(folders["vqgan"], plans, device)
    detect, reducer = _detector(folders, checkpoints, plans, device), None
    if plans.inference.reduction != "none":
        path = paths.fold(plans.dataset_name, plans.plans_name, REDUCTION, fold) / REDUCER_JSON
        reducer = load_reducer(path, plans, checkpoints, fold=fold)
        checkpoints = {**checkpoints, REDUCTION: checkpoint_hash(path)}
    sampled = partial(_sampled, codec, models, seed=seed, device=device)
    reconstruct, inpaint = sampled(plans.inference.num_samples)
    return Fold(
        reconstruct=reconstruct,
        detect=detect,
        inpaint=inpaint,
        sampled=sampled,
        guidance=guidance,
        guidance_reason=reason,
        checkpoints=checkpoints,
        reducer=reducer,
    )


def checkpoints_of_fold(paths: Paths, plans: Plans, fold: int | str, *, checkpoint: str = FINAL) -> dict[str, str]:
    """SHA-256 of the checkpoint of every stage (and of the reducer) that the plans need; CKPT-MISSING without one."""
    checkpoints = {stage: checkpoint_hash(path) for stage, path in _needed(paths, plans, fold, checkpoint).items()}
    if plans.inference.reduction != "none":
        path = paths.fold(plans.dataset_name, plans.plans_name, REDUCTION, fold) / REDUCER_JSON
        checkpoints[REDUCTION] = checkpoint_hash(path)
    return checkpoints


def _folders(paths: Paths, plans: Plans, fold: int | str) -> dict[str, Path]:
    stages = networks_of(plans.inference)
    return {stage: paths.fold(plans.dataset_name, plans.plans_name, stage, fold) for stage in stages}


def _needed(paths: Paths, plans: Plans, fold: int | str, checkpoint: str) -> dict[str, Path]:
    """The checkpoints that the plans need, all of them there; ConfigurationError (CKPT-MISSING) else."""
    folders = _folders(paths, plans, fold)
    needed = {stage: folder / (checkpoint if stage == CALIBRATED else FINAL) for stage, folder in folders.items()}
    for stage, path in needed.items():
        require_checkpoint(path, plans, stage, fold)
    return needed


def _sampled(codec: Codec, models: LatentModels, num_samples: int, *, seed: int, device: torch.device) -> Sampled:
    """What averages `num_samples` samples; no more at once than the plan was made for, since memory bounds them."""
    planned = models.inference.num_samples
    models = replace(models, inference=replace(models.inference, num_samples=num_samples))
    return Sampled(
        build_reconstructor(codec, models, seed=seed, device=device, most_at_once=planned),
        build_inpainter(codec, models, seed=seed, device=device, most_at_once=planned)
        if models.inference.inpaint_rounds
        else None,
    )


def _detector(folders: dict[str, Path], checkpoints: dict[str, str], plans: Plans, device: torch.device) -> Detector:
    """One without weights, or a head that was trained on the reconstructions of these very checkpoints."""
    if not plans.inference.needs_head:
        return WITHOUT_WEIGHTS[plans.inference.detector](plans.inference)
    path = folders[HEAD] / FINAL
    trained_on = checkpoint_field(load_checkpoint(path), "checkpoints", dict[str, str], path=path)
    present = {stage: checkpoints[stage] for stage in trained_on if stage in checkpoints}
    if present != trained_on:
        fold = folders[HEAD].name.removeprefix("fold_")
        command = training_command(plans.dataset_name, HEAD, fold, plans_name=plans.plans_name)
        raise IntegrityError(
            "CKPT-HEAD",
            f"{path} was trained on the reconstructions of other checkpoints than those that are there now. "
            f"Run: {command} --force",
        )
    detect = head_detector(load_head(folders[HEAD], plans, device), plans, device)
    return ensemble_detector(detect, plans.inference) if plans.inference.detector == "both" else detect


def _refuse_other_vqgan(path: Path, vqgan_sha256: str) -> None:
    trained_on = checkpoint_field(load_checkpoint(path), "vqgan_sha256", str, path=path)
    if trained_on != vqgan_sha256:
        raise IntegrityError(
            "CKPT-VQGAN",
            f"{path} was trained on vqgan {trained_on[:12]}, the one beside it is {vqgan_sha256[:12]}. Train it anew, "
            "with --force.",
        )


def _may_guide(needed: dict[str, Path], plan: InferencePlan) -> tuple[bool, str]:
    """Whether to guide, and why: a classifier must have the planned AUC in validation near the plan's noise level."""
    if plan.guidance == "none":
        return False, "the plans use no guidance"
    if plan.guidance == "free":
        return True, f"classifier-free guidance with weight {plan.guidance_scale:g}: no classifier is needed"
    if plan.min_classifier_auc <= 0:
        return True, "the plans guide whatever the classifier's AUC"
    path = needed["classifier"]
    measured = checkpoint_field(load_checkpoint(path), "validation", dict[str, Any], path=path)
    matches = [match for match in map(_AREA.fullmatch, measured) if match]
    areas = {float(match[1]): checkpoint_field(measured, match[0], float, path=path) for match in matches}
    if not areas:
        return False, "guidance is off: the classifier's AUC is unknown (one class only in the validation fold)"
    level = min(areas, key=lambda sigma: abs(sigma - plan.sigma))
    verdict = (
        f"the classifier's validation AUC at sigma {level:g} is {areas[level]:.2f}, "
        f"the plans ask for {plan.min_classifier_auc:.2f}"
    )
    enough = areas[level] >= plan.min_classifier_auc
    return enough, verdict if enough else f"guidance is off: {verdict}"
