"""Every number of the box predictions of the comparison data, and nnDetection's own average precision and FROC."""

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.baselines.nndetection_boxes import read_boxes
from nnanomaly.evaluation.case_pairs import CasePairs, measure_reference, pair_boxes
from nnanomaly.evaluation.detection_curves import average_precision, froc, pool_detections
from nnanomaly.evaluation.lesion_matching import MatchRule, match_pairs
from nnanomaly.evaluation.metrics import LesionMetrics, lesion_metrics
from nnanomaly.evaluation.thresholds import best_threshold
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.volume import Volume

RULE = MatchRule(assignment="score")
MODEL = Path("RetinaUNetV001_D3V001_3d") / "consolidated"
SETS = {
    "val": ("labelsTr", MODEL / "val_predictions"),
    "test": ("labelsTs", MODEL / "test_predictions"),
    "nnunet": ("labelsTs", Path("nnUNet_Simple") / "consolidated" / "test_predictions"),
}
NAMES = {
    **{f"nndet_{part}_t{t}": part for part in ("val", "test") for t in ("0.00", "0.10", "0.50", "_val_f1")},
    "nnunet_as_boxes_test_t0.00": "nnunet",
}


@functools.cache
def pairs_of(sample: Path, name: str) -> dict[str, CasePairs]:
    """Lesions and boxes of one of the sets."""
    labels, predictions = SETS[name]
    pairs = {}
    for path in sorted((sample / "nnUNet_raw" / "Dataset501_KitsSample" / labels).glob("*.nii.gz")):
        case = path.name.removesuffix(".nii.gz")
        volume = reader_writer_for(path).read_labels(path)
        drawn = measure_reference(Volume(volume.array == 2, volume.grid), connectivity=26)
        boxes = read_boxes(sample / "det_models" / "Task501_KitsSample" / predictions / f"{case}_boxes.pkl")
        pairs[case] = pair_boxes(boxes.scored, drawn, case=case)
    return pairs


def _expected(sample: Path) -> dict[str, Any]:
    return dict(json.loads((sample / "expected" / "expected_metrics.json").read_text()))


def _check(metrics: LesionMetrics, expected: dict[str, Any]) -> None:
    for stratum, numbers in expected.items():
        if stratum == "lesion_free":
            free = metrics.lesion_free
            assert (free.n_cases, free.fp, free.n_clean) == tuple(
                numbers[key] for key in ("n_cases", "fp", "cases_without_fp")
            )
            continue
        aggregate = metrics.all if stratum == "all" else metrics.by_size[stratum]
        for key, value in numbers.items():
            ours = metrics.dsc_all_cases if key == "dsc_all_cases" else getattr(aggregate, key)
            if isinstance(value, dict):
                assert {k: getattr(ours, k) for k in value} == pytest.approx(value, abs=1e-6), (stratum, key)
            else:
                assert ours == value, (stratum, key)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_of_the_box_predictions_is_reproduced(name: str, baselines_sample: Path) -> None:
    expected = _expected(baselines_sample)[name]
    pairs = pairs_of(baselines_sample, NAMES[name])
    records = {case: match_pairs(of_case, RULE, min_score=expected["threshold"]) for case, of_case in pairs.items()}
    _check(lesion_metrics(records, min_iou=RULE.min_iou), expected["aggregate"])
    for case in expected["cases"]:
        counted = [r for r in records[case["case"]] if r.kind in ("TP", "FP", "neutral_candidate")]
        ours = sorted((r.score, r.kind == "TP", r.candidate.axial_diameter_mm) for r in counted if r.candidate)
        theirs = sorted((item["score"], item["matched"], item["diameter_mm"]) for item in case["preds"])
        assert [row[:2] for row in ours] == [row[:2] for row in theirs]
        lesions = sorted(
            (r.lesion.axial_diameter_mm, r.kind == "TP", r.iou if r.kind == "TP" else 0.0)
            for r in records[case["case"]]
            if r.kind in ("TP", "FN") and r.lesion
        )
        drawn = sorted((item["diameter_mm"], item["matched"], item["iou"]) for item in case["refs"])
        np.testing.assert_allclose(np.array(lesions, dtype=float), np.array(drawn, dtype=float), atol=1e-4)
        assert [row[2] for row in ours] == pytest.approx([row[2] for row in theirs], abs=1e-4)


def test_the_threshold_of_the_validation_predictions_is_found(baselines_sample: Path) -> None:
    expected = _expected(baselines_sample)["nndet_threshold_from_val"]
    threshold = best_threshold(pairs_of(baselines_sample, "val"), RULE, source="validation")
    assert threshold.value == pytest.approx(expected["threshold"], abs=1e-6)
    assert threshold.mean_f1 == pytest.approx(expected["val_mean_f1"], abs=1e-6)


@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("min_iou", [0.1, 0.2, 0.5])
def test_average_precision_and_froc_are_those_of_nndetection(part: str, min_iou: float, baselines_sample: Path) -> None:
    expected = _expected(baselines_sample)["nndet_ap_froc"][f"{part}_{min_iou}"]
    rule = replace(RULE, min_iou=min_iou)
    detections = pool_detections({c: match_pairs(p, rule) for c, p in pairs_of(baselines_sample, part).items()})
    assert detections is not None
    curve = froc(detections)
    assert curve is not None
    assert average_precision(detections) == pytest.approx(expected["ap"], abs=1e-6)
    assert average_precision(detections) == pytest.approx(expected["ap_nndet"], abs=1e-6)
    assert curve.score == pytest.approx(expected["froc"], abs=1e-6)
    assert curve.score == pytest.approx(expected["froc_nndet"], abs=1e-6)
