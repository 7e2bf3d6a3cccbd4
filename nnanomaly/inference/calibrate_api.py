"""Calibrating a trained fold on the healthy organs of its validation side; writes calibration.json, or for
another checkpoint than the final one a file beside it."""

import logging
from pathlib import Path

from tqdm import tqdm

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.organ_labels import HEALTHY, read_label_snapshot
from nnanomaly.dataset.patch_store import StoredPatch, list_patches, load_patch
from nnanomaly.dataset.splits import fold_split, load_splits
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.anomaly_map import measure_residuals
from nnanomaly.inference.calibration import DISTANCE_EDGES_MM, Calibration, choose_threshold
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.fold_model import load_trained_fold
from nnanomaly.inference.predictor import anomaly_of_patch, distance_of_patch, reconstruct_patch, residual_of_patch
from nnanomaly.paths import PLANS_JSON, SPLITS_JSON, Paths, calibration_json
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.preprocessing.preprocessor import COVERAGE
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import to_document, write_json

logger = logging.getLogger(__name__)


@memory_fault("End other programs on the device, or calibrate with --val -device cpu.")
def calibrate_fold(
    paths: Paths, dataset: str, *, fold: int | str, plans_name: str, device: str | None, checkpoint: str = FINAL
) -> Calibration:
    """Reconstruct the healthy validation organs of a fold, measure residuals, choose the threshold.

    `checkpoint`: which one of the ddpm; the other stages are final.
    """
    check_checkpoint(checkpoint)
    plans = load_plans(paths.plans(dataset, plans_name))
    patches = _healthy_validation_patches(paths.preprocessed(dataset), plans, fold)
    trained = load_trained_fold(paths, plans, fold, choose_device(device), checkpoint=checkpoint)
    logger.info("calibrating %s on %d patches of healthy organs; %s", checkpoint, len(patches), trained.guidance_reason)
    healthy = [
        reconstruct_patch(patch.array, name, reconstruct=trained.reconstruct, plans=plans)
        for name, patch in tqdm(patches.items(), desc="calibration", disable=None)
    ]
    stored = list(patches.values())
    residuals = [residual_of_patch(p.array, p.grid, h, plans=plans) for p, h in zip(stored, healthy, strict=True)]
    statistics = measure_residuals(
        residuals,
        [distance_of_patch(p.array, p.grid) for p in stored],
        [p.array[COVERAGE] > 0.5 for p in stored],
        edges_mm=DISTANCE_EDGES_MM,
    )
    maps = [
        (anomaly_of_patch(p.array, p.grid, h, plans=plans, statistics=statistics), p.grid)
        for p, h in zip(stored, healthy, strict=True)
    ]
    num_organs = len({(p.metadata["case"], p.metadata["organ"]) for p in stored})
    threshold, rate = choose_threshold(maps, num_organs, plans.inference)
    calibration = Calibration(
        statistics=statistics,
        threshold=threshold,
        false_candidates_per_organ=rate,
        num_organs=num_organs,
        guidance=trained.guidance,
        guidance_reason=trained.guidance_reason,
        checkpoints=trained.checkpoints,
    )
    # Prediction reads the plans beside the model: they must be those the threshold was chosen with.
    save_plans(paths.model(dataset, plans_name, "ddpm") / PLANS_JSON, plans)
    write_json(paths.fold(dataset, plans_name, "ddpm", fold) / calibration_json(checkpoint), to_document(calibration))
    logger.info("threshold %.3g leaves %.2f candidates per healthy organ (%d organs)", threshold, rate, num_organs)
    return calibration


def _healthy_validation_patches(preprocessed: Path, plans: Plans, fold: int | str) -> dict[str, StoredPatch]:
    """Stored patches of the organs labelled healthy on the validation side."""
    folder = preprocessed / plans.data_identifier
    labels = read_label_snapshot(preprocessed)
    stored = {name: load_patch(folder, name, verify=False) for name in list_patches(folder)}
    cases = sorted({patch.metadata["case"] for patch in stored.values()})
    split = fold_split(load_splits(preprocessed / SPLITS_JSON), fold, cases)
    validation = set(split["val"])
    healthy = {
        name: patch
        for name, patch in stored.items()
        if patch.metadata["case"] in validation
        and labels.get((patch.metadata["case"], patch.metadata["organ"])) == HEALTHY
    }
    if not healthy:
        raise DataError(
            "CALIB-HEALTHY",
            f"fold {fold} has no healthy organ to calibrate on in {folder}. Label more, or choose another fold.",
        )
    return healthy
