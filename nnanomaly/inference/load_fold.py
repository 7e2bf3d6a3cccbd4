"""Loading a trained fold: autoencoder, U-Net, classifier, and whether the classifier is good enough to guide."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from nnanomaly.checkpoint import FINAL, checkpoint_hash, load_checkpoint
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.inference.detectors import Detector, ensemble_detector, head_detector, residual_detector
from nnanomaly.inference.fold import Fold, Sampled
from nnanomaly.inference.inpainting import build_inpainter
from nnanomaly.inference.reconstruct import LatentModels, build_reconstructor
from nnanomaly.inference.reducer_file import load_reducer
from nnanomaly.paths import REDUCER_JSON, Paths
from nnanomaly.plans import HEAD, REDUCTION, STAGES, InferencePlan, Plans
from nnanomaly.trained_model import load_classifier, load_codec, load_head, load_unet
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError


def load_trained_fold(
    paths: Paths, plans: Plans, fold: int | str, device: torch.device, *, checkpoint: str = FINAL, seed: int = 0
) -> Fold:
    """Load the stages of a fold that its guidance needs; a missing stage, other plans or another autoencoder raise.

    `checkpoint` is that of the ddpm. The other stages are always final: latents belong to the final autoencoder.
    """
    stages = (*STAGES, HEAD) if plans.inference.needs_head else STAGES
    folders = {stage: paths.fold(plans.dataset_name, plans.plans_name, stage, fold) for stage in stages}
    needed = {stage: folder / (checkpoint if stage == "ddpm" else FINAL) for stage, folder in folders.items()}
    if not plans.inference.needs_classifier:
        del needed["classifier"]
    for stage, path in needed.items():
        if not path.is_file():
            raise ConfigurationError(
                "CKPT-MISSING", f"{path} does not exist. Run: nnanomaly_train {plans.dataset_name} {stage} {fold}"
            )
    checkpoints = {stage: checkpoint_hash(path) for stage, path in needed.items()}
    for stage in sorted(set(needed) - {"vqgan", HEAD}):
        _refuse_other_vqgan(needed[stage], checkpoints["vqgan"])
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
    """The residual itself, or a head that was trained on the reconstructions of these very checkpoints."""
    if not plans.inference.needs_head:
        return residual_detector(plans.inference)
    trained_on = load_checkpoint(folders[HEAD] / FINAL)["checkpoints"]
    present = {stage: checkpoints[stage] for stage in trained_on if stage in checkpoints}
    if present != trained_on:
        raise IntegrityError(
            "CKPT-HEAD",
            f"{folders[HEAD] / FINAL} was trained on the reconstructions of other checkpoints than those that "
            f"are there now. Run: nnanomaly_train {plans.dataset_name} head {folders[HEAD].name.removeprefix('fold_')}",
        )
    detect = head_detector(load_head(folders[HEAD], plans, device), plans, device)
    return ensemble_detector(detect, plans.inference) if plans.inference.detector == "both" else detect


def _refuse_other_vqgan(path: Path, vqgan_sha256: str) -> None:
    trained_on = load_checkpoint(path)["vqgan_sha256"]
    if trained_on != vqgan_sha256:
        raise IntegrityError(
            "CKPT-VQGAN",
            f"{path} was trained on vqgan {trained_on[:12]}, the one beside it is {vqgan_sha256[:12]}. Train it anew.",
        )


def _may_guide(needed: dict[str, Path], plan: InferencePlan) -> tuple[bool, str]:
    """Whether to guide, and why: a classifier must have the planned AUC in validation near the plan's noise level."""
    if plan.guidance == "none":
        return False, "the plans use no guidance"
    if plan.guidance == "free":
        return True, f"classifier-free guidance with weight {plan.guidance_scale:g}: no classifier is needed"
    if plan.min_classifier_auc <= 0:
        return True, "the plans guide whatever the classifier's AUC"
    measured = load_checkpoint(needed["classifier"])["validation"]
    areas = {float(k.removeprefix("auc_sigma_")): v for k, v in measured.items() if k.startswith("auc_sigma_")}
    if not areas:
        return False, "guidance is off: the classifier's AUC is unknown (one class only in the validation fold)"
    level = min(areas, key=lambda sigma: abs(sigma - plan.sigma))
    verdict = (
        f"the classifier's validation AUC at sigma {level:g} is {areas[level]:.2f}, "
        f"the plans ask for {plan.min_classifier_auc:.2f}"
    )
    enough = areas[level] >= plan.min_classifier_auc
    return enough, verdict if enough else f"guidance is off: {verdict}"
