"""One table of many settings on the test cases of a dataset, from one configuration file.

The configuration names models (a preset, and the fields of its plans that are changed before training) and rows (a
model, and the fields of its `inference` that are changed after training, which costs no training). Models that agree in
a stage can share it. What is not trained yet is trained, then every row is calibrated on the healthy validation organs,
predicted and evaluated, in the order of the file. Rows that differ only behind the networks share reconstructions; the
seconds of a row are those that it would have taken alone.

Usage: `python benchmarks/ablation.py CONFIG.json -o FOLDER [--train_only]`, with the three `nnanomaly_*` variables set,
after `nnanomaly_plan_and_preprocess`.
"""

import argparse
import logging
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.organ_labels import HEALTHY, load_organ_labels
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.diffusion.codecs import Codec
from nnanomaly.evaluation.detection_curves import froc, pool_detections
from nnanomaly.evaluation.evaluate_folder import evaluate_folder
from nnanomaly.evaluation.healthy_organs import count_in_healthy_organs
from nnanomaly.evaluation.lesion_labels import find_lesion_labels
from nnanomaly.evaluation.summary import Evaluation
from nnanomaly.evaluation.tables import format_number, to_csv, to_markdown
from nnanomaly.experiment_planning import plan_and_preprocess_api as planning
from nnanomaly.experiment_planning import planner
from nnanomaly.experiment_planning.fingerprint import load_fingerprint
from nnanomaly.inference import fold_model
from nnanomaly.inference.calibrate_api import calibrate_fold
from nnanomaly.inference.predict_api import PredictionOptions, predict_folder
from nnanomaly.inference.reconstruct import LatentModels, Reconstruction, Reconstructor
from nnanomaly.paths import (
    BOXES_ENDING,
    CALIBRATION_JSON,
    DETECTIONS,
    FINGERPRINT_JSON,
    IMAGES_TS,
    LABELS_TS,
    PLANS_JSON,
    Paths,
)
from nnanomaly.plans import FELT_BY_NETWORKS, STAGES, Plans, load_plans, save_plans
from nnanomaly.training.train_api import TrainingOptions, train_stages
from nnanomaly.utilities.json_io import from_document, read_json, to_document, write_atomically, write_json

FOLD = 0


class Reconstructions:
    """Remembers what the networks said of a patch, and how long that took; stands in for `build_reconstructor`."""

    def __init__(self, build: Callable[..., Reconstructor]) -> None:
        self.build = build
        self.known: dict[tuple[object, ...], tuple[Reconstruction, float]] = {}
        self.saved_seconds = 0.0

    def __call__(self, codec: Codec, models: LatentModels, *, seed: int, device: torch.device) -> Reconstructor:
        """A reconstructor that asks the networks once for every patch and every setting that they feel."""
        reconstruct = self.build(codec, models, seed=seed, device=device)
        setting = tuple(getattr(models.inference, field) for field in FELT_BY_NETWORKS)

        def remember(patches: Sequence[NDArray[np.floating]], names: Sequence[str]) -> Reconstruction:
            key = (models.diffusion, setting, seed, tuple(names))
            if key not in self.known:
                start = time.process_time()
                self.known[key] = (reconstruct(patches, names), time.process_time() - start)
            else:
                self.saved_seconds += self.known[key][1]
            return self.known[key][0]

        return remember


def main() -> None:
    """Train what is missing, fill every row, write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("-o", type=Path, required=True)
    parser.add_argument("--train_only", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("nnanomaly").setLevel(logging.INFO)
    config, paths = read_json(arguments.config), Paths.from_env()
    dataset = paths.dataset_name(str(config["dataset"]))
    models = {
        name: prepare_model(paths, dataset, name, model, gpu_memory_gb=config["gpu_memory_target"])
        for name, model in config["models"].items()
    }
    if arguments.train_only:
        return
    fold_model.build_reconstructor = remembered = Reconstructions(fold_model.build_reconstructor)
    rows: list[dict[str, Any]] = []
    for number, row in enumerate(config["rows"]):
        output = arguments.o / f"{number:02d}"
        rows.append(fill_row(paths, models[row["model"]], row, output, remembered))
        table = pd.DataFrame(rows)
        write_atomically(arguments.o / "ablation.md", lambda path, t=table: path.write_text(to_markdown(t)))
        write_atomically(arguments.o / "ablation.csv", lambda path, t=table: path.write_text(to_csv(t)))
        print(to_markdown(table))


def prepare_model(paths: Paths, dataset: str, name: str, model: Mapping[str, Any], *, gpu_memory_gb: float) -> Plans:
    """Plan, preprocess, take over what another model shares, train the rest; returns the plans."""
    planned = planner.plan(
        load_fingerprint(paths.preprocessed(dataset) / FINGERPRINT_JSON),
        gpu_memory_target_gb=gpu_memory_gb,
        preset=model["preset"],
        dataset_name=dataset,
        organs=load_description(paths.raw(dataset)).organs,
    )
    plans = changed(replace(planned, plans_name=name), model.get("changes", {}))
    save_plans(paths.plans(dataset, name), plans)
    planning.preprocess(paths, dataset, plans_name=name, num_processes=2)
    for stage in STAGES:
        share_stage(paths, plans, stage, model.get("shares", []))
    if not (paths.fold(dataset, name, "ddpm", FOLD) / FINAL).is_file():
        options = TrainingOptions(device="cpu", num_workers=None, resume=True, changes={})
        train_stages(paths, dataset, "ddpm", fold=FOLD, plans_name=name, options=options)
    return plans


def share_stage(paths: Paths, plans: Plans, stage: str, others: Sequence[str]) -> None:
    """Copy a trained stage of another model whose plans agree in everything that this stage depends on."""
    mine = paths.model(plans.dataset_name, plans.plans_name, stage)
    for other in others:
        theirs = paths.model(plans.dataset_name, other, stage)
        if mine.is_dir() or not (theirs / f"fold_{FOLD}" / FINAL).is_file():
            continue
        if load_plans(theirs / PLANS_JSON).identity_of(stage) == plans.identity_of(stage):
            shutil.copytree(theirs, mine, ignore=shutil.ignore_patterns(CALIBRATION_JSON))
            save_plans(mine / PLANS_JSON, plans)


def changed(plans: Plans, changes: Mapping[str, Any]) -> Plans:
    """The plans with fields replaced; `{"ddpm.training.batch_size": 4}`."""
    document = to_document(plans)
    for dotted, value in changes.items():
        *path, field = dotted.split(".")
        place = document
        for key in path:
            place = place[key]
        if field not in place:
            raise KeyError(f"{dotted} is no field of the plans")
        place[field] = value
    return from_document(Plans, document, source="ablation")


def fill_row(
    paths: Paths, plans: Plans, row: Mapping[str, Any], output: Path, remembered: Reconstructions
) -> dict[str, Any]:
    """Calibrate, predict and evaluate one row."""
    dataset, name = plans.dataset_name, plans.plans_name
    inference = {f"inference.{key}": value for key, value in row.get("inference", {}).items()}
    save_plans(paths.plans(dataset, name), changed(plans, inference))
    calibration = calibrate_fold(paths, dataset, fold=FOLD, plans_name=name, device="cpu")
    shutil.rmtree(output, ignore_errors=True)
    options = PredictionOptions(
        dataset=dataset,
        folds=(str(FOLD),),
        plans_name=name,
        organ_masks=None,
        checkpoint=FINAL,
        device="cpu",
        num_parts=1,
        part_id=0,
        continue_prediction=False,
    )
    start, saved = time.process_time(), remembered.saved_seconds
    predict_folder(paths, IMAGES_TS, output, options)
    seconds = time.process_time() - start + remembered.saved_seconds - saved
    references = paths.raw(dataset) / LABELS_TS
    labels = find_lesion_labels(references, output, dataset_json=None, reference=())
    evaluation = evaluate_folder(references, output, labels=labels, num_processes=2)
    numbers = numbers_of(evaluation, output, healthy_organs(paths, dataset))
    write_json(output / "row.json", {"row": row, "plans": to_document(load_plans(paths.plans(dataset, name)))})
    return {
        "setting": row["name"],
        **numbers,
        "calibrated": f"{calibration.false_candidates_per_organ:.2f}",
        "guided": "yes" if calibration.guidance else "no",
        "CPU s/organ": f"{seconds / num_organs(output):.1f}",
    }


def healthy_organs(paths: Paths, dataset: str) -> set[tuple[str, str]]:
    """(case, organ) labelled healthy."""
    return {key for key, label in load_organ_labels(paths.raw(dataset)).items() if label == HEALTHY}


def num_organs(output: Path) -> int:
    """Organs that were looked at."""
    documents = [read_json(path) for path in (output / DETECTIONS).glob(f"*{BOXES_ENDING}")]
    return sum(status != "no_roi" for document in documents for status in document["organs"].values())


def numbers_of(evaluation: Evaluation, output: Path, healthy: set[tuple[str, str]]) -> dict[str, str]:
    """Lesion-level numbers of a row."""
    metrics, curve = evaluation.metrics, None
    detections = pool_detections(evaluation.records)
    if detections is not None:
        curve = froc(detections)
    pooled, by_size = metrics.all.pooled, metrics.by_size
    return {
        "TP": str(metrics.all.tp),
        "FP": str(metrics.all.fp),
        "FN": str(metrics.all.fn),
        "precision": format_number(pooled.precision),
        "recall": format_number(pooled.recall),
        "F1": format_number(pooled.f1),
        "F1 per case": format_number(metrics.all.f1.mean),
        "DSC": format_number(metrics.all.dsc.mean),
        "FROC": format_number(curve.score if curve else None),
        "found by size": " ".join(f"{b.tp}/{b.tp + b.fn}" for b in by_size.values()),
        "FP/healthy organ": format_number(count_in_healthy_organs(output, healthy).per_organ),
    }


if __name__ == "__main__":
    main()
