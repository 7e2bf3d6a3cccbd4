"""Scores of nnU-Net's components from its probabilities, and its masks as nnDetection's own conversion boxes them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.baselines.nndetection_boxes import read_boxes
from nnanomaly.baselines.nnunet_scores import AGGREGATES, read_probability_scores
from nnanomaly.evaluation.case_pairs import boxes_of_mask, measure_mask
from nnanomaly.evaluation.evaluate_case import read_mask
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.reordering import Reordering, reordering_onto
from nnanomaly.roi.components import find_components
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid

GRID = Grid((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
ORDER = reordering_onto(GRID, GRID)
assert ORDER is not None


def _probabilities() -> np.ndarray:
    array = np.zeros((3, *GRID.shape), dtype=np.float16)
    array[1, 0, 0] = [0.25, 0.5, 0.0, 0.125]
    array[2, 0, 0] = [0.25, 0.25, 0.0, 0.0]
    return array


def _component_scores(path: Path, values: tuple[int, ...], aggregate: str) -> list[float | None]:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[0, 0] = [True, True, False, True]
    score = read_probability_scores(path, values, ORDER, aggregate=aggregate)
    return [score(component) for component in find_components(mask)]


@pytest.mark.parametrize(
    ("values", "aggregate", "expected"),
    [
        ((1,), "max", [0.5, 0.125]),
        ((1, 2), "max", [0.75, 0.125]),
        ((1, 2), "mean", [0.625, 0.125]),
        ((1, 2), "median", [0.625, 0.125]),
        ((1, 2), "percentile95", [0.7375, 0.125]),
    ],
)
def test_a_score_is_the_aggregate_of_the_summed_lesion_labels(
    values: tuple[int, ...], aggregate: str, expected: list[float], tmp_path: Path
) -> None:
    np.savez(tmp_path / "a.npz", probabilities=_probabilities())
    assert _component_scores(tmp_path / "a.npz", values, aggregate) == pytest.approx(expected)
    assert aggregate in AGGREGATES


@pytest.mark.parametrize(
    ("arrays", "code"),
    [
        ({"softmax": _probabilities()}, "PROB-FORM"),
        ({"probabilities": _probabilities()[:, :1]}, "PROB-FORM"),
        ({"probabilities": _probabilities()[:1]}, "PROB-FORM"),
        ({"probabilities": _probabilities() * 4}, "PROB-RANGE"),
        ({"probabilities": _probabilities() * np.nan}, "PROB-RANGE"),
        ({"probabilities": np.array([{}], dtype=object)}, "PROB-FORM"),
    ],
)
def test_other_arrays_are_refused(arrays: dict[str, np.ndarray], code: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=rf"{code}.*a\.npz"):
        read_probability_scores(tmp_path / "a.npz", (1,), ORDER)


def test_probabilities_follow_a_mask_in_another_order(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", probabilities=_probabilities())
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[0, 0] = [True, True, False, True]
    order = Reordering(shape=GRID.shape, axes=(2, 0, 1), flipped=(True, False, True))
    score = read_probability_scores(tmp_path / "a.npz", (1,), order)
    assert sorted(score(component) or 0 for component in find_components(order.array(mask[None])[0])) == [0.125, 0.5]


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(DataError, match="PROB-FORM"):
        read_probability_scores(tmp_path / "a.npz", (1,), ORDER)


def test_masks_become_the_boxes_that_the_conversion_of_nndetection_makes(baselines_sample: Path) -> None:
    simple = baselines_sample / "det_models" / "Task501_KitsSample" / "nnUNet_Simple" / "consolidated"
    floor = SizeFloor(min_voxels=5, min_diameter_mm=0.0)  # its rule "simple": at least five voxels
    for path in sorted((simple / "test_predictions").glob("*_boxes.pkl")):
        mask = read_mask(baselines_sample / "nnUNet_predictions_Ts" / path.name.replace("_boxes.pkl", ".nii.gz"), (2,))
        ours = boxes_of_mask(measure_mask(mask, connectivity=26, floor=floor)).boxes
        assert sorted(ours.tolist()) == sorted(read_boxes(path).scored.boxes.tolist())


def test_the_axial_axis_of_kits_is_the_last_one(baselines_sample: Path) -> None:
    labels = sorted((baselines_sample / "nnUNet_raw" / "Dataset501_KitsSample").glob("labelsT?/*.nii.gz"))
    assert len(labels) == 14
    assert {read_mask(path, (2,)).grid.axis_of(0) for path in labels} == {2}


def test_an_array_that_claims_endless_size_is_refused_before_it_is_read(tmp_path: Path) -> None:
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": (2, 10**6, 10**6, 10**3)}
    np.lib.format.write_array_header_1_0(header, described)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("probabilities.npy", header.getvalue())
    with pytest.raises(DataError, match="PROB-FORM.*the shape is"):
        read_probability_scores(tmp_path / "a.npz", (1,), ORDER)
