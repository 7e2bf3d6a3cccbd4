"""What follows an autoencoder: how its latents are scaled, and whether it keeps enough of an organ."""

from pathlib import Path
from typing import Any

import torch

from nnanomaly.checkpoint import FINAL, checkpoint_hash
from nnanomaly.diffusion.codecs import fit_channel_statistics
from nnanomaly.networks.vqgan import VQGAN
from nnanomaly.paths import LATENT_SCALING_JSON
from nnanomaly.plans import Plans
from nnanomaly.trained_model import SCALING_KEYS, SCALING_REMEDY, load_vqgan, read_latent_scaling
from nnanomaly.training.batches import unchanged
from nnanomaly.training.fold_data import PatchSet
from nnanomaly.training.latents import encode_patches
from nnanomaly.training.reconstruction_gate import measure_gate
from nnanomaly.training.stage_run import StageRun
from nnanomaly.utilities.json_io import read_document, write_json


def finish_vqgan(run: StageRun, *, kept: bool) -> None:
    """Make the autoencoder, trained or kept, ready for the stages after it."""
    _ensure_latent_scaling(run.folder, run.plans, run.train, run.device)
    if run.wanted:
        measure_gate(run.folder, run.plans, run.val, run.device)


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
