"""Where predictions are looked for, and what is said when they are not all there."""

import logging
from pathlib import Path

import pytest

from nnanomaly.baselines.prediction_sources import find_predictions, predicted_folds, validation_folder
from nnanomaly.evaluation.reference_set import ReferenceSet
from nnanomaly.utilities.errors import DataError

TEST = ReferenceSet(
    references={"a": Path("labelsTs/a.nii.gz"), "b": Path("labelsTs/b.nii.gz")},
    folder=Path("labelsTs"),
    file_ending=".nii.gz",
    folds={},
)
FOLDS = ReferenceSet(
    references={"a": Path("labelsTr/a.nii.gz"), "b": Path("labelsTr/b.nii.gz")},
    folder=Path("labelsTr"),
    file_ending=".nii.gz",
    folds={"0": ["a"], "1": ["b"]},
    others=frozenset({"c"}),
)


def _touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_a_flat_folder_of_masks_with_its_neighbours(tmp_path: Path) -> None:
    _touch(*(tmp_path / name for name in ("a.nii.gz", "b.nii.gz", "a.npz", "detections/b_boxes.json", "plans.json")))
    found = find_predictions(tmp_path, "masks", TEST)
    assert found["a"].prediction == tmp_path / "a.nii.gz"
    assert (found["a"].probabilities, found["a"].candidates) == (tmp_path / "a.npz", None)
    assert (found["b"].probabilities, found["b"].candidates) == (None, tmp_path / "detections" / "b_boxes.json")


@pytest.mark.parametrize("place", ["", "test_predictions", "consolidated/test_predictions"])
def test_boxes_of_the_test_set_in_any_folder_of_nndetection(place: str, tmp_path: Path) -> None:
    _touch(*(tmp_path / place / f"{case}_boxes.pkl" for case in "ab"))
    _touch(tmp_path / "consolidated" / "val_predictions" / "z_boxes.pkl")
    found = find_predictions(tmp_path, "boxes", TEST)
    assert found["b"].prediction == tmp_path / place / "b_boxes.pkl"


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("masks", ["fold_0/validation/a.nii.gz", "fold_1/validation/b.nii.gz"]),
        ("boxes", ["fold0/val_predictions/a_boxes.pkl", "fold1/val_predictions/b_boxes.pkl"]),
        ("boxes", ["consolidated/val_predictions/a_boxes.pkl", "consolidated/val_predictions/b_boxes.pkl"]),
    ],
)
def test_validation_predictions_of_folds(kind: str, names: list[str], tmp_path: Path) -> None:
    _touch(*(tmp_path / name for name in names))
    found = find_predictions(tmp_path, kind, FOLDS)
    assert [found[case].prediction for case in "ab"] == [tmp_path / name for name in names]


def test_a_fold_must_have_its_own_cases_and_no_others(tmp_path: Path) -> None:
    _touch(tmp_path / "fold_0/validation/b.nii.gz", tmp_path / "fold_1/validation/b.nii.gz")
    with pytest.raises(DataError, match="EVAL-MISSING.*fold_0.*a"):
        find_predictions(tmp_path, "masks", FOLDS)
    with pytest.raises(DataError, match="EVAL-EXTRA.*fold_0.*b"):
        find_predictions(tmp_path, "masks", FOLDS, allow_missing=True)


def test_predictions_of_other_folds_are_passed_over_aloud(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _touch(*(tmp_path / f"{case}.nii.gz" for case in "abc"))
    with caplog.at_level(logging.INFO):
        find_predictions(tmp_path, "masks", FOLDS)
    assert "1 predictions of cases that are not judged here" in caplog.text
    _touch(tmp_path / "stranger.nii.gz")
    with pytest.raises(DataError, match="EVAL-EXTRA.*stranger"):
        find_predictions(tmp_path, "masks", FOLDS)


def test_a_missing_prediction_may_count_as_empty(tmp_path: Path) -> None:
    _touch(tmp_path / "a_boxes.pkl")
    assert find_predictions(tmp_path, "boxes", TEST, allow_missing=True)["b"].prediction is None


def test_an_empty_folder_names_where_was_looked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"EVAL-FOLDER.*_boxes\.pkl.*fold1/val_predictions"):
        find_predictions(tmp_path, "boxes", FOLDS)


def test_validation_predictions_of_nndetection_are_found_beside_its_test_predictions(tmp_path: Path) -> None:
    assert validation_folder(tmp_path) is None
    place = tmp_path / "consolidated" / "val_predictions"
    place.mkdir(parents=True)
    (tmp_path / "consolidated" / "test_predictions").mkdir()
    for folder in (tmp_path, tmp_path / "consolidated", tmp_path / "consolidated" / "test_predictions"):
        assert validation_folder(folder) == place


def test_only_folds_with_predictions_count_as_trained(tmp_path: Path) -> None:
    _touch(tmp_path / "fold1" / "val_predictions" / "b_boxes.pkl")
    assert predicted_folds(tmp_path, "boxes", FOLDS) == ["1"]
