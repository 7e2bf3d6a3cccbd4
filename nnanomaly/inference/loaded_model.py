"""Which trained model predicts, and loading it with everything a case needs; shared by the command and Python."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnanomaly.checkpoint import FINAL, find_folds
from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.device import choose_device
from nnanomaly.inference.calibrated_fold import load_calibrated_fold
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.model_documents import description_of_fold, plans_of_fold, refuse_mixed_plans
from nnanomaly.paths import Paths, calibration_json, check_fold, fold_order
from nnanomaly.plans import Plans, training_command
from nnanomaly.utilities.errors import ConfigurationError, UserError
from nnanomaly.utilities.json_io import to_document
from nnanomaly.utilities.replacement import finish_replacements

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """Which of the trained models of a dataset; `-chk` and its kin."""

    folds: tuple[str, ...] | None = None
    """Folds to average; None = all that are trained and calibrated."""
    plans_name: str
    """Plans of the model."""
    checkpoint: str = FINAL
    """Checkpoint of the ddpm; the other stages are always final."""
    device: str | None = None
    """Device name; None = cuda where there is one, else cpu."""

    def __post_init__(self) -> None:
        """Refuse a checkpoint that training never writes."""
        check_checkpoint(self.checkpoint)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model with everything a case needs."""

    dataset: str
    """Dataset it was trained on."""
    description: DatasetDescription
    """Its dataset.json."""
    plans: Plans
    """Its plans."""
    folds: dict[str, Fold]
    """Trained folds."""
    provenance: dict[str, Any]
    """Folds, checkpoints and calibration, for predict_from_raw_data_args.json."""

    def with_num_samples(self, num_samples: int | None) -> "LoadedModel":
        """The same model, which averages so many samples of the noise; None = as planned.

        Raises ConfigurationError (CFG-SAMPLES) for a number that cannot be, or of a reconstruction without noise.
        """
        if num_samples is None or num_samples == self.plans.inference.num_samples:
            return self
        draws = self.plans.inference.encode == "noise" or self.plans.inference.sampler in ("one_step", "ddpm")
        if not draws:
            raise ConfigurationError(
                "CFG-SAMPLES", "num_samples: this model reconstructs without noise, so that all samples are the same."
            )
        try:
            inference = replace(self.plans.inference, num_samples=num_samples)
        except UserError as error:
            raise ConfigurationError(
                "CFG-SAMPLES", f"num_samples {num_samples} does not fit the model: {error}"
            ) from error
        folds = {name: fold.with_num_samples(num_samples) for name, fold in self.folds.items()}
        provenance = {**self.provenance, "inference": to_document(inference)}
        return replace(self, folds=folds, provenance=provenance)


def choose_dataset(paths: Paths, dataset: str | None, request: ModelRequest) -> str:
    """The named dataset, or for None the only one with a trained and calibrated ddpm.

    Raises ConfigurationError: CFG-DATASET for an unknown one, CFG-MODEL where there are none or several.
    """
    if dataset is not None:
        return paths.dataset_name(dataset)
    for name in paths.dataset_names():
        finish_replacements(paths.results_folder() / name)
    models = {name: paths.model(name, request.plans_name, "ddpm") for name in sorted(paths.dataset_names())}
    trained = [name for name, model in models.items() if _calibrated_folds(model, request.checkpoint)]
    if not trained:  # a single one that lacks its calibration is told how to get it
        trained = [name for name, model in models.items() if find_folds(model, request.checkpoint)]
    what = f"{request.checkpoint} of a ddpm of plans {request.plans_name}"
    if not trained:
        raise ConfigurationError(
            "CFG-MODEL",
            f"no dataset in {paths.results_folder()} has a {what}. Train one (nnanomaly_train DATASET ddpm), install "
            "one (nnanomaly_install_pretrained_model_from_zip), or choose other plans with -p.",
        )
    if len(trained) > 1:
        raise ConfigurationError(
            "CFG-MODEL", f"-d is needed, for several datasets have a {what}: {', '.join(trained)}. Choose one."
        )
    logger.info("using the model of %s", trained[0])
    return trained[0]


def load_model(paths: Paths, dataset: str, request: ModelRequest) -> LoadedModel:
    """Load the folds of a model onto the device.

    Raises ConfigurationError (CFG-MODEL, CFG-DEVICE, CKPT-MISSING) for what is not trained or not there, and
    IntegrityError (CALIB-STALE, CKPT-...) for parts that do not belong together.
    """
    folds = choose_folds(paths, dataset, request)
    folders = {fold: paths.fold(dataset, request.plans_name, "ddpm", fold) for fold in folds}
    plans = refuse_mixed_plans({fold: plans_of_fold(folders[fold], request.checkpoint) for fold in folds})
    device = choose_device(request.device)
    models, provenance = {}, {}
    for fold in folds:
        models[fold] = load_calibrated_fold(paths, plans, fold, device, checkpoint=request.checkpoint)
        calibration = models[fold].calibration
        provenance[fold] = {"checkpoints": calibration.checkpoints, "calibration": calibration.without_plans()}
    return LoadedModel(
        dataset=dataset,
        description=description_of_fold(folders[folds[0]]),
        plans=plans,
        folds=models,
        provenance={
            "dataset": dataset,
            "plans_name": plans.plans_name,
            "plans_identity": plans.identity,
            "checkpoint_name": request.checkpoint,
            "device": str(device),
            "inference": to_document(plans.inference),
            "folds": provenance,
        },
    )


def choose_folds(paths: Paths, dataset: str, request: ModelRequest) -> list[str]:
    """The folds that were asked for, all of them trained, or those that can predict; in the order of their numbers.

    Raises ConfigurationError (CFG-MODEL, CFG-FOLD).
    """
    finish_replacements(paths.results_folder() / dataset)
    model_folder = paths.model(dataset, request.plans_name, "ddpm")
    trained = find_folds(model_folder, request.checkpoint)
    if request.folds is None:
        if not trained:
            raise ConfigurationError(
                "CFG-MODEL",
                f"no fold with a {request.checkpoint} in {model_folder}. Run: {_command(dataset, '0', request)}",
            )
        return _calibrated_folds(model_folder, request.checkpoint) or trained
    folds = sorted({check_fold(fold) for fold in request.folds}, key=fold_order)
    missing = [fold for fold in folds if fold not in trained]
    if missing:
        raise ConfigurationError(
            "CFG-MODEL",
            f"fold {missing[0]} has no {request.checkpoint} in {model_folder} (folds that have: "
            f"{', '.join(trained) or 'none'}). Run: {_command(dataset, missing[0], request)}",
        )
    return folds


def _command(dataset: str, fold: str, request: ModelRequest) -> str:
    return training_command(dataset, "ddpm", fold, plans_name=request.plans_name)


def _calibrated_folds(model_folder: Path, checkpoint: str) -> list[str]:
    folds = find_folds(model_folder, checkpoint)
    return [fold for fold in folds if (model_folder / f"fold_{fold}" / calibration_json(checkpoint)).is_file()]
