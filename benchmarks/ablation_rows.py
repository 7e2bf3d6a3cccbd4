"""One row of the ablation: where its predictions come from, and what is measured on them.

A row of the configuration is one of two things:

- `{"name", "model", "inference"}`: predictions of one of our models. They are made anew only if the plans or a
  checkpoint have changed since, or if that is asked for.
- `{"name", "predictions"}`: a folder that another method has filled, which is only evaluated and not written to. With
  `detections/{case}_boxes.json` as `nnanomaly_predict` writes them it gets every column, without them those that need
  no score and no patch. A `method.json` beside the masks may hold `cpu_seconds` (of the prediction of all cases) and
  `training`, a list of `{"stage", "seed", "iterations", "batch", "minutes"}`.

A further kind of row is a further function that returns `Predictions`, and a case in `predictions_of`.
"""

import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ablation_cache import Reconstructions
from ablation_models import FOLD, Budget, changed, checkpoint_hashes

from nnanomaly.checkpoint import FINAL
from nnanomaly.dataset.organ_labels import HEALTHY, load_organ_labels
from nnanomaly.evaluation.auroc import AUROC
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.evaluate_folder import evaluate_folder
from nnanomaly.evaluation.healthy_organs import HealthyOrgans, count_in_healthy_organs
from nnanomaly.evaluation.lesion_labels import find_lesion_labels
from nnanomaly.evaluation.organ_scores import NO_ROI, organ_auroc, patient_auroc, read_candidates
from nnanomaly.evaluation.summary import Evaluation
from nnanomaly.inference.calibrate_api import calibrate_fold
from nnanomaly.inference.predict_api import PredictionOptions, predict_folder
from nnanomaly.paths import IMAGES_TS, LABELS_TS, Paths
from nnanomaly.plans import Plans, save_plans
from nnanomaly.utilities.json_io import from_document, read_json, to_document, write_json

ROW_JSON, METHOD_JSON = "row.json", "method.json"
logger = logging.getLogger("nnanomaly.ablation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all rows share."""

    paths: Paths
    """Folders."""
    dataset: str
    """Full name."""
    models: dict[str, Plans]
    """Plans of the models by their name."""
    output: Path
    """Every row has a folder in it."""
    remembered: Reconstructions
    """Reconstructions of earlier rows."""
    again: bool
    """Whether rows are predicted that have been."""
    num_processes: int
    """Cases that are evaluated at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """A folder of predictions of all test cases."""

    folder: Path
    """Masks, and if there are any, candidates."""
    cpu_seconds: float | None
    """What they took; None if unknown."""
    remarks: dict[str, str] = field(default_factory=dict)
    """Further columns of the CSV file."""
    budgets: list[Budget] = field(default_factory=list)
    """Training of a method that is none of our models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilledRow:
    """A row with everything that was measured; the tables are made from it."""

    name: str
    """The setting."""
    predictions: Predictions
    """What was evaluated."""
    evaluation: Evaluation
    """Lesions."""
    healthy: HealthyOrgans
    """Candidates in healthy organs."""
    organs: AUROC
    """Organs against their weak labels."""
    patients: AUROC
    """Patients against their references."""
    num_organs: int
    """Organs that were looked at; 0 if unknown."""


def fill_row(bench: Bench, row: Mapping[str, Any]) -> FilledRow:
    """Find or make the predictions of a row, and evaluate them."""
    predictions = predictions_of(bench, row)
    folder, raw = predictions.folder, bench.paths.raw(bench.dataset)
    labels = find_lesion_labels(raw / LABELS_TS, folder, dataset_json=None, reference=())
    summaries = bench.output / folder_name(row["name"])
    evaluation = evaluate_folder(
        raw / LABELS_TS, folder, labels=labels, output_folder=summaries, num_processes=bench.num_processes
    )
    has_lesion = {case.case: case.has_lesion for case in evaluation.cases}
    weak = load_organ_labels(raw)
    statuses = [doc.get("organs", {}).values() for doc in read_candidates(folder, has_lesion).values()]
    return FilledRow(
        name=row["name"],
        predictions=predictions,
        evaluation=evaluation,
        healthy=count_in_healthy_organs(folder, {key for key, label in weak.items() if label == HEALTHY}),
        organs=organ_auroc(folder, has_lesion, weak, bootstrap=Bootstrap()),
        patients=patient_auroc(folder, has_lesion, bootstrap=Bootstrap()),
        num_organs=sum(status != NO_ROI for of_case in statuses for status in of_case),
    )


def predictions_of(bench: Bench, row: Mapping[str, Any]) -> Predictions:
    """The predictions of a row, made if there are none."""
    if "predictions" in row:
        return given_predictions(Path(row["predictions"]))
    plans = changed(bench.models[row["model"]], {f"inference.{k}": v for k, v in row.get("inference", {}).items()})
    output = bench.output / folder_name(row["name"])
    done = read_json(output / ROW_JSON) if (output / ROW_JSON).is_file() else None
    if bench.again or done is None or not is_current(done, plans, checkpoint_hashes(bench.paths, plans)):
        done = predict(bench.paths, plans, output, bench.remembered)
    else:
        logger.info("%s: predicted before", row["name"])
    return Predictions(folder=output, cpu_seconds=done["cpu_seconds"], remarks=done["remarks"])


def given_predictions(folder: Path) -> Predictions:
    """A folder that another method has filled."""
    method = read_json(folder / METHOD_JSON) if (folder / METHOD_JSON).is_file() else {}
    budgets = [from_document(Budget, item, source=str(folder / METHOD_JSON)) for item in method.get("training", [])]
    return Predictions(folder=folder, cpu_seconds=method.get("cpu_seconds"), budgets=budgets)


def is_current(done: Mapping[str, Any], plans: Plans, checkpoints: Mapping[str, str]) -> bool:
    """Whether a `row.json` tells of these plans, and every checkpoint that was used is still the same.

    A stage that was not used, like the classifier of a row without guidance, may have changed. Fields of the plans that
    are younger than the row mean what they mean in an older plans file.
    """
    used = done["checkpoints"].items()
    same_plans = from_document(Plans, done["plans"], source=ROW_JSON) == plans
    return same_plans and all(checkpoints.get(stage) == sha for stage, sha in used)


def predict(paths: Paths, plans: Plans, output: Path, remembered: Reconstructions) -> dict[str, Any]:
    """Calibrate and predict all test cases into `output`; returns what `row.json` holds, which is written last."""
    dataset, name = plans.dataset_name, plans.plans_name
    remembered.model = name
    save_plans(paths.plans(dataset, name), plans)
    calibration = calibrate_fold(paths, dataset, fold=FOLD, plans_name=name, device="cpu")
    (output / ROW_JSON).unlink(missing_ok=True)  # first, so that what an interruption leaves is not taken for whole
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
    done = {
        "plans": to_document(plans),
        "checkpoints": calibration.checkpoints,
        "cpu_seconds": time.process_time() - start + remembered.saved_seconds - saved,
        "remarks": {
            "calibrated": f"{calibration.false_candidates_per_organ:.2f}",
            "guided": "yes" if calibration.guidance else "no",
        },
    }
    write_json(output / ROW_JSON, done)
    return done


def folder_name(name: str) -> str:
    """Name of the folder of a row, from that of the setting: it stays where it is when rows are added before it."""
    return re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_")
