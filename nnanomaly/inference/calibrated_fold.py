"""Loading a fold with the calibration that belongs to its checkpoints: what prediction and diagnosis work with."""

from dataclasses import replace

import torch

from nnanomaly.inference.calibration import Calibration, fits_plan
from nnanomaly.inference.checkpoint_choice import calibration_command
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.paths import Paths, calibration_json
from nnanomaly.plans import Plans
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import from_document, read_json


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
    calibration = from_document(Calibration, read_json(path), source=str(path))
    trained = load_trained_fold(paths, plans, fold, device, checkpoint=checkpoint)
    if trained.checkpoints != calibration.checkpoints:
        raise IntegrityError("CALIB-STALE", f"{path} belongs to other checkpoints. Run: {command}")
    if not fits_plan(calibration, plans.inference):
        raise IntegrityError("CALIB-STALE", f"{path} belongs to other settings of `inference`. Run: {command}")
    return replace(trained, measured=calibration)
