"""The sweep of a fold: noise level and guidance are tried on its validation side, the best setting goes into the plans.

As the paper did with annotated lesions (`drawn`), or, without any, on lesions inserted into healthy organs. The choice
is written to the plans file, with its reason, and the fold is calibrated anew, so that prediction uses it.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from nnanomaly.arrays import FloatArray
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibrate_api import (
    calibrate_fold,
    calibration_of,
    healthy_validation_patches,
    validation_patches,
)
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.load_fold import load_trained_fold
from nnanomaly.inference.postprocessing import otsu_threshold
from nnanomaly.inference.read import read
from nnanomaly.patch import Patch
from nnanomaly.paths import SWEEP, Paths
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.tuning.drawn_lesions import DrawnLesions
from nnanomaly.tuning.sweep.files import write_sweep
from nnanomaly.tuning.sweep.outcomes import Outcome, best_outcome, score_trials
from nnanomaly.tuning.sweep.settings import candidate_plans
from nnanomaly.tuning.trials import DIAMETERS_MM, Trial, drawn_trials, inserted_trials
from nnanomaly.utilities.progress import all_shown

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOptions:
    """What `nnanomaly_sweep` may be told."""

    sigmas: tuple[float, ...] | None = None
    """Noise levels; None = around that of the plans."""
    scales: tuple[float, ...] | None = None
    """Guidance scales; None = around that of the plans."""
    drawn: bool = False
    """Whether lesions drawn by a person are used, as the paper did; else inserted ones."""
    metric: str = "dice"
    """What the best setting is best in: `dice` or `f1`."""
    device: str | None = None
    """Device name."""
    seed: int = 0
    """Seed of the inserted lesions."""


@memory_fault("End other programs on the device, or sweep with -device cpu.")
def sweep_fold(
    paths: Paths, dataset: str, *, fold: int | str, plans_name: str, options: SweepOptions
) -> tuple[list[Outcome], Outcome]:
    """Try every setting, keep the best one in the plans, calibrate the fold with it; returns all and the best."""
    plans_path = paths.plans(dataset, plans_name)
    plans = load_plans(plans_path)
    # A reducer belongs to the maps of one setting.
    plans = replace(plans, inference=replace(plans.inference, reduction="none"))
    healthy = healthy_validation_patches(paths.preprocessed(dataset), plans, fold)
    trials = _trials(paths, plans, healthy, fold, options)
    variants = candidate_plans(plans, sigmas=options.sigmas, scales=options.scales)
    device = choose_device(options.device)
    outcomes: list[Outcome] = []
    for variant in all_shown(variants, "settings"):
        trained = load_trained_fold(paths, variant, fold, device)
        if not trained.guidance and any(o.sigma == variant.inference.sigma for o in outcomes):
            continue  # without guidance its scale changes nothing
        outcomes.append(_try(trained, variant, healthy, trials))
        logger.info("%s", _line(outcomes[-1], options.metric))
    best = best_outcome(outcomes, options.metric)
    chosen = _chosen(variants, best, plans, fold, options)
    write_sweep(
        paths.fold(dataset, plans_name, "ddpm", fold) / SWEEP,
        outcomes,
        best,
        metric=options.metric,
        source="drawn" if options.drawn else "inserted",
    )
    save_plans(plans_path, chosen)
    calibrate_fold(paths, dataset, fold=fold, plans_name=plans_name, device=options.device)
    return outcomes, best


def _trials(
    paths: Paths, plans: Plans, healthy: Mapping[str, Patch], fold: int | str, options: SweepOptions
) -> list[Trial]:
    if not options.drawn:
        return inserted_trials(
            healthy, window_hu=plans.preprocessing.window_hu, seed=options.seed, diameters_mm=DIAMETERS_MM
        )
    patches = validation_patches(paths.preprocessed(plans.dataset_name), plans, fold)
    drawn = DrawnLesions.of_dataset(paths.raw(plans.dataset_name))
    trials = drawn_trials(patches, drawn.read)
    if not trials:
        raise drawn.missing()
    return trials


def _try(trained: Fold, plans: Plans, healthy: Mapping[str, Patch], trials: Sequence[Trial]) -> Outcome:
    """Calibrate one setting on healthy organs, then find the lesions of the trials with it."""
    calibration = calibration_of(trained, list(healthy.values()), plans)
    maps = [read(trial, trained, calibration, plans).anomaly for trial in trials]
    otsu = plans.inference.threshold == "otsu"

    def threshold(anomaly: FloatArray, trial: Trial) -> float:
        return otsu_threshold(anomaly, trial.covered) if otsu else calibration.threshold

    numbers: dict[str, Any] = score_trials(trials, maps, plans.inference, threshold=threshold)
    return Outcome(
        sigma=plans.inference.sigma,
        guidance=plans.inference.guidance if trained.guidance else "none",
        guidance_scale=plans.inference.guidance_scale if trained.guidance else 0.0,
        threshold=None if otsu else calibration.threshold,
        false_candidates_per_organ=calibration.false_candidates_per_organ,
        **numbers,
    )


def _chosen(variants: Sequence[Plans], best: Outcome, plans: Plans, fold: int | str, options: SweepOptions) -> Plans:
    """The plans with the inference settings of the best outcome, and where they come from."""
    inference = next(
        v.inference
        for v in variants
        if v.inference.sigma == best.sigma and best.guidance_scale in (0.0, v.inference.guidance_scale)
    )
    source = "drawn" if options.drawn else "inserted"
    reason = (
        f"chosen by nnanomaly_sweep on fold {fold}: best {options.metric} ({getattr(best, options.metric):.3f}) on "
        f"{best.num_lesions} {source} lesions"
    )
    reasons = {**plans.reasons, "inference.sigma": reason, "inference.num_steps": f"see inference.sigma; {reason}"}
    if best.guidance != "none":
        reasons["inference.guidance_scale"] = reason
    return replace(plans, inference=inference, reasons=reasons)


def _line(outcome: Outcome, metric: str) -> str:
    return (
        f"sigma {outcome.sigma:g}, guidance {outcome.guidance} {outcome.guidance_scale:g}: "
        f"{metric} {getattr(outcome, metric):.3f}, recall {outcome.recall:.2f} of {outcome.num_lesions}, "
        f"{outcome.false_candidates_per_organ:.2f} candidates per healthy organ"
    )
