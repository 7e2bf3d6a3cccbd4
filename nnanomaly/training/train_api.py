"""Training a stage of a dataset, and before it the stages it lacks: the one shell around all setups of the table."""

import logging

from nnanomaly.device import choose_device, memory_fault
from nnanomaly.paths import SAMPLES, VALIDATION, Paths
from nnanomaly.plans import load_plans
from nnanomaly.stages import AUTOENCODER, CALIBRATED, SPECS, resolve, stages_to_train
from nnanomaly.trained_model import require_checkpoint
from nnanomaly.training.fold_data import load_fold
from nnanomaly.training.reconstruction_gate import measure_gate, refuse_poor_autoencoder
from nnanomaly.training.stage_run import StageRun, TrainingOptions, fit_into, write_model_documents
from nnanomaly.training.stage_state import (
    StageState,
    complete_finished,
    refuse_other_begun,
    refuse_other_finished,
    state_of,
)
from nnanomaly.utilities.claim import claimed, remove_stale_claim
from nnanomaly.utilities.leftovers import remove_leftovers

logger = logging.getLogger(__name__)
REMEDY = (
    "End other programs on the device, use a smaller -batch_size, or plan for less memory "
    "(nnanomaly_plan_and_preprocess -gpu_memory_target); continue with --c."
)
"""What to do when the memory does not suffice."""
KEPT = "%s, fold %s, is trained: kept. --force trains it anew"


@memory_fault(REMEDY)
def train_stages(
    paths: Paths, dataset: str, stage: str, *, fold: int | str, plans_name: str, options: TrainingOptions
) -> None:
    """Train `stage` of one fold and the stages before it: finished ones are kept, interrupted ones continued.

    Raises ConfigurationError (CKPT-MISSING) without a stage that it is built on and does not train first, and
    IntegrityError (CKPT-PLANS, CKPT-VQGAN, CKPT-HEAD) for a stage that was trained, or begun, with other plans or on
    other checkpoints; and whatever the setup of a stage does.
    """
    plans = load_plans(paths.plans(dataset, plans_name))
    train, val = load_fold(paths.preprocessed(dataset), plans.data_identifier, fold)
    device = choose_device(options.device)
    runs = [
        StageRun(
            paths=paths,
            plans=plans.with_training(name, **options.changes),
            stage=name,
            fold=fold,
            train=train,
            val=val,
            device=device,
            options=options,
            wanted=name == stage,
        )
        for name in stages_to_train(stage, plans.inference)
    ]
    for run in runs:  # before anything is trained that a later one would not fit
        _require_earlier(run)
        _refuse_other(run)
    for run in runs:
        remove_leftovers(run.folder, run.folder.parent, run.folder / VALIDATION, run.folder / SAMPLES)
        remove_stale_claim(run.folder)
        kept = _train_or_keep(run)
        if SPECS[run.stage].finish:
            resolve(SPECS[run.stage].finish)(run, kept=kept)


def _require_earlier(run: StageRun) -> None:
    """Raise ConfigurationError (CKPT-MISSING) without a checkpoint that no earlier run of the command brings."""
    for name, path in run.built_on().items():
        if name not in SPECS[run.stage].before:
            require_checkpoint(path, run.plans, name, run.fold)


def _refuse_other(run: StageRun) -> None:
    """Refuse what is there of a stage if it is of other plans, or built on other checkpoints than are there now."""
    state = state_of(run.folder)
    if state is StageState.NEW:
        return
    links = run.links() if all(path.is_file() for path in run.built_on().values()) else {}
    if state is StageState.FINISHED:
        refuse_other_finished(run.folder, identity=run.plans.identity_of(run.stage), **links)
    elif links:
        refuse_other_begun(run.folder, **links)


def _train_or_keep(run: StageRun) -> bool:
    """Bring one stage to its end, whatever state it is in; returns whether it had come to it before."""
    _refuse_other(run)
    state, spec = state_of(run.folder), SPECS[run.stage]
    if state is StageState.FINISHED:
        complete_finished(run.folder)
        if run.wanted:
            logger.info(KEPT, run.stage, run.fold)
        return True
    if state is StageState.BEGUN:
        logger.info("%s, fold %s, was interrupted: continuing", run.stage, run.fold)
    elif not run.wanted:
        logger.info("%s is not trained yet: training it first", run.stage)
    if AUTOENCODER in spec.before:
        fidelity = measure_gate(run.folder_of(AUTOENCODER), run.plans, run.val, run.device)
        refuse_poor_autoencoder(fidelity, run.plans, stage=run.stage, fold=run.fold)
    with claimed(run.folder):
        fit_into(run.folder, run, resolve(spec.setup)(run))
        if run.stage != CALIBRATED:  # predictions go by the documents of that one: its calibration replaces them
            write_model_documents(run)
    return False
