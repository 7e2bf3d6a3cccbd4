"""Loading a fold with the calibration that belongs to its checkpoints: what prediction and diagnosis work with; and
whether there is one."""

from dataclasses import replace

import torch

from nnanomaly.inference.calibration import fits_plan
from nnanomaly.inference.checkpoint_choice import calibration_command
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import checkpoints_of_fold, load_trained_fold
from nnanomaly.inference.model_documents import load_calibration, plans_of_fold, predict_alike
from nnanomaly.paths import Paths, calibration_json
from nnanomaly.plans import Plans
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError


def load_calibrated_fold(paths: Paths, plans: Plans, fold: int | str, device: torch.device, *, checkpoint: str) -> Fold:
    """A trained fold and its calibration for a checkpoint of the ddpm.

    Raises ConfigurationError (CFG-MODEL) without a calibration and IntegrityError (CALIB-STALE) for one of other
    checkpoints or settings, each with the command that mends it, and what `load_trained_fold` raises.
    """
    dataset, plans_name = plans.dataset_name, plans.plans_name
    path = paths.fold(dataset, plans_name, "ddpm", fold) / calibration_json(checkpoint)
    command = calibration_command(dataset, fold, checkpoint=checkpoint, plans_name=plans_name)
    if not path.is_file():
        raise ConfigurationError("CFG-MODEL", f"{path} does not exist. Run: {command}")
    calibration = load_calibration(path, remedy=f"Run: {command}")
    trained = load_trained_fold(paths, plans, fold, device, checkpoint=checkpoint)
    if trained.checkpoints != calibration.checkpoints:
        raise IntegrityError("CALIB-STALE", f"{path} belongs to other checkpoints. Run: {command}")
    if not fits_plan(calibration, plans.inference):
        raise IntegrityError("CALIB-STALE", f"{path} belongs to other settings of `inference`. Run: {command}")
    return replace(trained, measured=calibration)


def is_calibrated(paths: Paths, plans: Plans, fold: int | str, *, checkpoint: str) -> bool:
    """Whether a fold has a calibration for a checkpoint, of the checkpoints and the plans that are there now."""
    folder = paths.fold(plans.dataset_name, plans.plans_name, "ddpm", fold)
    path = folder / calibration_json(checkpoint)
    if not path.is_file():
        return False
    calibration, present = load_calibration(path), checkpoints_of_fold(paths, plans, fold, checkpoint=checkpoint)
    return (
        calibration.checkpoints == present
        and fits_plan(calibration, plans.inference)
        and predict_alike(plans, plans_of_fold(folder, checkpoint))
    )
