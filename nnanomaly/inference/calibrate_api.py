"""Calibrating a trained fold on the healthy organs of its validation side; writes calibration.json, or for
another checkpoint than the final one a file beside it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.organ_labels import HEALTHY, read_label_snapshot
from nnanomaly.dataset.patch_store import StoredPatch, list_patches, load_patch
from nnanomaly.dataset.splits import fold_split, load_splits
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibration import Calibration, choose_score_threshold, choose_threshold
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.fold_model import TrainedFold, load_trained_fold
from nnanomaly.inference.inpainting import Inpainting, only_large, with_large_candidates_inpainted
from nnanomaly.inference.patch_map import (
    FloatArray,
    PatchReconstruction,
    healthy_statistics,
    reconstruct_patch,
    residual_of_patch,
)
from nnanomaly.inference.postprocessing import find_regions
from nnanomaly.inference.reducer import probabilities
from nnanomaly.inference.reduction import features_on_own_grid, scene_of_patch
from nnanomaly.paths import PLANS_JSON, SPLITS_JSON, Paths, calibration_json
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.progress import all_shown
from nnanomaly.volume import Grid

logger = logging.getLogger(__name__)


@memory_fault("End other programs on the device, or calibrate with --val -device cpu.")
def calibrate_fold(
    paths: Paths, dataset: str, *, fold: int | str, plans_name: str, device: str | None, checkpoint: str = FINAL
) -> Calibration:
    """Reconstruct the healthy validation organs of a fold, measure residuals, choose the threshold.

    `checkpoint`: which one of the ddpm; the other stages are final. Raises DataError (CALIB-HEALTHY) without a healthy
    organ on the validation side.
    """
    check_checkpoint(checkpoint)
    plans = load_plans(paths.plans(dataset, plans_name))
    healthy = healthy_validation_patches(paths.preprocessed(dataset), plans, fold)
    trained = load_trained_fold(paths, plans, fold, choose_device(device), checkpoint=checkpoint)
    logger.info("calibrating %s on %d patches of healthy organs; %s", checkpoint, len(healthy), trained.guidance_reason)
    calibration = calibration_of(trained, healthy, plans)
    # Prediction reads the plans beside the model: they must be those the threshold was chosen with.
    save_plans(paths.model(dataset, plans_name, "ddpm") / PLANS_JSON, plans)
    write_json(paths.fold(dataset, plans_name, "ddpm", fold) / calibration_json(checkpoint), to_document(calibration))
    logger.info(
        "threshold %.3g leaves %.2f candidates per healthy organ (%d organs)",
        calibration.threshold,
        calibration.false_candidates_per_organ,
        calibration.num_organs,
    )
    return calibration


def calibration_of(trained: TrainedFold, healthy: Mapping[str, StoredPatch], plans: Plans) -> Calibration:
    """Residual statistics and thresholds of a trained fold on patches of healthy organs (by name); writes nothing."""
    stored, before = list(healthy.values()), plans.inference.before_reduction
    reconstructions, residuals = [], []
    for patch in all_shown(stored, "calibration"):
        organ = str(patch.metadata["organ"])
        reconstruction = reconstruct_patch(patch.array, organ, reconstruct=trained.reconstruct, plans=plans)
        reconstruction = replace(reconstruction, samples=())  # of all organs they would fill the memory
        reconstructions.append(reconstruction)
        residuals.append(residual_of_patch(patch.array, patch.grid, reconstruction, plans.inference))
    statistics, inpaint_threshold = healthy_statistics(residuals, plans.inference), None
    maps = [
        (trained.detect(reconstruction, residual, statistics), patch.grid)
        for reconstruction, residual, patch in zip(reconstructions, residuals, stored, strict=True)
    ]
    num_organs = len({(patch.metadata["case"], patch.metadata["organ"]) for patch in stored})
    if trained.inpaint is not None:
        inpaint_threshold, _ = choose_threshold(maps, num_organs, only_large(before))
        how = Inpainting(
            inpaint=trained.inpaint, detect=trained.detect, statistics=statistics, threshold=inpaint_threshold
        )
        reconstructions, maps = _after_inpainting(stored, reconstructions, how, plans)
    threshold, rate = choose_threshold(maps, num_organs, before)
    score_threshold = None
    if trained.reducer is not None:
        scores = probabilities(trained.reducer, _features(stored, reconstructions, maps, threshold, plans))
        score_threshold, rate = choose_score_threshold(scores, num_organs, plans.inference)
    return Calibration(
        statistics=statistics,
        threshold=threshold,
        false_candidates_per_organ=rate,
        num_organs=num_organs,
        guidance=trained.guidance,
        guidance_reason=trained.guidance_reason,
        checkpoints=trained.checkpoints,
        inpaint_threshold=inpaint_threshold,
        score_threshold=score_threshold,
    )


def _after_inpainting(
    patches: Sequence[StoredPatch], firsts: Sequence[PatchReconstruction], how: Inpainting, plans: Plans
) -> tuple[list[PatchReconstruction], list[tuple[FloatArray, Grid]]]:
    """Patches and their maps as prediction makes them: large candidates of the first map are drawn anew."""
    reconstructions, maps = [], []
    for patch, first in zip(patches, firsts, strict=True):
        organ = str(patch.metadata["organ"])
        seen = with_large_candidates_inpainted(patch.array, patch.grid, organ, first=first, how=how, plans=plans)
        residual = residual_of_patch(patch.array, patch.grid, seen, plans.inference)
        reconstructions.append(seen)
        maps.append((how.detect(seen, residual, how.statistics), patch.grid))
    return reconstructions, maps


def _features(
    patches: Sequence[StoredPatch],
    reconstructions: Sequence[PatchReconstruction],
    maps: Sequence[tuple[FloatArray, Grid]],
    threshold: float,
    plans: Plans,
) -> NDArray[np.float64]:
    """`[N, F]`: features of the candidates of all patches."""
    rows = []
    for patch, seen, (anomaly, grid) in zip(patches, reconstructions, maps, strict=True):
        scene = scene_of_patch(patch.array, grid, anomaly=anomaly, healthy_hu=seen.healthy_hu, plans=plans)
        rows.append(features_on_own_grid(find_regions(anomaly, threshold, grid, plans.inference), scene))
    return np.concatenate(rows)


def healthy_validation_patches(preprocessed: Path, plans: Plans, fold: int | str) -> dict[str, StoredPatch]:
    """Stored patches of the organs labelled healthy on the validation side, by name; DataError without any."""
    labels = read_label_snapshot(preprocessed)
    healthy = {
        name: patch
        for name, patch in validation_patches(preprocessed, plans, fold).items()
        if labels.get((patch.metadata["case"], patch.metadata["organ"])) == HEALTHY
    }
    if not healthy:
        raise DataError(
            "CALIB-HEALTHY",
            f"fold {fold} has no healthy organ to calibrate on in {preprocessed / plans.data_identifier}. Label more, "
            "or choose another fold.",
        )
    return healthy


def validation_patches(preprocessed: Path, plans: Plans, fold: int | str) -> dict[str, StoredPatch]:
    """Stored patches of all organs on the validation side of a fold, by name."""
    folder = preprocessed / plans.data_identifier
    stored = {name: load_patch(folder, name, verify=False) for name in list_patches(folder)}
    cases = sorted({patch.metadata["case"] for patch in stored.values()})
    validation = set(fold_split(load_splits(preprocessed / SPLITS_JSON), fold, cases)["val"])
    return {name: patch for name, patch in stored.items() if patch.metadata["case"] in validation}
