"""Training a stage of a dataset, and before it the stages it lacks: folders and devices around the pure parts."""

import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nnanomaly import __version__
from nnanomaly.checkpoint import BEST, FINAL, checkpoint_hash, find_folds
from nnanomaly.device import choose_device, memory_fault
from nnanomaly.diffusion.codecs import Codec, fit_channel_statistics
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.paths import (
    DATASET_JSON,
    LATENT_SCALING_JSON,
    NO_TRACKER,
    PLANS_JSON,
    SAMPLES,
    SUMMARY_JSON,
    TRACKED,
    VALIDATION,
    Paths,
)
from nnanomaly.plans import STAGES, Plans, load_plans, save_plans
from nnanomaly.trained_model import SCALING_KEYS, SCALING_REMEDY, load_codec, load_vqgan, read_latent_scaling
from nnanomaly.training.batches import unchanged
from nnanomaly.training.fold_data import PatchSet, load_fold
from nnanomaly.training.latents import encode_patches
from nnanomaly.training.loop import fit
from nnanomaly.training.reconstruction_gate import measure_gate, refuse_poor_autoencoder
from nnanomaly.training.stage_setup import SETUPS
from nnanomaly.training.stage_state import (
    StageState,
    complete_finished,
    refuse_other_begun,
    refuse_other_finished,
    state_of,
)
from nnanomaly.training.trackers import open_tracker, tracked_run
from nnanomaly.utilities.claim import claimed
from nnanomaly.utilities.files import copy_atomically
from nnanomaly.utilities.json_io import read_document, to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers

logger = logging.getLogger(__name__)
REMEDY = (
    "End other programs on the device, use a smaller -batch_size, or plan for less memory "
    "(nnanomaly_plan_and_preprocess -gpu_memory_target); continue with --c."
)
"""What to do when the memory does not suffice."""
KEPT = "%s, fold %s, is trained: kept. --force trains it anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a command may say beyond the plans; it is recorded in debug.json."""

    device: str | None = None
    """Device name; None = cuda if there is one."""
    num_workers: int | None = None
    """Processes that load patches; None = 0 on a cpu, else 4."""
    resume: bool = False
    """Whether the user expects something to continue; where there is nothing, that is said."""
    tracker: str = NO_TRACKER
    """Program that follows the training, one of `paths.TRACKERS`."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Other values for fields of the training plan of every stage that is trained."""


@memory_fault(REMEDY)
def train_stages(
    paths: Paths, dataset: str, stage: str, *, fold: int | str, plans_name: str, options: TrainingOptions
) -> None:
    """Train `stage` of one fold and the stages before it: finished ones are kept, interrupted ones continued.

    Raises IntegrityError (CKPT-PLANS, CKPT-VQGAN) for a stage that was trained, or begun, with other plans or on
    another vqgan.
    """
    plans = load_plans(paths.plans(dataset, plans_name))
    patches = load_fold(paths.preprocessed(dataset), plans.data_identifier, fold)
    device = choose_device(options.device)
    for name in _stages_up_to(stage, plans):  # before anything is trained that a later one would not fit
        _refuse_other(paths, plans, name, fold)
    for name in _stages_up_to(stage, plans):
        folder = paths.fold(dataset, plans_name, name, fold)
        remove_leftovers(folder, folder.parent, folder / VALIDATION, folder / SAMPLES)
        _train_or_keep(paths, plans, name, fold, patches, device, options, wanted=name == stage)
        if name == "vqgan":
            _ensure_latent_scaling(folder, plans, patches[0], device)
            if stage == "vqgan":
                measure_gate(folder, plans, patches[1], device)


def _train_or_keep(
    paths: Paths,
    plans: Plans,
    stage: str,
    fold: int | str,
    patches: tuple[PatchSet, PatchSet],
    device: torch.device,
    options: TrainingOptions,
    *,
    wanted: bool,
) -> None:
    """Bring one stage to its end, whatever state it is in."""
    folder, vqgan = (paths.fold(plans.dataset_name, plans.plans_name, name, fold) for name in (stage, "vqgan"))
    _refuse_other(paths, plans, stage, fold)
    state = state_of(folder)
    if state is StageState.FINISHED:
        complete_finished(folder)
        if wanted:
            logger.info(KEPT, stage, fold)
        return
    begun = state is StageState.BEGUN
    if begun:
        logger.info("%s, fold %s, was interrupted: continuing", stage, fold)
    elif not wanted:
        logger.info("%s is not trained yet: training it first", stage)
    if stage != "vqgan":
        refuse_poor_autoencoder(measure_gate(vqgan, plans, patches[1], device), plans, stage=stage, fold=fold)
    changed = plans.with_training(stage, **options.changes)
    resume = begun or (wanted and options.resume)
    _train_stage(paths, changed, stage, fold, patches, device, options, resume)


def _refuse_other(paths: Paths, plans: Plans, stage: str, fold: int | str) -> None:
    """Refuse what is there of a stage if it is of other plans, or built on another vqgan than that which is there."""
    folder, vqgan = (paths.fold(plans.dataset_name, plans.plans_name, name, fold) for name in (stage, "vqgan"))
    built_on = {}
    if stage != "vqgan" and state_of(folder) is not StageState.NEW and (vqgan / FINAL).is_file():
        built_on = {"vqgan_sha256": checkpoint_hash(vqgan / FINAL)}
    if state_of(folder) is StageState.FINISHED:
        refuse_other_finished(folder, identity=plans.identity_of(stage), **built_on)
    elif built_on:
        refuse_other_begun(folder, **built_on)


def _stages_up_to(stage: str, plans: Plans) -> list[str]:
    """The stage and those before it; a classifier only where its gradient guides."""
    names = list(STAGES[: STAGES.index(stage) + 1])
    if stage == "ddpm" and not plans.inference.needs_classifier:
        names.remove("classifier")
    return names


def _train_stage(
    paths: Paths,
    plans: Plans,
    stage: str,
    fold: int | str,
    patches: tuple[PatchSet, PatchSet],
    device: torch.device,
    options: TrainingOptions,
    resume: bool,
) -> None:
    model = paths.model(plans.dataset_name, plans.plans_name, stage)
    folder = paths.fold(plans.dataset_name, plans.plans_name, stage, fold)
    vqgan_folder = paths.fold(plans.dataset_name, plans.plans_name, "vqgan", fold)
    codec: Codec | None = None
    extra: dict[str, Any] = {"plans_identity": plans.identity_of(stage), "stage": stage, "version": __version__}
    if stage == "vqgan":
        extra["codec"] = plans.vqgan.codec
    else:
        codec = load_codec(vqgan_folder, plans, device)
        extra["vqgan_sha256"] = checkpoint_hash(vqgan_folder / FINAL)
    workers = options.num_workers if options.num_workers is not None else (0 if device.type == "cpu" else 4)
    setup = SETUPS[stage](plans, *patches, codec=codec, device=device, num_workers=workers)
    with claimed(folder):
        if not resume:
            forget_earlier_run(folder)
        if not find_folds(model):  # the documents of finished folds are theirs until this one is finished too
            write_model_documents(paths, plans, stage)
        document = debug_document(plans, stage, fold, device, options)
        write_json(folder / "debug.json", document)
        logger.info("training %s, fold %s: %d iterations on %s", stage, fold, setup.training.num_iterations, device)
        result = fit(
            setup.stage,
            setup.batches,
            plan=setup.training,
            run_dir=folder,
            validation=setup.validation,
            extra=extra,
            resume=resume,
            facts=setup.facts,
            tracker=open_tracker(options.tracker, tracked_run(folder, document)),
        )
        write_json(folder / VALIDATION / SUMMARY_JSON, result)
        if stage != "ddpm":  # that of the ddpm is what predictions go by: its calibration replaces it
            write_model_documents(paths, plans, stage)


def write_model_documents(paths: Paths, plans: Plans, stage: str) -> None:
    """plans.json and dataset.json beside the folds of a stage."""
    model = paths.model(plans.dataset_name, plans.plans_name, stage)
    save_plans(model / PLANS_JSON, plans)
    copy_atomically(paths.preprocessed(plans.dataset_name) / DATASET_JSON, model / DATASET_JSON)


def forget_earlier_run(folder: Path) -> None:
    """A run that begins must not mix with log, samples and curves of one that ended before its first checkpoint."""
    for pattern in (BEST, "debug.json", "log.jsonl", f"{SAMPLES}/*.png", f"{TRACKED}/events.*"):
        for path in folder.glob(pattern):
            path.unlink()


def _ensure_latent_scaling(folder: Path, plans: Plans, train: PatchSet, device: torch.device) -> None:
    """Measure how latents are scaled to unit variance (or to the codebook's range), once per autoencoder and form."""
    path, form = folder / LATENT_SCALING_JSON, plans.ddpm.latent_scaling
    known = read_document(path, dict[str, Any], remedy=SCALING_REMEDY) if path.is_file() else {}
    checkpoint = checkpoint_hash(folder / FINAL)
    if known.get("vqgan_sha256") == checkpoint and set(SCALING_KEYS[form]) <= set(known.get("values") or ()):
        read_latent_scaling(path, plans)
        return
    vqgan = load_vqgan(folder, plans, device)
    if form == "codebook_range":
        assert isinstance(vqgan, VQGAN)  # plans of another codec cannot ask for it
        codes = vqgan.codebook.codes
        values = {"low": [float(codes.min())], "high": [float(codes.max())]}
    else:
        latents = encode_patches(
            train.loader(), len(train.names), vqgan.encode, augmentations=[unchanged], seed=0, device=device
        )
        statistics = fit_channel_statistics([latents])
        values = {"mean": statistics.mean.tolist(), "std": statistics.std.tolist()}
    # Another form stays beside it: a model that is trained already goes by that one.
    others = known["values"] if known.get("vqgan_sha256") == checkpoint else {}
    write_json(path, {"vqgan_sha256": checkpoint, "values": {**others, **values}})


def debug_document(
    plans: Plans, stage: str, fold: int | str, device: torch.device, options: TrainingOptions
) -> dict[str, Any]:
    """What debug.json records of a run."""
    return {
        "version": __version__,
        "torch_version": torch.__version__,
        "num_threads": torch.get_num_threads(),
        "python_version": platform.python_version(),
        "device": str(device),
        "dataset": plans.dataset_name,
        "stage": stage,
        "fold": str(fold),
        "plans_identity": plans.identity,
        "training": to_document(plans.training_of(stage)),
        "overrides": options.changes,
    }
