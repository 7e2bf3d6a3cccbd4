"""The choice of a configuration on validation folds, as nnU-Net's command of that name: map, ensemble, threshold and
post-processing. What is chosen goes into the plans, with its reasons, and every trained fold is calibrated anew, so
that prediction uses it. Known lesions are inserted into healthy organs, or drawn by a person where the user asks.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from nnanomaly.checkpoint import FINAL, checkpoint_field, find_folds, load_checkpoint
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.inference.calibrate_api import calibrate_fold, healthy_validation_patches, validation_patches
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.patch import Patch
from nnanomaly.paths import BEST_CONFIGURATION, PLANS_JSON, Paths, check_fold
from nnanomaly.plans import RESIDUAL_FIELDS, InferencePlan, Plans, fits, load_plans, save_plans
from nnanomaly.stages import HEAD
from nnanomaly.tuning.best_configuration.configurations import Offer, changes, configurations
from nnanomaly.tuning.best_configuration.files import Result, write_result
from nnanomaly.tuning.best_configuration.fold_trials import try_configurations
from nnanomaly.tuning.best_configuration.selection import choose, merged
from nnanomaly.tuning.drawn_lesions import DrawnLesions
from nnanomaly.tuning.trials import Trial, drawn_trials, generated_trials
from nnanomaly.utilities.errors import ConfigurationError, DataError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOptions:
    """What `nnanomaly_find_best_configuration` may be told."""

    folds: tuple[str, ...] | None = None
    """Folds whose validation sides are used; None = all trained ones."""
    drawn: bool = False
    """Whether lesions drawn by a person are used; else inserted ones."""
    ensembles: bool = True
    """Whether detectors are combined."""
    most_false_candidates: float = 0.5
    """A configuration that leaves more candidates per healthy validation organ is not chosen."""
    variants: int = 4
    """Trials per healthy organ, for inserted lesions."""
    device: str | None = None
    """Device name."""
    seed: int = 0
    """Seed of the inserted lesions."""


@memory_fault("End other programs on the device, or try with -device cpu.")
def find_best_configuration(
    paths: Paths, dataset: str, *, plans_name: str, options: BestOptions
) -> tuple[Result, Path]:
    """Try every configuration, keep the best in the plans, calibrate; returns the result and the folder of its files.

    Raises DataError (SWEEP-LESIONS, SWEEP-DRAWN) where there is no lesion to find, ConfigurationError (CFG-PLAN) for
    plans with inpainting, whose reconstructions no two configurations share, or with a reduction, and what loading a
    fold raises.
    """
    plans = load_plans(paths.plans(dataset, plans_name))
    if plans.inference.inpaint_rounds:
        raise ConfigurationError(
            "CFG-PLAN",
            f"plans field inpaint_rounds is {plans.inference.inpaint_rounds}, but configurations are compared without "
            f"inpainting. Set it to 0 in {paths.plans(dataset, plans_name)}; nnanomaly_sweep can judge inpainting.",
        )
    if plans.inference.reduction != "none":
        raise ConfigurationError(
            "CFG-PLAN",
            f"plans field reduction is {plans.inference.reduction!r}, but configurations are compared without it. Set "
            f"it to none in {paths.plans(dataset, plans_name)}, choose, and train the reduction anew.",
        )
    trained = find_folds(paths.model(dataset, plans_name, "ddpm"))
    folds = list(dict.fromkeys(check_fold(fold) for fold in options.folds or trained or ("0",)))
    offer = Offer(
        head=_plan_of_head(paths, plans, {*folds, *trained}),
        ensembles=options.ensembles,
        most_false_candidates=options.most_false_candidates,
    )
    result = _try(paths, plans, folds, offer, options)
    folder = paths.model(dataset, plans_name, "ddpm") / BEST_CONFIGURATION
    write_result(folder, result)
    save_plans(paths.plans(dataset, plans_name), with_choice(plans, result))
    for fold in sorted({*folds, *trained}):
        calibrate_fold(paths, dataset, fold=fold, plans_name=plans_name, device=options.device)
    return result, folder


def _try(paths: Paths, plans: Plans, folds: list[str], offer: Offer, options: BestOptions) -> Result:
    """Try the whole grid on the validation sides of all folds, and choose."""
    preprocessed, grid = paths.preprocessed(plans.dataset_name), configurations(plans.inference, offer)
    healthy = {fold: healthy_validation_patches(preprocessed, plans, fold) for fold in folds}
    trials = {fold: _trials(paths, plans, healthy[fold], fold, options) for fold in folds}
    all_trials = [trial for fold in folds for trial in trials[fold]]
    if not any(np.any(trial.lesions) for trial in all_trials):
        raise DataError("SWEEP-LESIONS", f"none of the {len(all_trials)} trials has a lesion. Choose other folds.")
    logger.info("%d configurations, %d trials, folds %s", len(grid), len(all_trials), " ".join(folds))
    device = choose_device(options.device)

    def load(fold: str, changed: Plans) -> Fold:
        return load_trained_fold(paths, changed, fold, device)

    tried = merged(
        [
            try_configurations(partial(load, fold), plans, grid, healthy=healthy[fold], trials=trials[fold])
            for fold in folds
        ]
    )
    choice = choose(
        tried,
        [trial.case for trial in all_trials],
        start=plans.inference,
        limit=offer.most_false_candidates,
        bootstrap=Bootstrap(),
    )
    return Result(
        dataset=plans.dataset_name,
        plans_name=plans.plans_name,
        folds=folds,
        source="drawn" if options.drawn else "inserted",
        limit=offer.most_false_candidates,
        num_trials=len(all_trials),
        num_negative=sum(not np.any(trial.lesions) for trial in all_trials),
        tried=tried,
        choice=choice,
    )


def with_choice(plans: Plans, result: Result) -> Plans:
    """The plans with the chosen configuration, and where every changed field comes from."""
    chosen = result.tried[result.choice.chosen]
    source = f"chosen by nnanomaly_find_best_configuration on fold {' '.join(result.folds)}"
    reason = (
        f"{source}: F1 {chosen.f1:.3f} on {result.num_trials} trials with {result.source} lesions, "
        f"{chosen.false_candidates_per_organ:.2f} candidates per healthy organ"
    )
    names = {"detector", *changes(chosen.plan, plans.inference)}
    return replace(
        plans, inference=chosen.plan, reasons={**plans.reasons, **{f"inference.{name}": reason for name in names}}
    )


def _plan_of_head(paths: Paths, plans: Plans, folds: set[str]) -> InferencePlan | None:
    """How the lesion head was trained; None unless every fold has one that fits the plans."""
    folder = paths.model(plans.dataset_name, plans.plans_name, HEAD)
    present = set(find_folds(folder))
    if not folds <= present:
        if present:
            logger.info("the lesion head is left out: fold %s has none", " ".join(sorted(folds - present)))
        return None
    trained = load_plans(folder / PLANS_JSON).inference
    if not all(_head_fits(folder / f"fold_{fold}" / FINAL, plans, trained) for fold in sorted(folds)):
        logger.info("the lesion head is left out: it was trained with other plans (%s)", folder / PLANS_JSON)
        return None
    return trained


def _head_fits(path: Path, plans: Plans, trained: InferencePlan) -> bool:
    """Whether a head belongs to the plans with the residuals that it was trained with, which the grid takes from it."""
    residuals = {name: getattr(trained, name) for name in RESIDUAL_FIELDS}
    try:
        wanted = replace(plans, inference=replace(plans.inference, **residuals))
    except ConfigurationError:  # residuals that these plans cannot have, such as one to a guide they lack
        return False
    identity = checkpoint_field(load_checkpoint(path), "plans_identity", str, path=path)
    return fits(identity, wanted.identity_of(HEAD))


def _trials(
    paths: Paths, plans: Plans, healthy: Mapping[str, Patch], fold: str, options: BestOptions
) -> Sequence[Trial]:
    if not options.drawn:
        window = plans.preprocessing.window_hu
        return generated_trials(healthy, window_hu=window, seed=options.seed, variants=options.variants)
    drawn = DrawnLesions.of_dataset(paths.raw(plans.dataset_name))
    patches = validation_patches(paths.preprocessed(plans.dataset_name), plans, fold)
    trials = drawn_trials(patches, drawn.read)
    if not trials:
        raise drawn.missing()
    return trials
