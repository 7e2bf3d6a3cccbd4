"""Calibrating a trained fold on the healthy organs of its validation side; writes calibration.json, or for
another checkpoint than the final one a file beside it."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.organ_labels import HEALTHY, read_label_snapshot
from nnanomaly.dataset.patch_store import list_patches, load_organ_patch
from nnanomaly.dataset.splits import fold_split, load_splits
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibration import Calibration, HealthyResiduals, choose_score_threshold, choose_threshold
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.inpainting import only_large
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.inference.look import look, without_samples
from nnanomaly.inference.model_documents import record_documents
from nnanomaly.inference.patch_map import healthy_statistics
from nnanomaly.inference.postprocessing import find_regions
from nnanomaly.inference.read import Reading, read_look
from nnanomaly.inference.reducer import probabilities
from nnanomaly.inference.reduction import as_mapped, features_on_own_grid
from nnanomaly.patch import Patch
from nnanomaly.paths import SPLITS_JSON, Paths, calibration_json
from nnanomaly.plans import Plans, load_plans
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers
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
    calibration = calibration_of(trained, list(healthy.values()), plans)
    path = paths.fold(dataset, plans_name, "ddpm", fold) / calibration_json(checkpoint)
    remove_leftovers(path.parent, path.parent.parent)
    record_documents(paths, plans, fold)
    # Prediction follows the plans that the threshold was chosen with: one rename changes both.
    write_json(path, to_document(replace(calibration, plans=plans)))
    logger.info(
        "threshold %.3g leaves %.2f candidates per healthy organ (%d organs)",
        calibration.threshold,
        calibration.false_candidates_per_organ,
        calibration.num_organs,
    )
    return calibration


def calibration_of(fold: Fold, patches: Sequence[Patch], plans: Plans) -> Calibration:
    """Residual statistics and thresholds of a trained fold on patches of healthy organs; writes nothing."""
    before = plans.inference.before_reduction
    looks = [without_samples(look(patch, fold.reconstruct, plans)) for patch in all_shown(patches, "calibration")]
    healthy = HealthyResiduals(healthy_statistics([seen.residual for seen in looks], plans.inference))
    readings = [read_look(seen, fold, healthy, plans) for seen in looks]
    num_organs = len({(patch.case, patch.organ) for patch in patches})
    if fold.inpaint is not None:
        inpaint_threshold, _ = choose_threshold(_maps(readings), num_organs, only_large(before))
        healthy = healthy._replace(inpaint_threshold=inpaint_threshold)
        readings = [read_look(seen, fold, healthy, plans) for seen in looks]
    threshold, rate = choose_threshold(_maps(readings), num_organs, before)
    score_threshold = None
    if fold.reducer is not None:
        scores = probabilities(fold.reducer, _features(readings, threshold, plans))
        score_threshold, rate = choose_score_threshold(scores, num_organs, plans.inference)
    return Calibration(
        statistics=healthy.statistics,
        threshold=threshold,
        false_candidates_per_organ=rate,
        num_organs=num_organs,
        guidance=fold.guidance,
        guidance_reason=fold.guidance_reason,
        checkpoints=fold.checkpoints,
        inpaint_threshold=healthy.inpaint_threshold,
        score_threshold=score_threshold,
    )


def _maps(readings: Sequence[Reading]) -> list[tuple[NDArray[np.float32], Grid]]:
    return [(reading.anomaly, reading.look.patch.grid) for reading in readings]


def _features(readings: Sequence[Reading], threshold: float, plans: Plans) -> NDArray[np.float64]:
    """`[N, F]`: features of the candidates of all patches."""
    rows = []
    for seen, anomaly in readings:
        scene = as_mapped(seen.patch, anomaly=anomaly, healthy_hu=seen.reconstruction.healthy_hu, plans=plans)
        rows.append(features_on_own_grid(find_regions(anomaly, threshold, seen.patch.grid, plans.inference), scene))
    return np.concatenate(rows)


def healthy_validation_patches(preprocessed: Path, plans: Plans, fold: int | str) -> dict[str, Patch]:
    """Patches of the organs labelled healthy on the validation side, by name; DataError without any."""
    labels = read_label_snapshot(preprocessed)
    healthy = {
        name: patch
        for name, patch in validation_patches(preprocessed, plans, fold).items()
        if labels.get((patch.case, patch.organ)) == HEALTHY
    }
    if not healthy:
        raise DataError(
            "CALIB-HEALTHY",
            f"fold {fold} has no healthy organ to calibrate on in {preprocessed / plans.data_identifier}. Label more, "
            "or choose another fold.",
        )
    return healthy


def validation_patches(preprocessed: Path, plans: Plans, fold: int | str) -> dict[str, Patch]:
    """Patches of all organs on the validation side of a fold, by name."""
    folder = preprocessed / plans.data_identifier
    stored = {name: load_organ_patch(folder, name) for name in list_patches(folder)}
    cases = sorted({patch.case for patch in stored.values()})
    validation = set(fold_split(load_splits(preprocessed / SPLITS_JSON), fold, cases)["val"])
    return {name: patch for name, patch in stored.items() if patch.case in validation}
