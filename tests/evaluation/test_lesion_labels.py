"""Which labels are lesions: from dataset.json, from the user, and where nobody says it."""

import json
from pathlib import Path

import pytest

from nnanomaly.evaluation.lesion_labels import LesionLabels, find_lesion_labels, labels_ending
from nnanomaly.utilities.errors import ConfigurationError

KIDNEY = {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3}


def describe(folder: Path, labels: dict[str, object], lesion_labels: list[str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    document: dict[str, object] = {"labels": labels, "channel_names": {"0": "CT"}}
    if lesion_labels is not None:
        document["nnanomaly"] = {"lesion_labels": lesion_labels}
    path = folder / "dataset.json"
    path.write_text(json.dumps(document))
    return path


def test_the_union_is_read_from_the_dataset_beside_the_reference(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["cyst", "tumor"])
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")
    assert (labels.reference, labels.prediction, labels.name) == ((2, 3), (2, 3), "(2, 3)")


def test_predictions_have_their_own_labels(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    describe(tmp_path / "preds", {"background": 0, "lesion": 1})
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")
    assert (labels.reference, labels.prediction, labels.largest_prediction_label) == ((2, 3), (1,), 1)


def test_nnunet_predictions_that_carry_the_dataset_along_need_no_nnanomaly_key(tmp_path: Path) -> None:
    # nnU-Net copies the dataset.json it was trained with; an older copy may lack our key.
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    describe(tmp_path / "preds", KIDNEY)
    assert find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds").prediction == (2, 3)


def test_a_dataset_with_one_label_needs_to_name_none(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "lesion": 4})
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")
    assert (labels.reference, labels.name) == ((4,), "4")


def test_regions_of_nnunet_are_resolved(tmp_path: Path) -> None:
    path = describe(tmp_path, {"background": 0, "whole": [1, 2, 3], "mass": [2, 3]}, ["mass"])
    assert find_lesion_labels(tmp_path / "gt", tmp_path / "preds", dataset_json=path).reference == (2, 3)


def test_a_predicted_region_is_written_as_its_entry_of_the_class_order(tmp_path: Path) -> None:
    # nnU-Net writes the k-th region as regions_class_order[k]: here 2 and 3 are drawn, 1 is predicted.
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    path = describe(tmp_path / "preds", {"background": 0, "lesion": [2, 3]})
    path.write_text(json.dumps({**json.loads(path.read_text()), "regions_class_order": [1]}))
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")
    assert (labels.reference, labels.prediction) == ((2, 3), (1, 2, 3))


def test_a_dataset_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    with pytest.raises(FileNotFoundError, match="IO-MISSING.*other.json"):
        find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds", dataset_json=tmp_path / "other.json")


def test_the_user_wins(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds", reference=[2], prediction=[5])
    assert (labels.reference, labels.prediction) == ((2,), (5,))


def test_labels_of_the_reference_hold_for_predictions_that_say_nothing(tmp_path: Path) -> None:
    labels = find_lesion_labels(tmp_path / "gt", tmp_path / "preds", reference=[3, 2])
    assert (labels.reference, labels.prediction, labels.largest_prediction_label) == ((2, 3), (2, 3), None)


def test_nobody_says_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CFG-LABELS.*no dataset.json"):
        find_lesion_labels(tmp_path / "gt", tmp_path / "preds")


def test_several_labels_and_no_choice(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY)
    with pytest.raises(ConfigurationError, match="CFG-LABELS.*kidney.*lesion_labels"):
        find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")


def test_a_lesion_label_that_is_no_label(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["tumour"])
    with pytest.raises(ConfigurationError, match="CFG-LABELS.*tumour"):
        find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")


def test_predictions_of_other_labels_must_say_which_are_lesions(tmp_path: Path) -> None:
    describe(tmp_path, KIDNEY, ["tumor", "cyst"])
    describe(tmp_path / "preds", {"background": 0, "liver": 1, "spleen": 2})
    with pytest.raises(ConfigurationError, match="CFG-LABELS.*preds.*liver"):
        find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")


@pytest.mark.parametrize("wrong", [(), (0, 1)])
def test_no_label_and_the_background_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="CFG-LABELS"):
        LesionLabels(reference=(1,), prediction=wrong)


def test_the_label_ignore_is_no_lesion_and_its_value_is_known(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "lesion": 1, "ignore": 2})
    labels = find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds")
    assert (labels.reference, labels.prediction, labels.ignored) == ((1,), (1,), 2)
    assert find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds", prediction=[5]).ignored == 2


def test_the_ending_is_that_of_the_dataset_or_of_the_files(tmp_path: Path) -> None:
    folder = tmp_path / "labelsTs"
    assert labels_ending(folder) == ".nii.gz"
    folder.mkdir()
    (folder / "a.nii").touch()
    assert labels_ending(folder) == ".nii"
    path = describe(tmp_path, KIDNEY)
    path.write_text(json.dumps({**json.loads(path.read_text()), "file_ending": ".nii.gz"}))
    assert labels_ending(folder) == ".nii.gz"


@pytest.mark.parametrize("values", [(9,), (2, 9), (255,)])
def test_a_value_that_no_label_has_is_refused_with_the_labels_there_are(
    tmp_path: Path, values: tuple[int, ...]
) -> None:
    path = describe(tmp_path, KIDNEY, ["tumor"])
    with pytest.raises(ConfigurationError, match=rf"CFG-LABELS.*{values[-1]} is no value.*{path}.*tumor"):
        find_lesion_labels(tmp_path / "labelsTs", tmp_path / "preds", reference=values)


def test_a_value_of_a_region_is_taken(tmp_path: Path) -> None:
    describe(tmp_path, {"background": 0, "whole": [1, 2, 3], "mass": [2, 3]})
    assert find_lesion_labels(tmp_path / "gt", tmp_path / "preds", reference=[3]).reference == (3,)
