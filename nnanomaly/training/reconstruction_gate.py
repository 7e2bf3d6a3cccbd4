"""The gate before stage 2: what an autoencoder keeps of held-out organs, against the limits of the plan (METHOD 1.7).

A lesion that the autoencoder does not show cannot be missed by the model behind it, nor found by the map. It is cheaper
to know before the diffusion model is trained than after.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nnanomaly.checkpoint import FINAL, checkpoint_hash, load_checkpoint
from nnanomaly.dataset.organ_labels import HEALTHY
from nnanomaly.dataset.patch_store import load_organ_patch
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.paths import RECONSTRUCTION_GATE_JSON, VALIDATION
from nnanomaly.plans import GatePlan, Plans, training_command
from nnanomaly.preprocessing.normalization import denormalise
from nnanomaly.trained_model import load_codec
from nnanomaly.training.fold_data import PatchSet
from nnanomaly.training.reconstruction_quality import Fidelity, HeldOutOrgan, autoencoder, measure_fidelity
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import read_document, to_document, typed, write_json

logger = logging.getLogger(__name__)
MAX_PATCHES = 8
"""Patches that are measured: four passes through the autoencoder each."""
SEED = 0


def measure_gate(fold_folder: Path, plans: Plans, held_out: PatchSet, device: torch.device) -> Fidelity:
    """Figures of the autoencoder of a fold, measured once per checkpoint; written beside its validation, and logged.

    Patches are healthy ones, evenly spread over the held-out patches (all labels where none is healthy).
    """
    path, plan = fold_folder / VALIDATION / RECONSTRUCTION_GATE_JSON, plans.vqgan.gate
    patches = _choose(held_out)
    conditions = {
        "vqgan_sha256": checkpoint_hash(fold_folder / FINAL),
        "quantise": plans.inference.quantise,
        "diameters_mm": list(plan.diameters_mm),
        "contrast_hu": plan.contrast_hu,
        "patches": list(patches.names),
    }
    remedy = "Delete the file: it is measured anew."
    earlier = read_document(path, dict[str, Any], remedy=remedy) if path.is_file() else {}
    known = earlier.get("conditions") == conditions
    if known:
        fidelity = typed(Fidelity, earlier.get("figures"), source=f"{path}: figures", remedy=remedy)
        if len(fidelity.contrast_retention) != len(plan.diameters_mm):
            raise DataError("JSON", f"{path}: contrast_retention does not fit diameters_mm. {remedy}")
    else:
        fidelity = replace(
            _measure(load_codec(fold_folder, plans, device), patches, plans, device),
            num_trained=load_checkpoint(fold_folder / FINAL).get("iteration"),
        )
    shortfalls = list(find_shortfalls(fidelity, plan))
    if not known:
        verdict = f"too little for the other stages: {'; '.join(shortfalls)}" if shortfalls else "within the limits"
        figures = describe(fidelity, plan)
        logger.info("autoencoder on %d held-out patches: %s (%s)", len(patches.names), figures, verdict)
    document: dict[str, Any] = {
        "conditions": conditions,
        "figures": to_document(fidelity),
        "limits": to_document(plan),
        "passed": not shortfalls,
        "shortfalls": shortfalls,
    }
    if document != earlier:
        write_json(path, document)
    return fidelity


def refuse_poor_autoencoder(fidelity: Fidelity, plans: Plans, *, stage: str, fold: int | str) -> None:
    """Raise DataError, in one line with all figures, when one lies beyond the limits of the plan."""
    shortfalls = list(find_shortfalls(fidelity, plans.vqgan.gate))
    if shortfalls:
        command = training_command(plans.dataset_name, "vqgan", fold, plans_name=plans.plans_name)
        planned = plans.vqgan.training.num_iterations
        trained = "it was" if fidelity.num_trained is None else f"the {fidelity.num_trained} iterations that it was"
        raise DataError(
            "TRAIN-GATE",
            f"{stage} is not trained, since the autoencoder of fold {fold} keeps too little of held-out organs: "
            f"{'; '.join(shortfalls)}. All figures: {describe(fidelity, plans.vqgan.gate)}. Train it longer "
            f"than {trained} (planned are {planned}; {command} --c -num_iterations N), "
            f"give it a smaller stride than {plans.vqgan.stride}, more channels or more codes, "
            f"or lower the limits at vqgan, gate in {plans.plans_name}.json.",
        )


def find_shortfalls(fidelity: Fidelity, plan: GatePlan) -> Iterator[str]:
    """One phrase for every figure beyond its limit; what could not be measured, or has the limit 0, is none."""
    lowest = [
        ("PSNR in dB", fidelity.psnr_db, plan.min_psnr_db),
        ("SSIM", fidelity.ssim, plan.min_ssim),
        ("high-band energy", fidelity.high_band_ratio, plan.min_high_band_ratio),
        *(
            (f"contrast kept of {diameter:g} mm lesions", kept, limit)
            for diameter, kept, limit in zip(
                plan.diameters_mm, fidelity.contrast_retention, plan.min_contrast_retention, strict=True
            )
        ),
    ]
    for name, value, limit in lowest:
        if value is not None and value < limit and limit > 0:
            yield f"{name} {value:.3g}, limit {limit:g}"
    if fidelity.mae_hu is not None and fidelity.mae_hu > plan.max_mae_hu > 0:
        yield f"error in the organ in HU {fidelity.mae_hu:.3g}, limit {plan.max_mae_hu:g}"


def describe(fidelity: Fidelity, plan: GatePlan) -> str:
    """All figures with their limits, in one line."""
    kept = ", ".join(
        f"{diameter:g} mm {_figure(share, limit)}"
        for diameter, share, limit in zip(
            plan.diameters_mm, fidelity.contrast_retention, plan.min_contrast_retention, strict=True
        )
    )
    return (
        f"PSNR {_figure(fidelity.psnr_db, plan.min_psnr_db)} dB, SSIM {_figure(fidelity.ssim, plan.min_ssim)}, "
        f"error in the organ {_figure(fidelity.mae_hu, plan.max_mae_hu)} HU, "
        f"high-band energy {_figure(fidelity.high_band_ratio, plan.min_high_band_ratio)}, "
        f"contrast kept of inserted lesions: {kept}"
    )


def _figure(value: float | None, limit: float) -> str:
    known = "unknown" if value is None else f"{value:.3g}"
    return f"{known} (limit {limit:g})" if limit > 0 else known


def _choose(held_out: PatchSet) -> PatchSet:
    patches = held_out.where(HEALTHY) if HEALTHY in held_out.labels else held_out
    count = len(patches.names)
    chosen = np.unique(np.linspace(0, count - 1, min(count, MAX_PATCHES)).round().astype(int))
    return PatchSet(
        folder=patches.folder,
        names=tuple(patches.names[index] for index in chosen),
        labels=tuple(patches.labels[index] for index in chosen),
    )


def _measure(codec: Codec, patches: PatchSet, plans: Plans, device: torch.device) -> Fidelity:
    window = plans.preprocessing.window_hu
    organs = []
    for name in patches.names:
        patch = load_organ_patch(patches.folder, name)
        image = denormalise(patch.image, window)
        organs.append(HeldOutOrgan(image_hu=image, organ=patch.inside, covered=patch.covered))
    return measure_fidelity(
        autoencoder(codec, window, device),
        organs,
        spacing_mm=plans.preprocessing.spacing_mm,
        window_hu=window,
        diameters_mm=plans.vqgan.gate.diameters_mm,
        contrast_hu=plans.vqgan.gate.contrast_hu,
        seed=SEED,
    )
