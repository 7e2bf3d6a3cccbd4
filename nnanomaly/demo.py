"""The demo: a phantom dataset, the three commands and the evaluation on it, a table and a picture.

Every command runs as a process of its own, as a user would type it. Only the length of the training differs from what
the planner chose: minutes on two CPU cores instead of days on a GPU, written into the plans file.
"""

import logging
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from nnanomaly.dataset.new_dataset import new_folder
from nnanomaly.dataset.organ_labels import HEALTHY, load_organ_labels
from nnanomaly.dataset_conversion.phantom_dataset import write_phantom_dataset
from nnanomaly.evaluation.healthy_organs import count_in_healthy_organs
from nnanomaly.imageio.nifti import read_labels, read_volume
from nnanomaly.paths import (
    BOXES_ENDING,
    DETECTIONS,
    IMAGES_TS,
    LABELS_TS,
    MAPS,
    PREPROCESSED,
    RAW,
    RECONSTRUCTIONS,
    RESULTS,
    Paths,
    environment_for,
)
from nnanomaly.plans import PLANS_NAMES, Plans, load_plans, save_plans
from nnanomaly.roi.candidates_file import read_candidates_file
from nnanomaly.utilities.child_processes import run_child
from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.json_io import read_document, to_document, write_json
from nnanomaly.utilities.shown_text import command_line
from nnanomaly.volume import Volume

logger = logging.getLogger(__name__)
DATASET = "Dataset900_Phantom"
NUM_TRAINING, NUM_TEST = 80, 16
GPU_MEMORY_GB = 0.5
"""A small budget makes the planner choose small networks."""
STATE_JSON = "demo.json"
SHORT_TRAINING: dict[str, dict[str, Any]] = {
    "vqgan": {"num_iterations": 500, "batch_size": 2, "learning_rate": 4e-3, "validate_every": 250, "ema_decay": 0.98},
    "classifier": {"num_iterations": 60, "batch_size": 8, "learning_rate": 1e-3, "validate_every": 30},
    "ddpm": {"num_iterations": 2500, "batch_size": 4, "learning_rate": 2e-3, "validate_every": 1250, "ema_decay": 0.99},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoState:
    """Content of demo.json. What the commands finished they know by themselves."""

    seed: int
    """Seed of the phantom."""
    planned: bool = False
    """Whether the plans are written and shortened."""


def run_demo(folder: Path, *, seed: int) -> str:
    """Run everything in `folder`, which is empty, new, or holds a demo of this seed; returns the text for the user.

    What was finished there is kept, and what was interrupted goes on. Raises ConfigurationError (CFG-OUTPUT) for a
    folder of anything else, and EnvironmentFault (DEMO-COMMAND).
    """
    start = time.monotonic()
    logger.info(
        "demo in %s: a phantom dataset, the three commands, evaluation and report; minutes on two cores", folder
    )
    paths = Paths(folder / "raw", folder / "preprocessed", folder / "results")
    predictions = folder / "predictions"
    state = _state_of(folder, seed)
    if not paths.raw(DATASET).is_dir():
        with new_folder(paths.raw(DATASET)) as raw:
            write_phantom_dataset(raw, num_training=NUM_TRAINING, num_test=NUM_TEST, seed=seed)
    if not state.planned:
        _command(paths, "plan_and_preprocess", "-d", "900", "-gpu_memory_target", str(GPU_MEMORY_GB))
        _shorten_training(paths)
        write_json(folder / STATE_JSON, to_document(replace(state, planned=True)))
    _command(paths, "train", "900", "ddpm")
    go_on = ["--continue_prediction"] if predictions.is_dir() else []
    _command(paths, "predict", "-i", IMAGES_TS, "-o", str(predictions), "--save_autoencoded", *go_on)
    table = _command(paths, "evaluate_folder", str(paths.raw(DATASET) / LABELS_TS), str(predictions))
    report = folder / "report"
    _command(paths, "report", str(predictions), "-o", str(report), "-ref", str(paths.raw(DATASET) / LABELS_TS))
    picture = folder / "demo.png"
    draw_prediction(paths.raw(DATASET), predictions, picture)
    environment = environment_for(paths)
    minutes = (time.monotonic() - start) / 60
    lines = [
        table,
        f"{_false_candidates(paths, predictions)}; phantom, not patients; {minutes:.1f} minutes",
        f"raw dataset    {paths.raw(DATASET)}",
        f"plans, patches {paths.preprocessed(DATASET)}",
        f"trained model  {paths.results_root}",
        f"predictions    {predictions}",
        f"picture        {picture}",
        f"report         {report / 'index.html'} (open it in a browser)",
        "to go on by hand:",
        "export " + " ".join(f"{name}={shlex.quote(environment[name])}" for name in (RAW, PREPROCESSED, RESULTS)),
    ]
    return "\n".join(lines)


def _state_of(folder: Path, seed: int) -> DemoState:
    """How far the demo in a folder came; a new one is written down at once."""
    path = folder / STATE_JSON
    if path.is_file():
        state = read_document(path, DemoState, remedy="Delete the folder, or name another one with -o.")
        if state.seed != seed:
            raise ConfigurationError(
                "CFG-OUTPUT", f"{folder} holds a demo of seed {state.seed}. Add -seed {state.seed}, or name another -o."
            )
        return state
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError("CFG-OUTPUT", f"{folder} is not empty. Name another folder, or empty it.")
    state = DemoState(seed=seed)
    write_json(path, to_document(state))
    return state


def _false_candidates(paths: Paths, predictions: Path) -> str:
    labels = load_organ_labels(paths.raw(DATASET))
    counted = count_in_healthy_organs(predictions, {key for key, label in labels.items() if label == HEALTHY})
    return f"{counted.num_candidates} false candidates in the {counted.num_organs} healthy test organs"


def _command(paths: Paths, name: str, *arguments: str) -> str:
    """Run one of our commands in a process of its own; its standard output, or EnvironmentFault if it failed."""
    logger.info("$ %s", command_line(f"nnanomaly_{name}", *arguments))
    code = f"import sys; from nnanomaly.cli import {name}; sys.exit({name}())"
    process = run_child(
        [sys.executable, "-c", code, *arguments],
        env=environment_for(paths),
        stdout=subprocess.PIPE,
    )
    if process.returncode != 0:
        raise EnvironmentFault(
            "DEMO-COMMAND",
            f"{command_line(f'nnanomaly_{name}', *arguments)} ended with status {process.returncode}; see above",
        )
    return process.stdout


def _shorten_training(paths: Paths) -> None:
    """Write the demo's small networks and short trainings into the plans file, as a user may by hand."""
    path = paths.plans(DATASET, PLANS_NAMES["default"])
    counts = ", ".join(f"{stage} {changes['num_iterations']}" for stage, changes in SHORT_TRAINING.items())
    logger.info("the demo makes the networks small and the trainings short, in iterations: %s", counts)
    save_plans(path, shorten(load_plans(path), SHORT_TRAINING))


def shorten(plans: Plans, trainings: Mapping[str, Mapping[str, Any]]) -> Plans:
    """The plans with networks that a CPU trains in minutes, and other training settings for each stage."""
    # Discriminators cost most of a step and act only from iteration 10 000 on.
    vqgan = replace(plans.vqgan, widths=(16, 32), num_codes=1024, adversarial_weight=0.0, restart_every=20)
    # Minutes of training keep less of a lesion than days; a demo that stops here would show nothing at all.
    vqgan = replace(vqgan, gate=replace(vqgan.gate, min_contrast_retention=(0.0, 0.2, 0.4)))
    ddpm = replace(plans.ddpm, widths=(16, 32), blocks_per_level=1, attention_levels=())
    classifier = replace(plans.classifier, widths=(16, 32, 64), blocks_per_level=1)
    plans = replace(plans, vqgan=vqgan, ddpm=ddpm, classifier=classifier)
    for stage, changes in trainings.items():
        plans = plans.with_training(stage, warmup_iterations=20, **changes)
    return plans


def draw_prediction(raw: Path, predictions: Path, picture: Path) -> None:
    """Scan, reconstruction, anomaly map and reference of the case with the highest score, as one PNG."""
    documents = [
        read_candidates_file(path, required=("case", "candidates"), of_candidates=("score", "center_mm"))
        for path in sorted((predictions / DETECTIONS).glob(f"*{BOXES_ENDING}"))
    ]
    best = max(documents, key=lambda document: max((c["score"] for c in document["candidates"]), default=0.0))
    name = f"{best['case']}.nii.gz"
    scan = read_volume(raw / IMAGES_TS / f"{best['case']}_0000.nii.gz")
    rows = {
        "scan": scan,
        "healthy reconstruction": read_volume(predictions / RECONSTRUCTIONS / name),
        "anomaly map": read_volume(predictions / MAPS / name),
        "prediction": read_labels(predictions / name),
        "reference": read_labels(raw / LABELS_TS / name),
    }
    center = best["candidates"][0]["center_mm"] if best["candidates"] else np.mean(scan.grid.corners_mm(), axis=0)
    slices = {title: axial_slice(volume, float(center[0])) for title, volume in rows.items()}
    figure = Figure(figsize=(20, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    for number, title in enumerate(slices):
        axes = figure.add_subplot(1, 5, number + 1)
        axes.imshow(slices["scan"], cmap="gray", vmin=-150, vmax=250)
        if title == "healthy reconstruction":
            axes.imshow(slices[title], cmap="gray", vmin=-150, vmax=250)
        elif title == "anomaly map":
            axes.imshow(np.ma.masked_less(slices[title], 0.5), cmap="inferno", alpha=0.7)
        elif title != "scan":
            wanted = slices[title] > 0 if title == "prediction" else slices[title] > 1
            axes.imshow(np.ma.masked_equal(wanted, False), cmap="autumn", alpha=0.6)
        axes.set_title(title)
        axes.set_axis_off()
    write_atomically(picture, lambda temporary: figure.savefig(temporary, dpi=70))


def axial_slice(volume: Volume, height_mm: float) -> NDArray[np.floating]:
    """The array slice nearest to a world height, patient's right on the left, anterior on top."""
    grid = volume.grid
    axial, rows, columns = (grid.axis_of(world) for world in (0, 1, 2))
    heights = [
        grid.to_world(np.where(np.arange(3) == axial, k, np.array(grid.shape) // 2))[0]
        for k in range(grid.shape[axial])
    ]
    nearest = int(np.argmin(np.abs(np.array(heights) - height_mm)))
    picture = np.take(volume.array[0], nearest, axis=axial)
    if rows > columns:
        picture = picture.T
    direction = np.asarray(grid.direction)
    picture = picture if direction[1, rows] > 0 else picture[::-1]
    return picture if direction[2, columns] > 0 else picture[:, ::-1]
