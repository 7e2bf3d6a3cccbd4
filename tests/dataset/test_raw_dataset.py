from pathlib import Path

import pytest

from nnanomaly.dataset.raw_dataset import (
    check_case_id,
    find_cases,
    image_files,
    list_cases,
    load_description,
    training_cases,
)
from nnanomaly.utilities.errors import DataError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_description_keeps_nnunet_keys_and_ours(write_description):
    description = load_description(write_description())
    assert description.channel_names == ("CT",)
    assert description.file_ending == ".nii.gz"
    assert description.num_training == 2
    assert description.organs == ("kidney_left", "kidney_right")
    assert description.lesion_values == (2, 3)
    assert description.organ_mask_labels is None


def test_unknown_keys_and_a_byte_order_mark_are_tolerated(write_description):
    folder = write_description(licence="CC BY", dataset_note={"a": [1]})
    path = folder / "dataset.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_description(folder).num_training == 2


def test_a_region_of_several_values_is_a_lesion_label(write_description):
    labels = {"background": 0, "whole": [1, 2], "tumor": 2}
    folder = write_description({"lesion_labels": ["whole"]}, labels=labels)
    assert load_description(folder).lesion_values == (1, 2)


def test_the_only_foreground_label_is_the_lesion_unless_named(write_description):
    ours = {"lesion_labels": None}
    assert load_description(write_description(ours, labels={"background": 0, "lesion": 1})).lesion_values == (1,)
    assert load_description(write_description(ours)).lesion_values == ()


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("channel_names", None, "channel_names"),
        ("channel_names", ["CT"], r"\['CT'\]"),
        ("channel_names", {"1": "CT"}, "must be \\['0'\\]"),
        ("labels", None, "labels"),
        ("labels", {"background": 1}, "background"),
        ("labels", {"background": 0, "tumor": "1"}, "'tumor': '1'"),
        ("numTraining", None, "numTraining"),
        ("numTraining", True, "numTraining"),
        ("file_ending", "nii.gz", "file_ending"),
        ("nnanomaly", None, "nnanomaly"),
        ("nnanomaly", {"organs": []}, "organs"),
        ("nnanomaly", {"organs": ["a__b"]}, "a__b"),
        ("nnanomaly", {"organs": ["a/b"]}, "a/b"),
        ("nnanomaly", {"organs": ["a", "a"]}, "unique"),
        ("nnanomaly", {"organs": ["a"], "lesion_labels": ["tumour"]}, "tumour"),
        ("nnanomaly", {"organs": ["a"], "organ_mask_labels": {"b": 1}}, "lacks \\['a'\\]"),
        ("nnanomaly", {"organs": ["a"], "organ_mask_labels": {"a": 0}}, "positive"),
    ],
)
def test_wrong_keys_are_named_with_the_file_and_an_example(write_description, key, value, named):
    folder = write_description(**{key: value})
    with pytest.raises(DataError, match=named) as error:
        load_description(folder)
    assert str(folder / "dataset.json") in str(error.value)
    assert '"channel_names": {"0": "CT"}' in str(error.value)


def test_missing_description_is_a_data_error_with_an_example(tmp_path):
    with pytest.raises(DataError, match="dataset.json does not exist.*channel_names"):
        load_description(tmp_path)


def test_cases_are_sorted_and_other_files_passed_over(write_description):
    folder = write_description()
    names = ("b_0000.nii.gz", "a_1_0000.nii.gz", "a_1_0001.nii.gz", "c_0000.nii", "notes.txt", "._b_0000.nii.gz")
    touch(folder / "imagesTr", *names)
    assert training_cases(folder) == ["a_1", "b"]


def test_a_folder_without_cases_is_refused_when_cases_are_needed(tmp_path):
    assert find_cases(tmp_path / "none", ".nii.gz") == []
    with pytest.raises(DataError, match="not a folder"):
        list_cases(tmp_path / "none", ".nii.gz")
    with pytest.raises(DataError, match="case_0000.nii.gz"):
        list_cases(tmp_path, ".nii.gz")


@pytest.mark.parametrize(
    "case",
    [
        "",
        "../x",
        "a/b",
        ".hidden",
        "-rf",
        "=1+1",
        "a..b",
        "a b",
        "é;",
        "x\x1b[2J",
        "a\u202eb",
        "\udce9",
        "a" * 129,
        "a\n",
    ],
)
def test_unsafe_case_ids_are_refused(case):
    with pytest.raises(DataError, match="CASE-ID"):
        check_case_id(case, Path("imagesTr"))


@pytest.mark.parametrize("case", ["case_00000", "0", "A-b.c_d", "a" * 128])
def test_ordinary_case_ids_are_accepted(case):
    check_case_id(case, Path("imagesTr"))


def test_unsafe_file_names_stop_the_list_of_cases(tmp_path):
    touch(tmp_path, "-x_0000.nii.gz")
    with pytest.raises(DataError, match="'-x'"):
        list_cases(tmp_path, ".nii.gz")


def test_image_files_follow_the_channels_and_a_missing_one_is_named(write_description):
    folder = write_description(channel_names={"0": "CT", "1": "late"})
    description = load_description(folder)
    images = touch(folder / "imagesTr", "a_0001.nii.gz", "a_0000.nii.gz", "b_0000.nii.gz")
    assert [path.name for path in image_files(images, "a", description)] == ["a_0000.nii.gz", "a_0001.nii.gz"]
    with pytest.raises(DataError, match=r"b_0001.nii.gz \(late\)"):
        image_files(images, "b", description)
