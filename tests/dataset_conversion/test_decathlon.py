"""Tasks of the Medical Segmentation Decathlon: what the description says, and descriptions that lie."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.dataset.integrity import find_faults
from nnanomaly.dataset.organ_labels import load_organ_labels
from nnanomaly.dataset_conversion.decathlon import find_task_cases, read_task, task_scheme
from nnanomaly.dataset_conversion.labelled_cases import convert_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError


@pytest.fixture
def write_task(tmp_path: Path, write_drawn: Callable[..., None]) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        folder = tmp_path / "Task03_Liver"
        for number, lesion in ((0, 2), (1, 1)):
            name = f"liver_{number}.nii.gz"
            write_drawn(folder / "imagesTr" / name, folder / "labelsTr" / name, lesion=lesion)
        write_drawn(folder / "imagesTs" / "liver_9.nii.gz", None)
        names = [f"liver_{number}.nii.gz" for number in (0, 1)]
        document = {
            "modality": {"0": "CT"},
            "labels": {"0": "background", "1": "liver", "2": "cancer"},
            "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
            "test": ["./imagesTs/liver_9.nii.gz"],
            **changes,
        }
        (folder / "dataset.json").write_text(json.dumps(document))
        return folder

    return write


def test_a_task_becomes_a_sound_dataset_with_a_label_per_case(write_task: Callable[..., Path]) -> None:
    folder = write_task()
    task = read_task(folder)
    scheme = task_scheme(folder, task, "liver", ())
    report = convert_cases(find_task_cases(folder, task), scheme, folder.parent / "Dataset503_Liver", num_processes=1)
    assert report.failures == {}
    assert [finding for finding in find_faults(report.folder) if finding.level == "ERROR"] == []
    assert load_organ_labels(report.folder) == {("liver_0", "liver"): "unhealthy", ("liver_1", "liver"): "healthy"}
    assert (report.folder / "imagesTs" / "liver_9_0000.nii.gz").is_file()
    ours = json.loads((report.folder / "dataset.json").read_text())
    assert ours["labels"] == {"background": 0, "liver": 1, "cancer": 2}
    assert ours["nnanomaly"] == {"organs": ["liver"], "lesion_labels": ["cancer"]}
    assert ours["numTraining"] == 2


def test_a_label_that_is_not_there_is_refused_with_those_that_are(write_task: Callable[..., Path]) -> None:
    folder = write_task()
    for organ, lesions in (("spleen", ()), ("liver", ("tumour",)), ("background", ())):
        with pytest.raises(ConfigurationError, match="CFG-ORGANS.*only liver, cancer"):
            task_scheme(folder, read_task(folder), organ, lesions)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"modality": {"0": "FLAIR", "1": "T1w"}}, "one channel of CT"),
        ({"modality": {"0": "MRI"}}, "one channel of CT"),
        ({"labels": None}, "labels: expected an object"),
        ({"training": {}}, "training: expected a list"),
        ({"training": ["./imagesTr/liver_0.nii.gz"]}, "training.0.: expected an object"),
        ({"test": ["../../etc/passwd.nii.gz"]}, "passwd"),
        ({"test": ["./imagesTs/liver_9.nrrd"]}, "liver_9.nrrd"),
    ],
)
def test_another_description_is_refused(write_task: Callable[..., Path], changes: dict[str, Any], fault: str) -> None:
    folder = write_task(**changes)
    with pytest.raises(DataError, match=f"CONVERT-JSON.*{fault}"):
        find_task_cases(folder, read_task(folder))


def test_a_folder_that_is_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="CONVERT-FOLDER.*Task03_Liver"):
        read_task(tmp_path)


def test_what_no_list_names_is_said_and_links_are_followed(
    write_task: Callable[..., Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_task(numTraining=3, numTest=1)
    (folder / "imagesTr" / "liver_0.nii.gz").rename(tmp_path / "elsewhere.nii.gz")
    (folder / "imagesTr" / "liver_0.nii.gz").symlink_to(tmp_path / "elsewhere.nii.gz")
    (folder / "labelsTr" / "liver_7.nii.gz").touch()
    cases = find_task_cases(folder, read_task(folder))
    assert [case.case for case in cases] == ["liver_0", "liver_1", "liver_9"]
    assert "numTraining is 3, but 2 cases are listed" in caplog.text
    assert "numTest" not in caplog.text
    assert "1 files of its folders not: " in caplog.text
    assert "labelsTr/liver_7.nii.gz" in caplog.text


def test_ids_that_become_one_by_a_suffix_or_by_case_are_refused_with_both_sources(
    write_task: Callable[..., Path], write_drawn: Callable[..., None]
) -> None:
    for name in ("liver_0_0000.nii.gz", "LIVER_0.nii.gz"):
        entries = [{"image": f"imagesTr/{n}", "label": f"labelsTr/{n}"} for n in ("liver_0.nii.gz", name)]
        folder = write_task(training=entries)
        write_drawn(folder / "imagesTr" / name, folder / "labelsTr" / name)
        task = read_task(folder)
        scheme = task_scheme(folder, task, "liver", ())
        with pytest.raises(DataError, match=rf"(?s)CONVERT-SAME.*imagesTr/liver_0\.nii\.gz and .*imagesTr/{name}"):
            convert_cases(find_task_cases(folder, task), scheme, folder.parent / "Dataset503_Liver", num_processes=1)
