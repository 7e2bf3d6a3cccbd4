"""The same numbers from other implementations: picai_eval (if installed), and the comparison data (if present)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.evaluation.evaluate_folder import evaluate_folder
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import MatchRule, match_case
from nnanomaly.evaluation.metrics import SIZE_BINS_MM, size_metrics
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.evaluation.summary import Evaluation
from nnanomaly.volume import Grid, Volume

NO_FLOOR = SizeFloor(min_voxels=0, min_diameter_mm=0.0)
LESION_2 = LesionLabels(reference=(2,), prediction=(2,))
ANOMALY_1 = LesionLabels(reference=(2,), prediction=(1,))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.filterwarnings("ignore")
def test_picai_eval_in_one_to_one_mode_agrees(seed: int) -> None:
    picai = pytest.importorskip("picai_eval.eval", reason="picai_eval is not installed")
    rng = np.random.default_rng(seed)
    reference, candidates = (np.zeros((12, 24, 24), dtype=np.uint8) for _ in range(2))
    for mask in (reference, candidates):
        for _ in range(rng.integers(0, 9)):
            size = rng.integers(1, 8, size=3)
            start = rng.integers(0, np.array(mask.shape) - size)
            mask[tuple(slice(a, a + s) for a, s in zip(start, size, strict=True))] = 1
    grid = Grid(reference.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    rule = MatchRule(reference_floor=NO_FLOOR, candidate_floor=NO_FLOOR)
    ours = match_case(Volume(candidates[None], grid), Volume(reference[None], grid), rule)
    rows, *_ = picai.evaluate_case(
        candidates.astype(np.float32), reference, min_overlap=0.2, allow_unmatched_candidates_with_minimal_overlap=False
    )
    # picai's rows are (is a lesion, confidence, overlap); a missed lesion has confidence 0.
    theirs = ["FP" if not lesion else "TP" if confidence > 0 else "FN" for lesion, confidence, _ in rows]
    assert sorted(record.kind for record in ours) == sorted(theirs)
    overlaps = sorted(round(record.iou, 6) for record in ours if record.kind == "TP")
    assert overlaps == sorted(round(float(iou), 6) for lesion, confidence, iou in rows if lesion and confidence > 0)


def evaluate_sample(sample: Path, name: str, output: Path) -> Evaluation:
    """One of the mask predictions of the comparison data."""
    raw = sample / "nnUNet_raw" / "Dataset501_KitsSample"
    no_filter = MatchRule(reference_floor=NO_FLOOR, candidate_floor=NO_FLOOR)
    test = {
        "nnunet_test": (sample / "nnUNet_predictions_Ts", LESION_2, MatchRule()),
        "anomaly_test": (sample / "anomaly_predictions_Ts", ANOMALY_1, MatchRule()),
        "anomaly_test_nofilter": (sample / "anomaly_predictions_Ts", ANOMALY_1, no_filter),
    }
    if name in test:
        folder, labels, rule = test[name]
        return evaluate_folder(raw / "labelsTs", folder, labels=labels, rule=rule, output_folder=output)
    predictions, references = output / "preds", output / "gt"  # the validation cases of five folds, in one folder
    predictions.mkdir()
    references.mkdir()
    for path in sorted((sample / "nnUNet_results" / "Dataset501_KitsSample").glob("*/fold_*/validation/*.nii.gz")):
        (predictions / path.name).symlink_to(path)
        gt = sample / "nnUNet_preprocessed" / "Dataset501_KitsSample" / "gt_segmentations" / path.name
        (references / path.name).symlink_to(gt)
    return evaluate_folder(references, predictions, labels=LESION_2, output_folder=output)


@pytest.mark.parametrize("name", ["nnunet_val", "nnunet_test", "anomaly_test", "anomaly_test_nofilter"])
def test_every_number_of_the_mask_predictions_is_reproduced(name: str, baselines_sample: Path, tmp_path: Path) -> None:
    expected = json.loads((baselines_sample / "expected" / "expected_metrics.json").read_text())[name]
    evaluation = evaluate_sample(baselines_sample, name, tmp_path)
    metrics = evaluation.metrics
    for stratum, numbers in expected["aggregate"].items():
        if stratum == "lesion_free":
            assert metrics.lesion_free.n_cases == numbers["n_cases"]
            assert metrics.lesion_free.fp == numbers["fp"]
            assert metrics.lesion_free.n_clean == numbers["cases_without_fp"]
            continue
        aggregate: Any = metrics.all if stratum == "all" else metrics.by_size[stratum]
        for key, value in numbers.items():
            ours = metrics.dsc_all_cases if key == "dsc_all_cases" else getattr(aggregate, key)
            if isinstance(value, dict):
                assert {k: getattr(ours, k) for k in value} == pytest.approx(value, abs=1e-9), (stratum, key)
            else:
                assert ours == value, (stratum, key)


@pytest.mark.parametrize("name", ["nnunet_val", "nnunet_test", "anomaly_test", "anomaly_test_nofilter"])
def test_every_lesion_and_candidate_of_the_mask_predictions_agrees(
    name: str, baselines_sample: Path, tmp_path: Path
) -> None:
    expected = json.loads((baselines_sample / "expected" / "expected_metrics.json").read_text())[name]["cases"]
    evaluation = evaluate_sample(baselines_sample, name, tmp_path)
    results = {result.files.case: result for result in evaluation.results}
    dsc = {metrics.case: metrics.dsc for metrics in evaluation.cases}
    assert set(results) == {case["case"] for case in expected}
    for case in expected:
        records = results[case["case"]].records
        assert dsc[case["case"]] == pytest.approx(case["dsc"], abs=1e-9)
        by_size = {name: size_metrics(name, {case["case"]: records})[0] for name in SIZE_BINS_MM}
        of_bins = {name: numbers.dsc for name, numbers in by_size.items() if numbers.has_lesion}
        assert of_bins == pytest.approx(case["dsc_bin"], abs=1e-9)
        assert sum(r.kind == "ignored_lesion" for r in records) == case["n_ref_ignored"]
        assert sum(r.kind == "removed_candidate" for r in records) == case["n_pred_removed"]
        lesions = [
            (r.axial_diameter_mm, r.kind == "TP", r.iou if r.kind == "TP" else 0.0)
            for r in records
            if r.kind in ("TP", "FN")
        ]
        theirs = [(lesion["diameter_mm"], lesion["matched"], lesion["iou"]) for lesion in case["refs"]]
        np.testing.assert_allclose(np.array(sorted(lesions)).T, np.array(sorted(theirs)).T, atol=1e-4)
        counted = [r for r in records if r.kind in ("TP", "FP", "neutral_candidate")]
        candidates = [
            (r.candidate.axial_diameter_mm, r.kind == "TP", r.kind == "neutral_candidate")
            for r in counted
            if r.candidate
        ]
        theirs = [(item["diameter_mm"], item["matched"], item["ignored"]) for item in case["preds"]]
        np.testing.assert_allclose(np.array(sorted(candidates)).T, np.array(sorted(theirs)).T, atol=1e-4)


def test_the_voxel_numbers_are_those_nnunet_wrote(baselines_sample: Path, tmp_path: Path) -> None:
    results = baselines_sample / "nnUNet_results" / "Dataset501_KitsSample"
    gt = baselines_sample / "nnUNet_preprocessed" / "Dataset501_KitsSample" / "gt_segmentations"
    for fold in sorted(results.glob("*/fold_*/validation")):
        references = tmp_path / f"gt_{fold.parent.name}"
        references.mkdir()
        for path in fold.glob("*.nii.gz"):
            (references / path.name).symlink_to(gt / path.name)
        output = tmp_path / fold.parent.name
        evaluate_folder(references, fold, labels=LESION_2, output_folder=output)
        ours = json.loads((output / "summary.json").read_text())
        theirs = json.loads((fold / "summary.json").read_text())
        assert ours["mean"]["2"] == pytest.approx(theirs["mean"]["2"])
        cases = {Path(case["prediction_file"]).name: case["metrics"]["2"] for case in theirs["metric_per_case"]}
        for case in ours["metric_per_case"]:
            assert case["metrics"]["2"] == pytest.approx(cases[Path(case["prediction_file"]).name])
