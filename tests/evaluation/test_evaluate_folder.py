"""A folder against a folder: files, faults, the two documents, and what the crop lost."""

import gzip
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.evaluation.evaluate_folder import evaluate_folder
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.summary import DETECTION_KEYS
from nnanomaly.roi.components import find_components
from nnanomaly.utilities.errors import ConfigurationError, DataError

SHAPE = (12, 14, 40)  # x, y, z of the file
KIDNEY_TUMOR = LesionLabels(reference=(2, 3), prediction=(1,), largest_prediction_label=1)
FIRST, SECOND = (slice(2, 7), slice(2, 7), slice(2, 7)), (slice(2, 7), slice(2, 7), slice(20, 25))
KINDS = ("TP", "FN", "FP")


def write(path: Path, *blocks: tuple[tuple[slice, slice, slice], int], shape: tuple[int, int, int] = SHAPE) -> None:
    """A label map of blocks on a grid of 2 mm in z and 1 mm else; its voxels count 2 mm3."""
    array = np.zeros(shape, dtype=np.uint8)
    for block, label in blocks:
        array[block] = label
    save(path, array, np.diag([1.0, 1.0, 2.0, 1.0]))


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(array, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """`hit`: tumor and cyst, the tumor found, a false positive. `free`: kidney only, nothing predicted."""
    gt, preds = tmp_path / "labelsTs", tmp_path / "preds"
    false_positive = (slice(5, 10), slice(8, 13), slice(30, 35))
    write(gt / "hit.nii.gz", ((slice(0, 12),) * 2 + (slice(0, 40),), 1), (FIRST, 2), (SECOND, 3))
    write(preds / "hit.nii.gz", (FIRST, 1), (false_positive, 1))
    write(gt / "free.nii.gz", (FIRST, 1))
    write(preds / "free.nii.gz")
    return gt, preds


def test_lesions_are_the_union_of_the_labels_and_matched_per_case(folders: tuple[Path, Path]) -> None:
    evaluation = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert evaluation.failures == {}
    assert {result.files.case: [r.kind for r in result.records] for result in evaluation.results} == {
        "free": [],
        "hit": ["TP", "FN", "FP"],
    }
    metrics = evaluation.metrics
    assert (metrics.all.precision.mean, metrics.all.recall.mean, metrics.all.n_cases) == (0.5, 0.5, 1)
    assert (metrics.lesion_free.n_cases, metrics.lesion_free.clean_fraction) == (1, 1.0)


def test_the_summary_has_the_keys_of_nnunet_and_one_of_ours(folders: tuple[Path, Path]) -> None:
    evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    summary = json.loads((folders[1] / "summary.json").read_text(), parse_constant=pytest.fail)
    assert set(summary) == {"foreground_mean", "mean", "metric_per_case", "lesion_level"}
    metrics = {"Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref"}
    assert set(summary["foreground_mean"]) == metrics
    assert {label: set(values) for label, values in summary["mean"].items()} == {"(2, 3)": metrics}
    for case in summary["metric_per_case"]:
        assert set(case) == {"metrics", "prediction_file", "reference_file"}
        assert {label: set(values) for label, values in case["metrics"].items()} == {"(2, 3)": metrics}
    free, hit = summary["metric_per_case"]
    assert hit["reference_file"] == str(folders[0] / "hit.nii.gz")
    assert hit["prediction_file"] == str(folders[1] / "hit.nii.gz")
    # 125 voxels common, 125 predicted elsewhere, 125 missed.
    expected = {"TP": 125, "FP": 125, "FN": 125, "TN": 12 * 14 * 40 - 375, "n_pred": 250, "n_ref": 250}
    assert hit["metrics"]["(2, 3)"] == {**expected, "Dice": 0.5, "IoU": 1 / 3}
    # Both empty: undefined, null, and left out of the mean, as nnU-Net's nanmean does.
    assert (free["metrics"]["(2, 3)"]["Dice"], free["metrics"]["(2, 3)"]["TP"]) == (None, 0)
    assert (summary["mean"]["(2, 3)"]["Dice"], summary["mean"]["(2, 3)"]["TP"]) == (0.5, 62.5)


def test_the_detection_summary_holds_rules_records_and_numbers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    evaluate_folder(*folders, labels=KIDNEY_TUMOR, output_folder=tmp_path / "out", rule=MatchRule(min_iou=0.5))
    assert not (folders[1] / "summary.json").exists()
    document = json.loads((tmp_path / "out" / "detection_summary.json").read_text(), parse_constant=pytest.fail)
    assert list(document) == list(DETECTION_KEYS)
    assert (document["rule"]["min_iou"], document["rule"]["reference_floor"]["min_voxels"]) == (0.5, 20)
    assert document["labels"]["reference"] == [2, 3]
    assert set(document["size_bins_mm"]) == {"<=2", "2-4", "4-7", ">7"}
    records = document["cases"][1]["records"]
    assert [record["kind"] for record in records] == ["TP", "FN", "FP"]
    assert records[0]["lesion"]["volume_mm3"] == 250.0
    # 5 x 5 voxels in plane: sqrt(32) between the corners, plus 1 mm.
    assert records[0]["lesion"]["axial_diameter_mm"] == pytest.approx(math.sqrt(32) + 1, abs=1e-6)
    assert document["metrics"]["all"]["tp"] == 1


def test_a_missing_prediction_is_an_error_that_lists_it(folders: tuple[Path, Path]) -> None:
    (folders[1] / "hit.nii.gz").unlink()
    with pytest.raises(DataError, match="EVAL-MISSING.*hit") as caught:
        evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert "\n" not in str(caught.value)
    assert not (folders[1] / "summary.json").exists()


def test_an_allowed_missing_prediction_counts_as_empty(folders: tuple[Path, Path]) -> None:
    (folders[1] / "hit.nii.gz").unlink()
    evaluation = evaluate_folder(*folders, labels=KIDNEY_TUMOR, allow_missing=True)
    assert (evaluation.metrics.all.fn, evaluation.metrics.all.recall.mean, evaluation.metrics.n_cases) == (2, 0.0, 2)
    summary = json.loads((folders[1] / "summary.json").read_text())
    assert summary["metric_per_case"][1]["prediction_file"] is None
    assert json.loads((folders[1] / "detection_summary.json").read_text())["missing_predictions"] == ["hit"]


def test_a_prediction_without_a_reference_is_an_error_that_lists_it(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "other.nii.gz")
    with pytest.raises(DataError, match="EVAL-EXTRA.*other"):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR, allow_missing=True)


def test_hidden_files_and_subfolders_are_no_predictions(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "anomaly_maps" / "other.nii.gz")
    write(folders[1] / ".tmp-1-other.nii.gz")
    assert len(evaluate_folder(*folders, labels=KIDNEY_TUMOR).results) == 2


def test_another_place_in_space_is_refused_with_its_distance(folders: tuple[Path, Path]) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = (3.0, 0.0, 4.0)
    save(folders[1] / "hit.nii.gz", np.zeros(SHAPE, np.uint8), affine)
    evaluation = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert "GEO-PAIR" in evaluation.failures["hit"] and "5 mm" in evaluation.failures["hit"]


def test_a_prediction_beside_its_reference_by_a_turned_sign_is_refused(folders: tuple[Path, Path]) -> None:
    # Mirrored left to right: x from 0 to -11 mm instead of from 0 to 11.
    save(folders[1] / "hit.nii.gz", np.zeros(SHAPE, np.uint8), np.diag([-1.0, 1.0, 2.0, 1.0]))
    assert "shifted by 11 mm" in evaluate_folder(*folders, labels=KIDNEY_TUMOR).failures["hit"]


def reorder(path: Path, codes: str) -> None:
    """Store a file in another order, as nibabel does."""
    own = nibabel.load(path)
    wanted = nibabel.orientations.axcodes2ornt(tuple(codes))
    nibabel.save(
        own.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(own.affine), wanted)), path
    )


@pytest.mark.parametrize("codes", ["LPS", "SAR", "IPL"])
def test_a_prediction_in_another_order_is_judged_alike_with_its_scores(folders: tuple[Path, Path], codes: str) -> None:
    # The candidates file stands in the order of the prediction; here the box of the hit in `SAR` and so on.
    expected = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    reorder(folders[1] / "hit.nii.gz", codes)
    stored = np.asarray(nibabel.load(folders[1] / "hit.nii.gz").dataobj).T
    hit = find_components(stored)
    candidates = [
        {"start": list(c.box.start), "stop": list(c.box.stop), "score": float(c.box.shape.count(5))} for c in hit
    ]
    (folders[1] / "detections").mkdir()
    (folders[1] / "detections" / "hit_boxes.json").write_text(json.dumps({"candidates": candidates}), encoding="utf-8")
    found = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert found.failures == {}
    assert found.metrics.all.tp == expected.metrics.all.tp == 1
    scores = [r.candidate.score for result in found.results for r in result.records if r.candidate is not None]
    assert scores == [3.0, 3.0]


def test_the_rounding_of_a_header_is_no_difference(folders: tuple[Path, Path]) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = 1e-4
    save(folders[1] / "hit.nii.gz", np.zeros(SHAPE, np.uint8), affine)
    assert evaluate_folder(*folders, labels=KIDNEY_TUMOR).failures == {}


def test_another_shape_is_refused_with_both(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "hit.nii.gz", shape=(12, 14, 39))
    failure = evaluate_folder(*folders, labels=KIDNEY_TUMOR).failures["hit"]
    assert "GEO-PAIR" in failure and "(39, 14, 12)" in failure and "(40, 14, 12)" in failure


def test_one_unreadable_case_does_not_stop_the_rest(folders: tuple[Path, Path]) -> None:
    path = folders[1] / "hit.nii.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-50]))
    evaluation = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert [result.files.case for result in evaluation.results] == ["free"]
    assert list(evaluation.failures) == ["hit"] and "hit.nii.gz" in evaluation.failures["hit"]
    assert evaluation.metrics.n_cases == 1
    assert "hit" in json.loads((folders[1] / "detection_summary.json").read_text())["failed_cases"]


def test_if_no_case_can_be_read_nothing_is_written(folders: tuple[Path, Path]) -> None:
    for path in folders[1].glob("*.nii.gz"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="EVAL-FAILED.*2 cases.*free"):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert not (folders[1] / "summary.json").exists()


def test_a_label_beyond_those_of_the_predictions_is_asked_about(folders: tuple[Path, Path]) -> None:
    write(folders[1] / "hit.nii.gz", (FIRST, 2))
    failure = evaluate_folder(*folders, labels=KIDNEY_TUMOR).failures["hit"]
    assert "LABEL-VALUE" in failure and "label 2" in failure


def test_predictions_that_hold_only_other_labels_are_asked_about(folders: tuple[Path, Path]) -> None:
    # A binary mask read with the labels of the reference: it would silently count as empty.
    labels = LesionLabels(reference=(2, 3), prediction=(2, 3), largest_prediction_label=3)
    with pytest.raises(DataError, match="EVAL-LABELS"):
        evaluate_folder(*folders, labels=labels)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_references_is_refused(folders: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"EVAL-FOLDER.*{name}"):
        evaluate_folder(tmp_path / name, folders[1], labels=KIDNEY_TUMOR)


def test_lesions_learn_what_the_patches_left_out(folders: tuple[Path, Path]) -> None:
    # In the world (z, y, x) the file's voxel (i, j, k) lies at (2k, -j, -i). A patch over z = 0..19 mm holds all of
    # the tumor (z 4..12); the cyst (z 40..48) lies outside, so nothing in the patch could have found it.
    patch = {
        "shape": [20, 40, 40],
        "spacing_mm": [1.0, 1.0, 1.0],
        "origin_mm": [0.0, -35.0, -35.0],
        "direction": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "organ": "kidney_left",
    }
    detections = folders[1] / "detections"
    detections.mkdir()
    candidate = {"start": [2, 2, 2], "stop": [7, 7, 7], "score": 0.75}
    (detections / "hit_boxes.json").write_text(json.dumps({"patches": [patch], "candidates": [candidate]}))
    evaluation = evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    hit = next(result for result in evaluation.results if result.files.case == "hit")
    assert [record.outside_roi_fraction for record in hit.records] == [0.0, 1.0, None]
    assert [record.score for record in hit.records] == [0.75, None, None]
    lost = evaluation.metrics.all.outside_roi
    assert (lost.n_lesions, lost.mean_fraction, lost.fn_beyond_reach) == (2, 0.5, 1)
    document = json.loads((folders[1] / "summary.json").read_text())
    assert document["lesion_level"]["metrics"]["all"]["outside_roi"]["fn_beyond_reach"] == 1
    assert document["lesion_level"]["curves"] is None  # the false positive has no score


def test_scores_give_average_precision_and_froc(folders: tuple[Path, Path]) -> None:
    candidates = [
        {"start": [2, 2, 2], "stop": [7, 7, 7], "score": 0.75},
        {"start": [30, 8, 5], "stop": [35, 13, 10], "score": 0.9},  # file order (x, y, z) is reversed
    ]
    (folders[1] / "detections").mkdir()
    (folders[1] / "detections" / "hit_boxes.json").write_text(json.dumps({"candidates": candidates}))
    evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    curves = json.loads((folders[1] / "summary.json").read_text())["lesion_level"]["curves"]
    # The false positive comes first: precision 1/2 up to recall 1/2 (51 of 101 points); 1/2 false positive a scan.
    assert curves["average_precision"] == pytest.approx(0.5 * 51 / 101)
    assert curves["sensitivity_at_fp_per_scan"]["0.5"] == curves["sensitivity_at_fp_per_scan"]["8.0"] == 0.5


def test_several_processes_give_the_same_documents(folders: tuple[Path, Path], tmp_path: Path) -> None:
    write(folders[0] / "bad.nii.gz")
    (folders[1] / "bad.nii.gz").write_bytes(b"no image")
    seen: list[tuple[int, int]] = []
    for number in (1, 2):
        output = tmp_path / f"out{number}"
        progress = (lambda done, total: seen.append((done, total))) if number == 1 else None
        evaluate_folder(*folders, labels=KIDNEY_TUMOR, output_folder=output, num_processes=number, progress=progress)
    for name in ("summary.json", "detection_summary.json"):
        assert (tmp_path / "out1" / name).read_text() == (tmp_path / "out2" / name).read_text()
    document = json.loads((tmp_path / "out1" / "detection_summary.json").read_text())
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert list(document["failed_cases"]) == ["bad"]


def test_the_summary_that_nnunet_left_is_kept_and_ours_is_replaced(folders: tuple[Path, Path]) -> None:
    theirs = {"foreground_mean": {}, "mean": {}, "metric_per_case": []}
    (folders[1] / "summary.json").write_text(json.dumps(theirs))
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*nnU-Net's own summary.*-o"):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR)
    assert json.loads((folders[1] / "summary.json").read_text()) == theirs
    (folders[1] / "summary.json").unlink()
    for _ in range(2):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR)


def test_missing_and_surplus_predictions_are_told_together(folders: tuple[Path, Path]) -> None:
    (folders[1] / "hit.nii.gz").rename(folders[1] / "Hit.nii.gz")
    with pytest.raises(
        DataError, match=r"EVAL-MISSING.*1 of 2 predictions: hit; .*without a reference.*: Hit.*--allow_m"
    ):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("name", ["hit.nii", "free.NII.GZ", "other.mha"])
def test_images_of_another_ending_are_not_left_out_in_silence(side: int, name: str, folders: tuple[Path, Path]) -> None:
    (folders[side] / name).touch()
    with pytest.raises(DataError, match=rf"EVAL-NAMES.*1 images that do not end in \.nii\.gz: {name}"):
        evaluate_folder(*folders, labels=KIDNEY_TUMOR, allow_missing=True)
