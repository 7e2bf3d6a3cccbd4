"""A model archive into the results folder: unpacked aside, checked, tried, and only then put in its place.

The weights become checkpoints of this program again. Their hashes are others than those of the original, so every
link between the stages and the calibration is made anew; that the parts belong together was checked at the export, and
the hashes of the manifest keep them together.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nnanomaly.checkpoint import FINAL, checkpoint_hash, save_checkpoint
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.experiment_planning.memory import DEMANDS
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.loaded_model import ModelRequest, load_model
from nnanomaly.inference.reducer_file import read_reducer, save_reducer
from nnanomaly.model_sharing.archive import unpack
from nnanomaly.model_sharing.disk_faults import disk_faults
from nnanomaly.model_sharing.manifest import MANIFEST_JSON, MODEL_CARD, NAME_PATTERN, Manifest
from nnanomaly.model_sharing.weights import import_weights
from nnanomaly.paths import (
    CALIBRATION_JSON,
    DATASET_JSON,
    DATASET_PATTERN,
    LATENT_SCALING_JSON,
    PLANS_JSON,
    REDUCER_JSON,
    Paths,
    check_fold,
)
from nnanomaly.plans import Plans, load_plans
from nnanomaly.stages import ALL, AUTOENCODER, CALIBRATED, NETWORKS, REDUCTION, links_of, planned_networks
from nnanomaly.trained_model import read_latent_scaling
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault, IntegrityError, UserError
from nnanomaly.utilities.files import copy_atomically
from nnanomaly.utilities.json_io import read_document, read_json, to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers, temporary_folder
from nnanomaly.utilities.replacement import (
    JOURNAL,
    Move,
    finish_held,
    finish_replacements,
    one_at_a_time,
    replace_together,
)

logger = logging.getLogger(__name__)
INSTALLING, REPLACED = "installing", "replaced"
MAX_DEMAND_GB = 1000
"""Memory of a training step of one patch: beyond every device there is."""
MALFORMED = (RuntimeError, LookupError, TypeError, AttributeError, ValueError, FileNotFoundError)
"""What networks and readers raise for weights and documents that fit no plans."""


def install_model(paths: Paths, archive: Path, *, overwrite: bool, max_gb: float) -> Manifest:
    """Install an exported model; returns its manifest.

    Raises ConfigurationError (CFG-OUTPUT) if there is a model of that name, IntegrityError (MODEL-...) for an
    archive that is not what it claims to be, and EnvironmentFault (MODEL-WRITE, ENV-REPLACE) where the disk refuses;
    the results folder is then as it was.
    """
    root = paths.results_folder()
    with disk_faults(root, "Nothing was installed."):
        root.mkdir(parents=True, exist_ok=True)
        for name in paths.dataset_names():
            finish_replacements(root / name)
        remove_leftovers(root)
        with temporary_folder(root / "install") as work:
            unpacked, staged = work / "archive", Paths(None, None, work / "results")
            unpacked.mkdir()
            manifest = unpack(archive, unpacked, max_bytes=max_gb * 1e9)
            with _blame(archive, work):
                plans = load_plans(unpacked / PLANS_JSON)
                _check_names(manifest, plans)
                _check_effort(plans)
            _refuse_existing(paths, plans, overwrite)
            with _blame(archive, work):
                for fold in manifest.folds:
                    _build_fold(staged, plans, check_fold(fold), unpacked)
                request = ModelRequest(folds=manifest.folds, plans_name=plans.plans_name, device="cpu")
                load_model(staged, plans.dataset_name, request)
            _put_in_place(staged, paths, plans, overwrite=overwrite)
    return manifest


@contextmanager
def _blame(archive: Path, work: Path) -> Iterator[None]:
    """Say of what is wrong with unpacked files that it is wrong with the archive."""
    try:
        yield
    except EnvironmentFault:
        raise
    except (UserError, *MALFORMED) as error:
        first_line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = first_line.removeprefix("[NNA-MODEL-CONTENT] ").replace(f"{work}/", "")
        raise IntegrityError("MODEL-CONTENT", f"{archive} holds no model that can predict: {reason}") from error


def _check_names(manifest: Manifest, plans: Plans) -> None:
    """Folders are named after the dataset and the plans: refuse names that are none, or two for one thing."""
    names = (plans.dataset_name, plans.plans_name)
    if names != (manifest.dataset, manifest.plans_name):
        raise IntegrityError(
            "MODEL-CONTENT", f"manifest and plans name different models, {manifest.dataset!r} and {names}"
        )
    if not all(map(NAME_PATTERN.fullmatch, names)) or not DATASET_PATTERN.fullmatch(plans.dataset_name):
        raise IntegrityError("MODEL-CONTENT", f"{names} are no names of a dataset and of plans")
    if not manifest.folds:
        raise IntegrityError("MODEL-CONTENT", "it has no fold")


def _check_effort(plans: Plans) -> None:
    """Refuse plans that no machine can follow, by the planner's memory rule, before a network is built."""
    for stage in planned_networks(plans.inference):
        needed_gb = DEMANDS[stage](plans).gb(1)
        if needed_gb > MAX_DEMAND_GB:
            raise IntegrityError(
                "MODEL-CONTENT",
                f"the plans of {stage} (widths, blocks_per_level, patch_size) need {needed_gb:.0f} GB for one patch, "
                f"more than {MAX_DEMAND_GB} GB",
            )


def _refuse_existing(paths: Paths, plans: Plans, overwrite: bool) -> None:
    folders = [paths.model(plans.dataset_name, plans.plans_name, stage) for stage in ALL]
    existing = [folder for folder in folders if folder.exists()]
    if existing and not overwrite:
        raise ConfigurationError(
            "CFG-OUTPUT", f"{existing[0]} exists already. Move it away, or add --force to replace that model."
        )


def _build_fold(staged: Paths, plans: Plans, fold: str, unpacked: Path) -> None:
    """Checkpoints, latent scaling and calibration of a fold, linked to each other by the hashes they have here."""
    source = unpacked / f"fold_{fold}"
    calibration = read_document(source / CALIBRATION_JSON, Calibration, remedy="Get it anew.")
    hashes: dict[str, str] = {}
    for stage in (name for name in NETWORKS if name in calibration.checkpoints):
        folder = staged.fold(plans.dataset_name, plans.plans_name, stage, fold)
        state = {**import_weights(source / stage), **links_of(stage, hashes)}
        save_checkpoint(folder / FINAL, state, remedy="then install the model again.")
        hashes[stage] = checkpoint_hash(folder / FINAL)
        for name in (PLANS_JSON, DATASET_JSON):
            write_json(folder.parent / name, read_json(unpacked / name))
    if REDUCTION in calibration.checkpoints:
        path = staged.fold(plans.dataset_name, plans.plans_name, REDUCTION, fold) / REDUCER_JSON
        save_reducer(path, replace(read_reducer(source / REDUCER_JSON), checkpoints=dict(hashes)))
        hashes[REDUCTION] = checkpoint_hash(path)
    values = read_latent_scaling(source / LATENT_SCALING_JSON, plans)
    vqgan, ddpm = (
        staged.fold(plans.dataset_name, plans.plans_name, stage, fold) for stage in (AUTOENCODER, CALIBRATED)
    )
    write_json(vqgan / LATENT_SCALING_JSON, {"vqgan_sha256": hashes["vqgan"], "values": values})
    write_json(ddpm / CALIBRATION_JSON, to_document(replace(calibration, checkpoints=hashes, plans=plans)))
    for name in (MANIFEST_JSON, MODEL_CARD):
        copy_atomically(unpacked / name, ddpm.parent / name)
    load_description(ddpm.parent)


def _put_in_place(staged: Paths, paths: Paths, plans: Plans, *, overwrite: bool) -> None:
    """Let the folders of all stages take their places as one; an older model goes only when the new one is there."""
    dataset, name = plans.dataset_name, plans.plans_name
    root = paths.results_folder() / dataset
    work = root / f"{INSTALLING}__{name}"
    with one_at_a_time(root):
        finish_held(root)
        _refuse_existing(paths, plans, overwrite)  # another process may have installed it meanwhile
        _delete(work)  # of a process that was killed before or after its renames
        staged.results_folder().rename(work)
        moves = []
        for stage in ALL:
            target, source = paths.model(dataset, name, stage), Paths(None, None, work).model(dataset, name, stage)
            moves.append(
                Move(
                    target=target.relative_to(root).as_posix(),
                    source=source.relative_to(root).as_posix() if source.exists() else None,
                    kept=(work / REPLACED / stage).relative_to(root).as_posix(),
                )
            )
        try:
            replace_together(root, moves)
        finally:
            if not (root / JOURNAL).exists():  # else the next command finishes with what lies there
                _delete(work)


def _delete(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        logger.warning("%s holds a model that was replaced, and cannot be deleted; it may go", folder)
