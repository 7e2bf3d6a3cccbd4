"""The ablation's bookkeeping: which rows are predicted again, what training took, and the columns of the tables."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ablation_rows
import numpy as np
import pandas as pd
import pytest
from ablation import refuse_equal_names
from ablation_cache import Reconstructions
from ablation_models import Budget, budget_of_run, changed, checkpoint_hashes
from ablation_rows import Bench, FilledRow, fill_row, folder_name, predictions_of
from ablation_tables import remarks_on_auroc, write_tables

from nnanomaly.evaluation.auroc import Scored, auroc, undefined
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans
from nnanomaly.utilities.json_io import to_document, write_json

DATASET, ROW = "Dataset501_Test", {"name": "default, sigma 2", "model": "ours", "inference": {"sigma": 2.0}}
IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]


@pytest.fixture
def bench(paths: Paths, tmp_path: Path, tiny_plans: Callable[..., Plans]) -> Bench:
    """A model by the name of "ours", whose checkpoints are three short files."""
    plans = replace(tiny_plans("default", dataset=DATASET), plans_name="ours")
    for stage in ("vqgan", "classifier", "ddpm"):
        checkpoint = paths.fold(DATASET, "ours", stage, 0) / "checkpoint_final.pth"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text(stage)

    def build(*_: object, **__: object) -> Any:
        raise AssertionError("nothing is reconstructed here")

    output, cache = tmp_path / "table", Reconstructions(build)
    return Bench(
        paths=paths,
        dataset=DATASET,
        models={"ours": plans},
        output=output,
        remembered=cache,
        again=False,
        num_processes=1,
    )


@pytest.fixture
def predicted(monkeypatch: pytest.MonkeyPatch) -> list[Plans]:
    """Plans of the rows that are predicted, in their order; only `row.json` is written, as if without guidance."""
    plans_seen: list[Plans] = []

    def predict(paths: Paths, plans: Plans, output: Path, _: Reconstructions) -> dict[str, Any]:
        plans_seen.append(plans)
        used = {stage: sha for stage, sha in checkpoint_hashes(paths, plans).items() if stage != "classifier"}
        remarks = {"guided": "no"}
        done = {"plans": to_document(plans), "checkpoints": used, "cpu_seconds": 12.0, "remarks": remarks}
        write_json(output / "row.json", done)
        return done

    monkeypatch.setattr(ablation_rows, "predict", predict)
    return plans_seen


def test_a_row_is_predicted_with_its_inference_and_once(bench: Bench, predicted: list[Plans]) -> None:
    first, second = predictions_of(bench, ROW), predictions_of(bench, ROW)
    assert [plans.inference.sigma for plans in predicted] == [2.0]
    assert first == second
    assert (second.folder, second.cpu_seconds, second.remarks) == (
        bench.output / "default_sigma_2",
        12.0,
        {"guided": "no"},
    )


def test_a_row_is_predicted_again_when_its_inference_changes(bench: Bench, predicted: list[Plans]) -> None:
    for sigma in (2.0, 1.5, 1.5):
        predictions_of(bench, ROW | {"inference": {"sigma": sigma}})
    assert [plans.inference.sigma for plans in predicted] == [2.0, 1.5]


@pytest.mark.parametrize(("stage", "times"), [("ddpm", 2), ("vqgan", 2), ("classifier", 1)])
def test_a_row_is_predicted_again_when_a_checkpoint_changes_that_it_used(
    bench: Bench, predicted: list[Plans], stage: str, times: int
) -> None:
    predictions_of(bench, ROW)
    (bench.paths.fold(DATASET, "ours", stage, 0) / "checkpoint_final.pth").write_text("trained anew")
    predictions_of(bench, ROW)
    assert len(predicted) == times


def test_a_row_is_predicted_again_where_that_is_asked_for(bench: Bench, predicted: list[Plans]) -> None:
    predictions_of(bench, ROW)
    predictions_of(replace(bench, again=True), ROW)
    assert len(predicted) == 2


def test_rows_that_would_share_a_folder_are_refused() -> None:
    assert folder_name("+ rho = 0.02: `default`") == "rho_0.02_default"
    refuse_equal_names(["+ sigma 2", "+ sigma 2.5"])
    with pytest.raises(ValueError, match=r"\+ sigma 2, sigma: 2"):
        refuse_equal_names(["sigma: 2", "+ sigma 2", "other"])


def test_a_field_that_is_none_of_the_plans_is_refused(bench: Bench) -> None:
    with pytest.raises(KeyError, match="inference.sigmas is no field"):
        changed(bench.models["ours"], {"inference.sigmas": 2.0})


def test_the_budget_of_a_run_comes_from_its_log(tmp_path: Path) -> None:
    # Stopped at iteration 600 of 1000, at 2 iterations a second: 5 minutes. Three batches of 4 make one step.
    training = {"num_iterations": 1000, "batch_size": 4, "accumulation": 3, "seed": 7}
    write_json(tmp_path / "debug.json", {"training": training})
    records = [
        {"iteration": 300, "kind": "train", "iterations_per_second": 1.0},
        {"iteration": 600, "kind": "train", "iterations_per_second": 2.0},
        {"iteration": 600, "kind": "validation", "loss": 0.5},
    ]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert budget_of_run("ddpm", tmp_path) == Budget(stage="ddpm", seed=7, iterations=600, batch=12, minutes=5.0)


@pytest.fixture
def other_method(bench: Bench, tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """Predictions of another method: one lesion of 22 mm found, one false candidate of 15 mm, in two kidneys."""
    raw, folder = bench.paths.raw(DATASET), tmp_path / "other"
    lesion = np.zeros((8, 40, 80), dtype=np.uint8)
    lesion[2:6, 10:32, 10:20] = 1
    found = lesion.copy()
    found[2:6, 10:25, 60:70] = 1
    labels = {"background": 0, "lesion": 1}
    description = {"channel_names": {"0": "CT"}, "labels": labels, "numTraining": 0, "file_ending": ".nii.gz"}
    ours = {"organs": ["kidney_left", "kidney_right"], "lesion_labels": ["lesion"]}
    write_json(raw / "dataset.json", description | {"nnanomaly": ours})
    for path, array in (
        (raw / "labelsTs" / "a.nii.gz", lesion),
        (raw / "imagesTs" / "a_0000.nii.gz", lesion),
        (folder / "a.nii.gz", found),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, array, spacing_mm=(1.0, 1.0, 1.0), origin_mm=(0.0, 0.0, 0.0))
    (raw / "organ_labels.csv").write_text("case,organ,label\na,kidney_right,unhealthy\na,kidney_left,healthy\n")
    write_json(folder / "dataset.json", description)
    return folder


def _write_candidates(folder: Path) -> None:
    """The right kidney lies at x = 15 mm and holds the lesion, with score 3; the left one at 65 mm, with score 1."""
    grid = {"shape": [9, 9, 9], "spacing_mm": [1.0] * 3, "direction": IDENTITY}
    places = {"kidney_right": 11.0, "kidney_left": 61.0}
    document = {
        "case": "a",
        "organs": {"kidney_right": "ok", "kidney_left": "ok"},
        "patches": [{"organ": organ, "origin_mm": [0.0, 10.0, x], **grid} for organ, x in places.items()],
        "candidates": [
            {"start": [2, 10, 10], "stop": [6, 32, 20], "center_mm": [3.5, 20.5, 14.5], "score": 3.0},
            {"start": [2, 10, 60], "stop": [6, 25, 70], "center_mm": [3.5, 17.0, 64.5], "score": 1.0},
        ],
    }
    write_json(folder / "detections" / "a_boxes.json", document)


def test_a_folder_of_another_method_gets_every_column_and_is_not_written_to(bench: Bench, other_method: Path) -> None:
    _write_candidates(other_method)
    training = {"stage": "unet", "seed": 3, "iterations": 100, "batch": 2, "minutes": None}
    write_json(other_method / "method.json", {"cpu_seconds": 5.0, "training": [training]})
    before = sorted(path.name for path in other_method.iterdir())
    filled = fill_row(bench, {"name": "supervised", "predictions": str(other_method)})
    assert sorted(path.name for path in other_method.iterdir()) == before
    ours = Budget(stage="ddpm", seed=1, iterations=10, batch=4, minutes=2.0)
    text = write_tables(bench.output, [filled], {"ours": [ours]})
    written = pd.read_csv(bench.output / "ablation.csv", dtype=str).iloc[0]
    assert written[["TP", "FP", "FN", "precision", "recall", "F1"]].tolist() == [
        "1",
        "1",
        "0",
        "0.500",
        "1.000",
        "0.667",
    ]
    assert written[["AUROC organ", "CPU s/organ", "FP/healthy organ"]].tolist() == [
        "1.000 [1.000, 1.000]",
        "2.5",
        "1.000",
    ]
    # The false candidate of 15 mm lies in a bin that the case has no lesion of, and so in no number of a size.
    assert written[["2-4 TP", "2-4 FP", "2-4 F1 pooled", "<=2 cases", "<=2 FP"]].tolist() == [
        "1",
        "0",
        "1.000",
        "0",
        "0",
    ]
    assert "| supervised | unet  | 3    | 100        | 2     | 200     | –       |" in text
    assert "| ours       | ddpm  | 1    | 10         | 4     | 40      | 2.0     |" in text


def test_masks_alone_get_what_needs_no_score_and_the_reason_for_the_rest(bench: Bench, other_method: Path) -> None:
    filled = fill_row(bench, {"name": "masks", "predictions": str(other_method)})
    write_tables(bench.output, [filled], {})
    written = pd.read_csv(bench.output / "ablation.csv", dtype=str).iloc[0]
    assert written[["TP", "FP", "FROC", "AUROC organ", "CPU s/organ"]].tolist() == ["1", "1", "–", "–", "–"]
    reason = "1 of 1 cases have no candidates file, such as a"
    assert remarks_on_auroc([filled]) == [
        f"- no AUROC of {unit}: {reason}: all 1 rows" for unit in ("organs", "patients")
    ]


def test_what_an_auroc_is_over_is_said_once_for_the_rows_that_agree(bench: Bench, other_method: Path) -> None:
    filled = fill_row(bench, {"name": "a", "predictions": str(other_method)})
    scored = Scored(
        cases=("x", "y"), scores=np.array([1.0, 0.0]), positive=np.array([True, False]), left_out={"no_roi": 2}
    )
    area = auroc(scored, Bootstrap(num_draws=0))
    rows: list[FilledRow] = [
        replace(filled, name=name, organs=area, patients=area if name == "b" else undefined("no scores"))
        for name in "abc"
    ]
    assert remarks_on_auroc(rows) == [
        "- AUROC of organs over 1 positive, 1 negative, 2 left out (no_roi): all 3 rows",
        "- no AUROC of patients: no scores: a; c",
        "- AUROC of patients over 1 positive, 1 negative, 2 left out (no_roi): b",
    ]
