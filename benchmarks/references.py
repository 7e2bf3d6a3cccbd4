"""What the bars above and below the method share: from a detector to a folder of predictions in our format.

A reference is a detector that needs no model of healthy organs. It goes through the predictor, the calibration on the
healthy validation organs, the composition and the post-processing of the method, so that it differs in its map alone.
"""

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ablation_models import budget_of_run
from ablation_rows import METHOD_JSON
from numpy.typing import NDArray
from torch import nn

from nnanomaly import __version__
from nnanomaly.build import build_head
from nnanomaly.checkpoint import FINAL, load_checkpoint
from nnanomaly.dataset.raw_dataset import list_cases, load_description
from nnanomaly.inference.anomaly_map import ResidualStatistics
from nnanomaly.inference.calibrate_api import calibration_of, healthy_validation_patches
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.case_work import CaseWork
from nnanomaly.inference.detectors import Detector
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.prediction_files import write_folder_documents
from nnanomaly.inference.reconstruct import Reconstruction, Reconstructor
from nnanomaly.inference.status_table import write_status
from nnanomaly.paths import IMAGES_TS, ORGAN_MASKS_TS, Paths
from nnanomaly.plans import Plans, TrainingPlan, load_plans
from nnanomaly.utilities.json_io import document_hash, to_document, write_json

logger = logging.getLogger("nnanomaly.references")
FALSE_CANDIDATES_PER_ORGAN = 0.3
"""What the lesion head is calibrated to."""
TRAINING = TrainingPlan(
    num_iterations=2000,
    batch_size=2,
    learning_rate=2e-3,
    weight_decay=1e-4,
    warmup_iterations=50,
    decay="cosine",
    gradient_clip=1.0,
    ema_decay=0.99,
    precision="bf16",
    validate_every=250,
    checkpoint_minutes=5.0,
)
"""How every reference that learns is optimised, unless it says otherwise: the budget of a lesion head."""
NO_STATISTICS = ResidualStatistics(edges_mm=(), mean_hu=(0.0,), std_hu=(1.0,))
"""Where there is no residual that could have any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A detector, and where it is tried."""

    paths: Paths
    """Raw and preprocessed data."""
    plans: Plans
    """Preprocessing and post-processing."""
    fold: int | str
    """Fold on whose healthy validation organs the threshold is chosen."""
    detect: Detector
    """Makes the map."""
    reconstruct: Reconstructor
    """What the map may compare the scan with."""
    made_of: dict[str, str]
    """One name, and the SHA-256 of the checkpoint behind it or other words that say what it is."""
    trained_in: Path | None = None
    """Folder of its training, if it had any."""


def itself(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
    """The reconstructor of a detector that needs none: the scan, unchanged."""
    scan = torch.from_numpy(np.stack(patches)[:, None].astype(np.float32))
    return Reconstruction(healthy=scan, autoencoded=scan)


def arguments_of(description: str) -> argparse.ArgumentParser:
    """The arguments that all references have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("dataset", help="dataset name or id")
    parser.add_argument("-p", required=True, help="plans whose patches and post-processing are used")
    parser.add_argument("-f", default="0", help="fold")
    parser.add_argument("-o", type=Path, required=True, help="folder of this reference")
    parser.add_argument(
        "--false_candidates",
        type=float,
        default=FALSE_CANDIDATES_PER_ORGAN,
        help=f"per healthy validation organ, by which the threshold is chosen (default {FALSE_CANDIDATES_PER_ORGAN})",
    )
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return parser


def plans_of(paths: Paths, arguments: argparse.Namespace, **inference: Any) -> Plans:
    """The plans that were asked for, with a calibrated threshold and other changes of the inference."""
    plans = load_plans(paths.plans(paths.dataset_name(arguments.dataset), arguments.p))
    wanted = {"threshold": "calibrated", "false_candidates_per_organ": arguments.false_candidates, **inference}
    return replace(plans, inference=replace(plans.inference, **wanted))


def calibrate(reference: Reference) -> Calibration:
    """The threshold on the healthy validation organs, chosen as for every other map."""
    plans = reference.plans
    healthy = healthy_validation_patches(reference.paths.preprocessed(plans.dataset_name), plans, reference.fold)
    trained = Fold(
        reconstruct=reference.reconstruct,
        detect=reference.detect,
        guidance=False,
        guidance_reason="a reference has no guidance",
        checkpoints=reference.made_of,
    )
    calibration = calibration_of(trained, list(healthy.values()), plans)
    rate = calibration.false_candidates_per_organ
    logger.info("threshold %.3g: %.2f candidates per healthy validation organ", calibration.threshold, rate)
    return calibration


def predict(reference: Reference, calibration: Calibration, output: Path) -> None:
    """Predict the test images into a folder in our format, with a `method.json` that says what it took."""
    start = time.process_time()
    plans, raw = reference.plans, reference.paths.raw(reference.plans.dataset_name)
    description = load_description(raw)
    fold = {"checkpoints": reference.made_of, "calibration": to_document(calibration)}
    provenance = {
        "version": __version__,
        "images": IMAGES_TS,
        "dataset": plans.dataset_name,
        "plans_name": plans.plans_name,
        "inference": to_document(plans.inference),
        "folds": {str(reference.fold): fold},
    }
    write_folder_documents(output, description, plans, provenance, resume=False)
    model = Fold(reconstruct=reference.reconstruct, detect=reference.detect, measured=calibration)
    work = CaseWork(
        images_folder=raw / IMAGES_TS,
        masks_folder=raw / ORGAN_MASKS_TS,
        output=output,
        description=description,
        plans=plans,
        models=[model],
    )
    rows = []
    for case in list_cases(raw / IMAGES_TS, description.file_ending):
        rows += work.write(work.predict(work.prepare(case)))
    write_status(output, rows, keep_earlier=False, part=None)
    seconds, trained_in = time.process_time() - start, reference.trained_in
    budgets = [budget_of_run(name, trained_in) for name in reference.made_of] if trained_in is not None else []
    write_json(output / METHOD_JSON, {"cpu_seconds": seconds, "training": [to_document(item) for item in budgets]})


def begin_training(folder: Path, plans: Plans) -> dict[str, Any]:
    """Note in `debug.json` what is trained; returns what a checkpoint must say to be continued."""
    write_json(folder / "debug.json", {"version": __version__, "training": to_document(plans.head.training)})
    network = {name: value for name, value in to_document(plans.head).items() if name != "training"}
    return {"plans_identity": document_hash({"preprocessing": to_document(plans.preprocessing), "network": network})}


def trained_network(folder: Path, plans: Plans) -> nn.Module:
    """The network of a finished training, with its averaged weights."""
    network = build_head(plans)
    network.load_state_dict(load_checkpoint(folder / FINAL)["averaged_weights"])
    return network.eval()
