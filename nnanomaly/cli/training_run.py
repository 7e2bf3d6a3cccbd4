"""A training command from its stages to a calibrated fold: in place, or beside a fold that is finished already."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from nnanomaly.inference.calibrate_api import calibrate_fold
from nnanomaly.inference.calibrated_fold import is_calibrated
from nnanomaly.inference.model_documents import seal_descriptions, seal_plans
from nnanomaly.paths import Paths
from nnanomaly.plans import FIXED_CODECS, Plans, load_plans, training_command
from nnanomaly.stages import CALIBRATED, HEAD, NETWORKS, SPECS, TABLE, asked_for, resolve, stages_built_on
from nnanomaly.training import train_api
from nnanomaly.training.anew import (
    begin_anew,
    holds_work,
    is_begun,
    may_predict,
    refuse_busy,
    remove_remainder,
    take_place,
)
from nnanomaly.training.stage_run import TrainingOptions
from nnanomaly.training.stage_state import StageState, may_be_extended, state_of
from nnanomaly.utilities.claim import claimed
from nnanomaly.utilities.replacement import finish_replacements

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoldTraining:
    """What is trained, and where."""

    paths: Paths
    """The folders of the user."""
    dataset: str
    """Its name."""
    plans_name: str
    """Name of the plans."""
    fold: str
    """Name of the fold."""
    configuration: str
    """A stage, or `all`."""
    options: TrainingOptions
    """What the command said."""
    force: bool
    """Whether finished stages are trained anew."""
    checkpoints: Sequence[str]
    """Checkpoints of the ddpm that are calibrated in the end; none for stages that do not predict."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that were asked for."""
        return asked_for(self.configuration)

    def plans(self) -> Plans:
        """The plans as they are now; training a head or a reduction changes them."""
        return load_plans(self.paths.plans(self.dataset, self.plans_name))


def train_fold(run: FoldTraining) -> None:
    """Train what was asked for, the detector that the plans name, and calibrate.

    What is finished is kept, and what was interrupted is continued. What would replace something that is finished grows
    beside it (`training.anew`) and takes its place when it predicts.
    """
    finish_replacements(run.paths.results_folder() / run.dataset)
    plans = run.plans()
    beginning = _what_begins_anew(run, plans)
    anew = run.paths.anew(run.dataset, run.plans_name, run.fold)
    if beginning is None and not is_begun(anew):
        remove_remainder(anew)
        _train_all(run, run.paths)
        return
    for stage in NETWORKS:
        refuse_busy(run.paths.fold(run.dataset, run.plans_name, stage, run.fold))
    with claimed(anew.results_folder()):
        if beginning is not None:
            begin_anew(run.paths, plans, run.fold, **beginning)
        else:
            logger.info("going on with fold %s in %s, which takes its place when finished", run.fold, anew.results_root)
        _train_all(run, anew)
    _end(run, plans)


def _train_all(run: FoldTraining, where: Paths) -> None:
    for stage in run.stages:
        _train(run, where, stage)
    if run.checkpoints:
        _train_detector(run, where)
        for checkpoint in run.checkpoints:
            _calibrate(run, where, checkpoint)


def calibrate_again(run: FoldTraining) -> None:
    """Only calibrate what is trained, whatever calibration is there."""
    finish_replacements(run.paths.results_folder() / run.dataset)
    for checkpoint in run.checkpoints:
        _calibrate_now(run, run.paths, checkpoint)


def _what_begins_anew(run: FoldTraining, plans: Plans) -> dict[str, Sequence[str]] | None:
    """The stages that this command must train (or extend) beside those that are there; None where there are none."""
    if run.force:
        later = {stage for asked in run.stages for stage in stages_built_on(asked, plans.inference)}
        there = holds_work(run.paths, plans, run.fold, {*run.stages, *later})
        return {"anew_stages": run.stages} if there else None
    if is_begun(run.paths.anew(run.dataset, run.plans_name, run.fold)):
        return None
    extended = [stage for stage in run.stages if run.options.resume and _goes_on(run, plans, stage)]
    if extended:
        return {"anew_stages": (), "extended": extended}
    if CALIBRATED in run.stages and may_predict(run.paths, plans, run.fold):
        folder = run.paths.fold(run.dataset, run.plans_name, CALIBRATED, run.fold)
        if state_of(folder) is StageState.NEW:  # another checkpoint than the final one is calibrated
            return {"anew_stages": (CALIBRATED,)}
    return None


def _goes_on(run: FoldTraining, plans: Plans, stage: str) -> bool:
    """Whether a finished stage is to have more iterations than it has."""
    learns_nothing = stage == "vqgan" and plans.vqgan.codec in FIXED_CODECS
    if stage not in NETWORKS or learns_nothing:
        return False
    training = plans.with_training(stage, **run.options.changes).training_of(stage)
    if stage == HEAD and plans.head.self_training_iterations:
        training = replace(training, num_iterations=plans.head.self_training_iterations)
    return may_be_extended(run.paths.fold(run.dataset, run.plans_name, stage, run.fold), training)


def _train(run: FoldTraining, where: Paths, stage: str) -> None:
    own = SPECS[stage].train
    train = resolve(own) if own else partial(train_api.train_stages, stage=stage)
    train(where, run.dataset, fold=run.fold, plans_name=run.plans_name, options=run.options)


def _train_detector(run: FoldTraining, where: Paths) -> None:
    """What the plans detect with besides the ddpm, unless this command or something built on it names it."""
    for spec in (spec for spec in TABLE if spec.purpose):
        inference = run.plans().inference  # as the one before has left it
        named = {spec.name, *stages_built_on(spec.name, inference)} & {*run.stages}
        if spec.used(inference) and not named:
            logger.info("the plans %s", spec.purpose)
            _train(run, where, spec.name)


def _calibrate(run: FoldTraining, where: Paths, checkpoint: str) -> None:
    """Calibrate unless there is a calibration that fits."""
    if is_calibrated(where, run.plans(), run.fold, checkpoint=checkpoint):
        logger.info("fold %s is calibrated for %s: kept. --val calibrates it again", run.fold, checkpoint)
    else:
        _calibrate_now(run, where, checkpoint)


def _calibrate_now(run: FoldTraining, where: Paths, checkpoint: str) -> None:
    calibrate_fold(
        where,
        run.dataset,
        fold=run.fold,
        plans_name=run.plans_name,
        device=run.options.device,
        checkpoint=checkpoint,
    )


def _end(run: FoldTraining, plans: Plans) -> None:
    """Let the fold take its place, unless one that predicts would give way to one that does not."""
    if not run.checkpoints and may_predict(run.paths, plans, run.fold):
        logger.info(
            "%s is trained beside fold %s, which goes on predicting. What was built on the old one is trained by: %s; "
            "then all of it takes its place",
            run.configuration,
            run.fold,
            training_command(run.dataset, CALIBRATED, run.fold, plans_name=run.plans_name),
        )
        return
    model = run.paths.model(run.dataset, run.plans_name, CALIBRATED)
    seal_plans(model)
    seal_descriptions(model)
    before = take_place(run.paths, plans, run.fold)
    logger.info("fold %s is the new one now; the old one lies whole in %s, delete it when you like", run.fold, before)
