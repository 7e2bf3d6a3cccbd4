"""Predictions of nnDetection: order of columns and axes, both variants, every kind of bad content."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.baselines.nndetection_boxes import BoxPrediction, read_boxes, write_boxes
from nnanomaly.baselines.restricted_pickle import load_pickle
from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.utilities.errors import DataError, IntegrityError
from nnanomaly.volume import Grid


def test_columns_and_axes_become_ours(box_file: Callable[..., Path]) -> None:
    prediction = read_boxes(box_file())
    # The mask of 2..4, 7 and 11..20 along axes 0, 1 and 2 is [1, 6, 5, 8, 10, 21] for nnDetection.
    assert prediction.scored.boxes.tolist() == [[1, 6, 10, 5, 8, 21]]
    assert prediction.scored.scores is not None
    assert prediction.scored.scores.tolist() == [0.5]
    assert prediction.classes.tolist() == [0]
    assert prediction.grid.shape == (10, 12, 30)
    assert prediction.grid.spacing_mm == (3.0, 0.6, 0.5)
    assert prediction.grid.origin_mm == (3.0, 2.0, 1.0)


def test_a_direction_is_turned_around_in_rows_and_columns(box_file: Callable[..., Path]) -> None:
    # ITK's first axis runs towards inferior (-z) and its third towards left (+x), as in KiTS.
    direction = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
    grid = read_boxes(box_file(itk_direction=direction)).grid
    assert grid.direction == ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0))
    assert grid.axis_of(0) == 2


@pytest.mark.parametrize("shape", [(0, 6), (1, 0)])
def test_no_boxes_may_have_either_shape(shape: tuple[int, int], box_file: Callable[..., Path]) -> None:
    empty = np.zeros(0)
    prediction = read_boxes(box_file(pred_boxes=np.zeros(shape), pred_scores=empty, pred_labels=empty))
    assert prediction.scored.boxes.shape == (0, 6)


def test_the_variant_of_its_nnunet_import_is_read(box_file: Callable[..., Path]) -> None:
    boxes, labels = np.array([[1, 6, 5, 8, 10, 21]]), np.array([1])
    prediction = read_boxes(box_file(restore=None, pred_boxes=boxes, pred_labels=labels))
    assert prediction.scored.boxes.tolist() == [[1, 6, 10, 5, 8, 21]]
    assert prediction.classes.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "code", "fragment"),
    [
        ({"restore": False}, "BOX-RESTORE", "val_predictions"),
        ({"pred_boxes": np.zeros((1, 5))}, "BOX-SHAPE", r"\(1, 5\)"),
        ({"pred_scores": np.zeros(2)}, "BOX-SHAPE", "1 boxes, 2 scores and 1 labels"),
        ({"pred_boxes": [[1, 2, 3, 4, 5, 6]]}, "BOX-SHAPE", "pred_boxes is list"),
        ({"pred_boxes": np.array([["a"] * 6])}, "BOX-SHAPE", "pred_boxes is <U1"),
        ({"pred_boxes": np.array([[1, 6, 1, 8, 10, 21.0]])}, "BOX-VALUE", "ends before it starts"),
        ({"pred_boxes": np.array([[np.nan, 6, 5, 8, 10, 21]])}, "BOX-VALUE", "NaN"),
        ({"pred_scores": np.array([np.nan])}, "BOX-VALUE", "NaN"),
        ({"pred_scores": np.array([1.25])}, "BOX-SCORE", "score 0 is 1.25"),
        ({"pred_scores": np.array([-0.5])}, "BOX-SCORE", "score 0 is -0.5"),
        ({"pred_labels": np.array([0.5])}, "BOX-VALUE", "pred_labels"),
        ({"itk_spacing": (1.0, 0.0, 1.0)}, "BOX-GRID", "spacing_mm is 0.0"),
        ({"itk_spacing": (1.0, 1e9, 1.0)}, "BOX-GRID", "spacing_mm is 1000000000.0"),
        ({"itk_origin": (1e12, 0.0, 0.0)}, "BOX-GRID", "origin_mm"),
        ({"itk_direction": (2.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0)}, "BOX-GRID", "orthonormal"),
        ({"itk_origin": (1.0, 0.0)}, "BOX-GRID", "3 numbers"),
        ({"itk_origin": None}, "PKL-KEYS", "lacks the keys \\['itk_origin'\\]"),
        ({"surplus": 1}, "PKL-KEYS", "unknown ones \\['surplus'\\]"),
    ],
)
def test_bad_content_is_named(
    changes: dict[str, object], code: str, fragment: str, box_file: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=rf"{code}.*case_boxes\.pkl.*{fragment}"):
        read_boxes(box_file(**changes))


def test_an_array_of_objects_is_refused(box_file: Callable[..., Path]) -> None:
    with pytest.raises(IntegrityError, match=r"PKL-TYPE.*case_boxes\.pkl holds an array of the type object"):
        read_boxes(box_file(pred_scores=np.array([None], dtype=object)))


def test_what_is_written_has_the_keys_and_types_of_nndetection(tmp_path: Path) -> None:
    grid = Grid((10, 12, 30), (3.0, 0.6, 0.5), (3.0, 2.0, 1.0), ((0.0, 0.0, -1.0), (0.0, 1.0, 0.0), (1.0, 0.0, 0.0)))
    scored = ScoredBoxes(boxes=np.array([[1.0, 6, 10, 5, 8, 21]]), scores=np.array([0.25]))
    path = tmp_path / "case_boxes.pkl"
    write_boxes(path, BoxPrediction(scored=scored, classes=np.array([0]), grid=grid))
    content = load_pickle(path)
    assert content["pred_boxes"].tolist() == [[1, 6, 5, 8, 10, 21]]
    dtypes = {key: content[key].dtype for key in ("pred_boxes", "pred_scores", "pred_labels")}
    assert set(dtypes.values()) == {np.dtype(np.float32)}
    assert content["original_size_of_raw_data"].dtype == np.int64
    assert content["restore"] is True
    assert content["itk_direction"] == (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
    assert read_boxes(path).grid == grid


def test_the_grid_of_a_prediction_is_that_of_the_image_on_disk(baselines_sample: Path) -> None:
    model = baselines_sample / "det_models" / "Task501_KitsSample" / "RetinaUNetV001_D3V001_3d" / "consolidated"
    labels = baselines_sample / "nnUNet_raw" / "Dataset501_KitsSample" / "labelsTs"
    for path in sorted((model / "test_predictions").glob("*_boxes.pkl")):
        image = reader_writer_for(labels / "x.nii.gz").read_labels(labels / path.name.replace("_boxes.pkl", ".nii.gz"))
        grid = read_boxes(path).grid
        assert grid.shape == image.grid.shape
        assert grid.largest_corner_distance_mm(image.grid) < 1e-3


def test_unrestored_predictions_and_label_files_are_refused(baselines_sample: Path) -> None:
    model = baselines_sample / "det_models" / "Task501_KitsSample" / "RetinaUNetV001_D3V001_3d"
    for path in sorted(model.glob("fold*/val_predictions_preprocessed/*_boxes.pkl")):
        with pytest.raises(DataError, match=r"BOX-RESTORE.*val_predictions"):
            read_boxes(path)
    label_files = sorted((baselines_sample / "det_data").rglob("imagesTr/*_boxes.pkl"))
    assert label_files
    for path in label_files:
        with pytest.raises(DataError, match="PKL-KEYS"):
            read_boxes(path)
