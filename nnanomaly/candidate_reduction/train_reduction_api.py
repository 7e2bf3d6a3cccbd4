"""Training the reducer of a fold, and the plans that say that candidates are sorted out from now on.

Opens patches and weak labels, and nothing else: no drawn lesion. The candidates are those of the training side, whose
organs the networks have seen, at statistics and a threshold of that side; those of prediction are chosen on the
validation side, whose organs the networks have not seen.
"""

import logging
from dataclasses import replace
from pathlib import Path

from nnanomaly.candidate_reduction.candidates import CandidateFinder, collect_candidates
from nnanomaly.candidate_reduction.mil import WeakCandidates, fit_reducer
from nnanomaly.dataset.organ_labels import HEALTHY, UNHEALTHY
from nnanomaly.dataset.patch_store import load_organ_patch
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibrate_api import calibration_of
from nnanomaly.inference.load_fold import checkpoints_of_fold, load_trained_fold
from nnanomaly.inference.reducer_file import TrainedReducer, load_reducer, save_reducer
from nnanomaly.patch import Patch
from nnanomaly.paths import REDUCER_JSON, Paths
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.stages import REDUCTION
from nnanomaly.training.fold_data import PatchSet, load_fold
from nnanomaly.training.stage_run import TrainingOptions
from nnanomaly.training.train_api import KEPT, REMEDY
from nnanomaly.utilities.errors import DataError

logger = logging.getLogger(__name__)


@memory_fault(REMEDY)
def train_reduction(paths: Paths, dataset: str, *, fold: int | str, plans_name: str, options: TrainingOptions) -> None:
    """Train the reducer of a fold on the candidates of its detector, and make it part of the plans.

    Of `options` the device and the seed count. A reducer that is there is kept. Raises ConfigurationError
    (CKPT-MISSING) without a trained ddpm (or head, if that detects), DataError (TRAIN-REDUCTION) without candidates of
    either kind, IntegrityError (CKPT-REDUCTION) for a reducer of other maps.
    """
    plans = load_plans(paths.plans(dataset, plans_name))
    reduced = replace(plans, inference=replace(plans.inference, reduction="mil"))
    path = paths.fold(dataset, plans_name, REDUCTION, fold) / REDUCER_JSON
    if path.is_file():
        candidates_of = replace(plans, inference=replace(plans.inference, reduction="none"))
        load_reducer(path, reduced, checkpoints_of_fold(paths, candidates_of, fold), fold=fold)
        logger.info(KEPT, REDUCTION, fold)
    else:
        _train(paths, reduced, path, fold, options)
    reason = {"inference.reduction": f"the reducer of fold {fold} was trained"}
    save_plans(paths.plans(dataset, plans_name), replace(reduced, reasons={**plans.reasons, **reason}))


def _train(paths: Paths, reduced: Plans, path: Path, fold: int | str, options: TrainingOptions) -> None:
    """Find the candidates of the training side, fit a reducer to them, write it."""
    before = replace(reduced, inference=reduced.inference.before_reduction)
    train, _ = load_fold(paths.preprocessed(reduced.dataset_name), reduced.data_identifier, fold)
    trained = load_trained_fold(paths, before, fold, choose_device(options.device))
    healthy = _patches(train, HEALTHY)
    # Residuals of organs that the networks have seen are smaller: their own statistics and threshold make up for it.
    calibration = calibration_of(trained, list(healthy.values()), before)
    finder = CandidateFinder(fold=trained, calibration=calibration, plans=before)
    unhealthy = _patches(train, UNHEALTHY)
    logger.info("looking for candidates in %d healthy and %d unhealthy patches", len(healthy), len(unhealthy))
    candidates = collect_candidates(healthy, unhealthy, finder)
    _refuse_too_few(candidates, calibration.threshold)
    counts = {
        "negatives": len(candidates.negatives),
        "positives": len(candidates.positives),
        "bags": len(candidates.bags),
        "in_bags": sum(map(len, candidates.bags)),
    }
    words = "{negatives} false and {positives} true candidates, and {in_bags} in {bags} unhealthy organs"
    logger.info("fitting a reducer to %s", words.format_map(counts))
    reducer = fit_reducer(candidates, seed=options.changes.get("seed", reduced.head.training.seed))
    save_reducer(
        path,
        TrainedReducer(
            reducer=reducer,
            checkpoints=trained.checkpoints,
            inference=reduced.inference,
            num_candidates=counts,
        ),
    )


def _patches(side: PatchSet, label: str) -> dict[str, Patch]:
    return {name: load_organ_patch(side.folder, name) for name in side.where(label).names}


def _refuse_too_few(candidates: WeakCandidates, threshold: float) -> None:
    """A reducer needs what is certainly false, and something that may be true."""
    num_true = len(candidates.positives) + len(candidates.bags)
    if not len(candidates.negatives) or not num_true:
        raise DataError(
            "TRAIN-REDUCTION",
            f"at threshold {threshold:.3g} the training organs have {len(candidates.negatives)} false candidates and "
            f"{num_true} inserted lesions or unhealthy organs with a candidate; both are needed. Raise "
            "inference.reduction_pool in the plans, or go on without a reduction.",
        )
