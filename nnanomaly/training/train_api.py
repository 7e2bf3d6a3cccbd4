"""Training a stage of a dataset, and before it the stages it lacks: folders and devices around the pure parts."""

import logging
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from nnanomaly import __version__
from nnanomaly.checkpoint import FINAL, checkpoint_hash, load_checkpoint, newest_checkpoint
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
from nnanomaly.training.trackers import open_tracker, tracked_run
from nnanomaly.utilities.claim import claimed
from nnanomaly.utilities.errors import IntegrityError
from nnanomaly.utilities.files import copy_atomically
from nnanomaly.utilities.json_io import read_document, to_document, write_json
from nnanomaly.utilities.leftovers import remove_leftovers

logger = logging.getLogger(__name__)
REMEDY = (
    "End other programs on the device, use a smaller -batch_size, or plan for less memory "
    "(nnanomaly_plan_and_preprocess -gpu_memory_target); continue with --c."
)
"""What to do when the memory does not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOptions:
    """What a command may say beyond the plans; it is recorded in debug.json."""

    device: str | None = None
    """Device name; None = cuda if there is one."""
    num_workers: int | None = None
    """Processes that load patches; None = 0 on a cpu, else 4."""
    resume: bool = False
    """Whether to continue the newest checkpoint of the stage that was asked for."""
    tracker: str = NO_TRACKER
    """Program that follows the training, one of `paths.TRACKERS`."""
    changes: dict[str, Any] = field(default_factory=dict)
    """Other values for fields of the training plan of every stage that is trained."""


@memory_fault(REMEDY)
def train_stages(
    paths: Paths, dataset: str, stage: str, *, fold: int | str, plans_name: str, options: TrainingOptions
) -> None:
    """Train `stage` of one fold; stages before it that are not finished are trained (or continued) first."""
    plans = load_plans(paths.plans(dataset, plans_name))
    train, val = load_fold(paths.preprocessed(dataset), plans.data_identifier, fold)
    device = choose_device(options.device)
    for name in _stages_up_to(stage, plans):
        folder = paths.fold(dataset, plans_name, name, fold)
        remove_leftovers(folder, folder.parent, folder / VALIDATION, folder / SAMPLES)
        wanted = name == stage
        if not wanted and (folder / FINAL).is_file():
            load_checkpoint(folder / FINAL, identity=plans.identity_of(name))  # refuses a stage of other plans
            if name != "vqgan":
                vqgan = paths.fold(dataset, plans_name, "vqgan", fold) / FINAL
                _refuse_other_vqgan(folder, checkpoint_hash(vqgan), resume=True)
        else:
            started = newest_checkpoint(folder) is not None
            resume = options.resume if wanted else started
            if not wanted:
                logger.info("%s is not trained yet: %s it first", name, "continuing" if started else "training")
            if name != "vqgan":
                fidelity = measure_gate(paths.fold(dataset, plans_name, "vqgan", fold), plans, val, device)
                refuse_poor_autoencoder(fidelity, plans, stage=name, fold=fold)
            _train_stage(
                paths, plans.with_training(name, **options.changes), name, fold, (train, val), device, options, resume
            )
        if name == "vqgan":
            _ensure_latent_scaling(folder, plans, train, device)
            if wanted:
                measure_gate(folder, plans, val, device)


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
        _refuse_other_vqgan(folder, extra["vqgan_sha256"], resume)
    workers = options.num_workers if options.num_workers is not None else (0 if device.type == "cpu" else 4)
    setup = SETUPS[stage](plans, *patches, codec=codec, device=device, num_workers=workers)
    with claimed(folder):
        if not resume:
            forget_earlier_run(folder)
        save_plans(model / PLANS_JSON, plans)
        copy_atomically(paths.preprocessed(plans.dataset_name) / DATASET_JSON, model / DATASET_JSON)
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


def forget_earlier_run(folder: Path) -> None:
    """Starting anew must not mix with checkpoints, log, calibration, samples and curves of an earlier run."""
    for pattern in ("checkpoint_*.pth", "*.json", "log.jsonl", f"{SAMPLES}/*.png", f"{TRACKED}/events.*"):
        for path in folder.glob(pattern):
            path.unlink()


def _refuse_other_vqgan(folder: Path, vqgan_sha256: str, resume: bool) -> None:
    newest = newest_checkpoint(folder) if resume else None
    if newest is not None and load_checkpoint(newest).get("vqgan_sha256") != vqgan_sha256:
        raise IntegrityError(
            "CKPT-VQGAN",
            f"{newest} was trained on another vqgan than the one that is there now. Train it anew, without --c.",
        )


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
    write_json(path, {"vqgan_sha256": checkpoint, "values": values})


def debug_document(
    plans: Plans, stage: str, fold: int | str, device: torch.device, options: TrainingOptions
) -> dict[str, Any]:
    """What debug.json records of a run."""
    return {
        "version": __version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "device": str(device),
        "dataset": plans.dataset_name,
        "stage": stage,
        "fold": str(fold),
        "plans_identity": plans.identity,
        "training": to_document(plans.training_of(stage)),
        "overrides": options.changes,
    }
