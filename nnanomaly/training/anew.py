"""A fold that is trained anew beside the one that predicts, and takes its place when it is finished.

The new one grows in a folder of its own with the layout of the results folder. What is kept of the fold is linked into
it, what is trained anew and all that was built on that is not. So every command works there as in any results folder,
and the old fold stays whole until the new one predicts. Then all stages change places as one; the old ones stay too.
"""

import logging
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from nnanomaly.checkpoint import FINAL, LATEST, PREVIOUS
from nnanomaly.paths import ANEW_JSON, CALIBRATION_JSON, DATASET_JSON, PLANS_JSON, SUMMARY_JSON, VALIDATION, Paths
from nnanomaly.plans import Plans
from nnanomaly.stages import ALL, CALIBRATED, stages_built_on
from nnanomaly.training.stage_state import EXAMPLES
from nnanomaly.utilities.claim import CLAIM, claimed
from nnanomaly.utilities.files import copy_atomically, link_or_copy
from nnanomaly.utilities.json_io import write_json
from nnanomaly.utilities.replacement import Move, finish_held, one_at_a_time, replace_together

logger = logging.getLogger(__name__)
OLDER, REPLACED = "older", "replaced"


def is_begun(anew: Paths) -> bool:
    """Whether a fold is being trained in the folders of `Paths.anew`; without this mark they are a remainder."""
    return (anew.results_folder() / ANEW_JSON).is_file()


def holds_work(paths: Paths, plans: Plans, fold: int | str, stages: Collection[str]) -> bool:
    """Whether some stages of a fold have anything that training them would replace."""
    folders = [paths.fold(plans.dataset_name, plans.plans_name, stage, fold) for stage in stages]
    return any(next(folder.glob(pattern), None) for folder in folders for pattern in ("*.pth", "*.json"))


def may_predict(paths: Paths, plans: Plans, fold: int | str) -> bool:
    """Whether a fold has a calibration."""
    folder = paths.fold(plans.dataset_name, plans.plans_name, CALIBRATED, fold)
    return next(folder.glob(f"{Path(CALIBRATION_JSON).stem}*.json"), None) is not None


def begin_anew(
    paths: Paths, plans: Plans, fold: int | str, *, anew_stages: Collection[str], extended: Collection[str] = ()
) -> Paths:
    """Make the folders in which stages of a fold are trained anew, or go on from where they ended (`extended`).

    Whatever lay there before, of an earlier start that was not brought to its end, is given up. The caller holds the
    folder.
    """
    where = paths.anew(plans.dataset_name, plans.plans_name, fold)
    root = where.results_folder()
    (root / ANEW_JSON).unlink(missing_ok=True)  # from here on a remainder
    _clear(root)
    changed = {*anew_stages, *extended}
    stale = {later for stage in changed for later in stages_built_on(stage, plans.inference)} - set(anew_stages)
    for stage in ALL:
        old, new = (place.fold(plans.dataset_name, plans.plans_name, stage, fold) for place in (paths, where))
        if stage in extended:
            _link(old, new)
            _let_go_on(new)
        elif stage not in changed | stale:
            _link(old, new)
        elif stage in anew_stages:  # examples know by themselves whether they fit
            _link(old / EXAMPLES, new / EXAMPLES)
        for name in (PLANS_JSON, DATASET_JSON):
            if (old.parent / name).is_file():
                copy_atomically(old.parent / name, new.parent / name)
    write_json(root / ANEW_JSON, {"stages": sorted(anew_stages), "extended": sorted(extended)})
    dropped = [s for s in ALL if s in stale and holds_work(paths, plans, fold, [s])]
    logger.info(
        "%s, fold %s: %s in %s; the model that is there stays as it is until this one is finished%s",
        ", ".join(stage for stage in ALL if stage in changed),
        fold,
        "going on from a copy" if extended else "training anew",
        root,
        f". What was built on it no longer fits the new one: {', '.join(dropped)}" if dropped else "",
    )
    return where


def remove_remainder(anew: Paths) -> None:
    """Delete what a process left that was killed before it began, or after all of it had taken its place."""
    root = anew.results_folder()
    if root.is_dir():
        with claimed(root):
            if not is_begun(anew):
                _clear(root)
        if not any(root.iterdir()):
            root.rmdir()


def _clear(root: Path) -> None:
    for path in root.iterdir() if root.is_dir() else ():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != CLAIM:
            path.unlink()


def _link(old: Path, new: Path) -> None:
    """The files of a stage under another name as well; no calibration and no prediction, which belong to the old."""
    for path in sorted(old.rglob("*")) if old.is_dir() else ():
        inner = path.relative_to(old)
        predicted = inner.parts[0] == VALIDATION and inner.suffix != Path(SUMMARY_JSON).suffix
        calibrated = inner.match(f"{Path(CALIBRATION_JSON).stem}*.json")
        hidden = path.name == CLAIM or path.name.startswith(".tmp-")
        if path.is_file() and not (predicted or calibrated or hidden):
            link_or_copy(path, new / inner)


def _let_go_on(folder: Path) -> None:
    """Make the end of a run the newest point of one that goes on."""
    (folder / PREVIOUS).unlink(missing_ok=True)
    (folder / FINAL).replace(folder / LATEST)


def take_place(paths: Paths, plans: Plans, fold: int | str) -> Path:
    """Put the finished fold into its place, all stages as one; returns the folder where the old one lies.

    Folds beside it must know their own plans by then. Raises EnvironmentFault (ENV-REPLACE, ENV-BUSY); the old fold is
    then where it was.
    """
    dataset, name = plans.dataset_name, plans.plans_name
    root = paths.results_folder() / dataset
    anew, before = paths.anew(dataset, name, fold), paths.before(dataset, name, fold)
    with one_at_a_time(root):
        finish_held(root)
        for stage in ALL:
            refuse_busy(paths.fold(dataset, name, stage, fold))
            _copy_documents(anew.model(dataset, name, stage), paths.model(dataset, name, stage))
        _set_aside_older(before.results_folder(), anew.results_folder() / OLDER)
        replace_together(root, list(_moves(paths, plans, fold)))
    shutil.rmtree(anew.results_folder())
    return before.results_folder()


def _moves(paths: Paths, plans: Plans, fold: int | str) -> Iterator[Move]:
    dataset, name = plans.dataset_name, plans.plans_name
    root = paths.results_folder() / dataset
    anew, before = paths.anew(dataset, name, fold), paths.before(dataset, name, fold)
    for stage in ALL:
        target, source, kept = (place.fold(dataset, name, stage, fold) for place in (paths, anew, before))
        if target.exists() or source.exists():
            yield Move(
                target=target.relative_to(root).as_posix(),
                source=source.relative_to(root).as_posix() if source.exists() else None,
                kept=kept.relative_to(root).as_posix(),
            )
    mark = anew.results_folder() / ANEW_JSON
    kept_mark = mark.with_name(REPLACED)
    yield Move(target=mark.relative_to(root).as_posix(), source=None, kept=kept_mark.relative_to(root).as_posix())


def refuse_busy(folder: Path) -> None:
    """Raise EnvironmentFault (ENV-BUSY) where another process trains in a folder."""
    if folder.is_dir():
        with claimed(folder):
            pass


def _copy_documents(new: Path, old: Path) -> None:
    for name in (PLANS_JSON, DATASET_JSON):
        if (new / name).is_file():
            copy_atomically(new / name, old / name)


def _set_aside_older(before: Path, older: Path) -> None:
    """Keep one old fold, not two: the one before it goes once the new one is in its place."""
    if not before.exists():
        return
    if older.exists():  # an attempt that was taken back has left empty folders
        shutil.rmtree(before)
    else:
        before.rename(older)
