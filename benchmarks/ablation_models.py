"""The models of the ablation: planned, preprocessed, taken over where they agree, trained; and what that took."""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnanomaly.candidate_reduction.train_reduction_api import train_reduction
from nnanomaly.checkpoint import FINAL, checkpoint_hash
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.experiment_planning import plan_and_preprocess_api as planning
from nnanomaly.experiment_planning import planner
from nnanomaly.experiment_planning.fingerprint import load_fingerprint
from nnanomaly.lesion_head.head_setup import FIRST_ROUND
from nnanomaly.paths import CALIBRATION_JSON, FINGERPRINT_JSON, PLANS_JSON, REDUCER_JSON, Paths
from nnanomaly.plans import Plans, load_plans, save_plans
from nnanomaly.stages import HEAD, NETWORKS, REDUCTION, STAGES
from nnanomaly.training.stage_run import TrainingOptions
from nnanomaly.training.train_api import train_stages
from nnanomaly.utilities.json_io import from_document, read_json, to_document

FOLD = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What the training of one stage of a model, or of another method, took."""

    stage: str
    """Such as `ddpm`."""
    seed: int
    """Of the training."""
    iterations: int
    """Steps taken."""
    batch: int
    """Patches a step."""
    minutes: float | None
    """Wall clock; None if nothing was logged."""


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
    for stage in NETWORKS if model.get("head", False) else STAGES:
        share_stage(paths, plans, stage, model.get("shares", []))
    if not (paths.fold(dataset, name, "ddpm", FOLD) / FINAL).is_file():
        options = TrainingOptions(device="cpu", num_workers=None, resume=True, changes={})
        train_stages(paths, dataset, "ddpm", fold=FOLD, plans_name=name, options=options)
    if model.get("head", False):
        train_missing_head(paths, plans, model.get("shares", []))
    if model.get("reduction", False) and not (paths.fold(dataset, name, REDUCTION, FOLD) / REDUCER_JSON).is_file():
        options = TrainingOptions(device="cpu", num_workers=None, resume=False, changes={})
        train_reduction(paths, dataset, fold=FOLD, plans_name=name, options=options)
    return load_plans(paths.plans(dataset, name))


def train_missing_head(paths: Paths, plans: Plans, others: Sequence[str]) -> None:
    """Train the lesion head unless there is one; examples and first round of others are taken over if they fit."""
    mine = paths.fold(plans.dataset_name, plans.plans_name, HEAD, FOLD)
    for other in others:
        theirs = paths.fold(plans.dataset_name, other, HEAD, FOLD)
        if (theirs / "examples").is_dir() and not (mine / "examples").is_dir():
            shutil.copytree(theirs / "examples", mine / "examples", copy_function=os.link)
        if (theirs / FINAL).is_file() and not (mine / FIRST_ROUND).is_dir():
            head = load_plans(theirs.parent / PLANS_JSON).head
            if plans.head.self_training_iterations and head == replace(plans.head, self_training_iterations=0):
                shutil.copytree(theirs, mine / FIRST_ROUND, ignore=shutil.ignore_patterns("examples", "plans.json"))
    if not (mine / FINAL).is_file():
        options = TrainingOptions(device="cpu", num_workers=None, resume=True, changes={})
        train_stages(paths, plans.dataset_name, HEAD, fold=FOLD, plans_name=plans.plans_name, options=options)


def share_stage(paths: Paths, plans: Plans, stage: str, others: Sequence[str]) -> None:
    """Copy a trained stage of another model whose plans agree in everything that this stage depends on."""
    mine = paths.model(plans.dataset_name, plans.plans_name, stage)
    for other in others:
        theirs = paths.model(plans.dataset_name, other, stage)
        if mine.is_dir() or not (theirs / f"fold_{FOLD}" / FINAL).is_file():
            continue
        planned = load_plans(theirs / PLANS_JSON)
        if planned.identity_of(stage) == plans.identity_of(stage) and (stage != HEAD or planned.head == plans.head):
            shutil.copytree(theirs, mine, ignore=shutil.ignore_patterns(CALIBRATION_JSON), copy_function=os.link)
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


def trained_folders(paths: Paths, plans: Plans) -> dict[str, Path]:
    """Folder of every trained stage of a model, whichever stages there are."""
    pattern = paths.model(plans.dataset_name, plans.plans_name, "*")
    folders = {path.name.rpartition("__")[2]: path / f"fold_{FOLD}" for path in pattern.parent.glob(pattern.name)}
    return {stage: folder for stage, folder in sorted(folders.items()) if (folder / FINAL).is_file()}


def checkpoint_hashes(paths: Paths, plans: Plans) -> dict[str, str]:
    """SHA-256 of the final checkpoint of every trained stage of a model."""
    return {stage: checkpoint_hash(folder / FINAL) for stage, folder in trained_folders(paths, plans).items()}


def budgets_of(paths: Paths, plans: Plans) -> list[Budget]:
    """What every stage of a model took; that of a shared stage is named with each model that has it."""
    return [budget_of_run(stage, folder) for stage, folder in trained_folders(paths, plans).items()]


def budget_of_run(stage: str, folder: Path) -> Budget:
    """What one training run took, from its `debug.json` and `log.jsonl`.

    The log holds the mean rate since the start of the process, so the minutes of a resumed run are an estimate.
    """
    training = read_json(folder / "debug.json")["training"]
    log = folder / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    steps = [record for record in map(json.loads, lines) if record["kind"] == "train"]
    return Budget(
        stage=stage,
        seed=training["seed"],
        iterations=steps[-1]["iteration"] if steps else 0,
        batch=training["batch_size"] * training["accumulation"],
        minutes=steps[-1]["iteration"] / steps[-1]["iterations_per_second"] / 60 if steps else None,
    )
