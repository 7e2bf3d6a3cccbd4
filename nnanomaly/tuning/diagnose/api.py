"""The diagnosis of a fold: its known validation lesions are followed from the scan to the candidates. Plans and
calibration stay as they are."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnanomaly.checkpoint import FINAL
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.inference.calibrate_api import healthy_validation_patches, validation_patches
from nnanomaly.inference.calibrated_fold import load_calibrated_fold
from nnanomaly.inference.checkpoint_choice import check_checkpoint
from nnanomaly.inference.model_documents import plans_of_fold
from nnanomaly.patch import Patch
from nnanomaly.paths import DIAGNOSE, PLANS_JSON, Paths
from nnanomaly.plans import Plans, load_plans
from nnanomaly.tuning.diagnose.files import Diagnosis, write_diagnosis
from nnanomaly.tuning.diagnose.scenes import Scene, scene_of_trial, trace_scene
from nnanomaly.tuning.diagnose.waterfall import Criteria
from nnanomaly.tuning.drawn_lesions import DrawnLesions
from nnanomaly.tuning.trials import inserted_trials
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.progress import shown
from nnanomaly.volume import Volume

DIAMETERS_MM = (10.0, 16.0, 25.0, 35.0, 45.0, 60.0, 75.0, 90.0)
"""Two in each size bin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnoseOptions:
    """What `nnanomaly_diagnose` may be told."""

    drawn: bool = False
    """Whether lesions drawn by a person are followed; else inserted ones."""
    checkpoint: str = FINAL
    """Checkpoint of the ddpm; the other stages are always final."""
    device: str | None = None
    """Device name."""
    seed: int = 0
    """Seed of the inserted lesions."""
    rounds: int = 2
    """How often every healthy organ gets an inserted lesion, each time another one."""


@memory_fault("End other programs on the device, or diagnose with -device cpu.")
def diagnose_fold(
    paths: Paths, dataset: str, *, fold: int | str, plans_name: str, options: DiagnoseOptions
) -> tuple[Diagnosis, Path]:
    """Follow the known lesions of the validation side of a fold; returns what was learned and the folder of its files.

    Works with the plans and the calibration that prediction uses. Raises DataError (SWEEP-DRAWN, SWEEP-LESIONS) where
    there is no lesion to follow, and what `load_calibrated_fold` raises.
    """
    check_checkpoint(options.checkpoint)
    folder = paths.fold(dataset, plans_name, "ddpm", fold)
    trained = (folder.parent / PLANS_JSON).is_file()  # not before the training
    plans = plans_of_fold(folder, options.checkpoint) if trained else load_plans(paths.plans(dataset, plans_name))
    scenes = _drawn_scenes(paths, plans, fold) if options.drawn else _inserted_scenes(paths, plans, fold, options)
    model = load_calibrated_fold(paths, plans, fold, choose_device(options.device), checkpoint=options.checkpoint)
    criteria = Criteria()
    traced = [trace_scene(s, model, plans, criteria=criteria) for s in shown(scenes, "scenes")]
    traces = [trace for result in traced for trace in result.lesions]
    if not traces:
        raise DataError("SWEEP-LESIONS", f"none of the {len(traced)} places has a lesion that counts. Choose a fold.")
    calibrated = plans.inference.threshold == "calibrated"
    diagnosis = Diagnosis(
        source="drawn" if options.drawn else "inserted",
        detector=plans.inference.detector,
        residual_of=plans.inference.residual_of,
        checkpoint=options.checkpoint,
        criteria=criteria,
        traces=traces,
        num_scenes=len(traced),
        num_false=sum(result.num_false for result in traced),
        false_per_healthy_organ=model.calibration.false_candidates_per_organ if calibrated else None,
    )
    written = folder / DIAGNOSE / diagnosis.source
    write_diagnosis(written, diagnosis)
    return diagnosis, written


def _inserted_scenes(paths: Paths, plans: Plans, fold: int | str, options: DiagnoseOptions) -> Iterable[Scene]:
    healthy = healthy_validation_patches(paths.preprocessed(plans.dataset_name), plans, fold)
    for number in range(options.rounds):
        trials = inserted_trials(
            healthy,
            window_hu=plans.preprocessing.window_hu,
            seed=options.seed + number,
            diameters_mm=DIAMETERS_MM,
        )
        yield from map(scene_of_trial, trials)


def _drawn_scenes(paths: Paths, plans: Plans, fold: int | str) -> Iterator[Scene]:
    patches = validation_patches(paths.preprocessed(plans.dataset_name), plans, fold)
    drawn = DrawnLesions.of_dataset(paths.raw(plans.dataset_name))
    if not any(drawn.has(patch.case) for patch in patches.values()):
        raise drawn.missing()
    return drawn_scenes(patches, drawn.read)


def drawn_scenes(patches: Mapping[str, Patch], reference: Callable[[str], Volume | None]) -> Iterator[Scene]:
    """One scene per case with drawn lesions, on the grid of the drawing; cases without any are left out."""
    by_case: dict[str, list[Patch]] = {}
    for patch in patches.values():
        by_case.setdefault(patch.case, []).append(patch)
    for case, of_case in by_case.items():
        mask = reference(case)
        if mask is not None and np.any(mask.array):
            yield Scene(name=case, patches=of_case, grid=mask.grid, lesions=np.asarray(mask.array[0] > 0))
