"""KiTS23 to a raw dataset: sides, lesions, weak labels, and cases that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.dataset.integrity import find_faults
from nnanomaly.dataset.organ_labels import load_organ_labels
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.dataset_conversion.kits23 import SCHEME, find_kits_cases
from nnanomaly.dataset_conversion.labelled_cases import ConversionReport, convert_cases
from nnanomaly.imageio.nifti import read_labels
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid


@pytest.fixture
def kits(tmp_path: Path, write_drawn: Callable[..., None]) -> Path:
    for case, lesion in (("case_00000", 2), ("case_00001", 3), ("case_00002", 1)):
        folder = tmp_path / "kits23" / "dataset" / case
        write_drawn(folder / "imaging.nii.gz", folder / "segmentation.nii.gz", lesion=lesion)
    return tmp_path / "kits23"


def convert(kits: Path, num_processes: int = 1) -> ConversionReport:
    target = kits.parent / "Dataset501_KiTS23"
    return convert_cases(find_kits_cases(kits), SCHEME, target, num_processes=num_processes)


def test_the_dataset_is_sound_and_every_kidney_has_a_mask_with_its_lesion_and_a_label(kits: Path) -> None:
    report = convert(kits)
    assert (report.num_cases, report.failures) == (3, {})
    assert report.label_counts == {"healthy": 4, "unhealthy": 2}
    assert find_faults(report.folder) == []
    assert load_organ_labels(report.folder) == {
        ("case_00000", "kidney_left"): "healthy",
        ("case_00000", "kidney_right"): "unhealthy",
        ("case_00001", "kidney_left"): "healthy",
        ("case_00001", "kidney_right"): "unhealthy",
        ("case_00002", "kidney_left"): "healthy",
        ("case_00002", "kidney_right"): "healthy",
    }
    drawn = read_labels(report.folder / "labelsTr" / "case_00000.nii.gz")
    left, right = (
        read_labels(report.folder / "organMasksTr" / "case_00000" / f"kidney_{side}.nii.gz")
        for side in ("left", "right")
    )
    np.testing.assert_array_equal(left.array + right.array, drawn.array > 0)
    assert right.array[drawn.array == 2].all()
    assert left.grid.to_world(np.argwhere(left.array[0]).astype(float))[:, 2].min() > 0, "x grows towards the left"
    assert load_description(report.folder).lesion_values == (2, 3)


def test_images_and_label_maps_are_the_files_of_the_source(kits: Path) -> None:
    folder = convert(kits).folder
    source = kits / "dataset" / "case_00000"
    assert (folder / "imagesTr" / "case_00000_0000.nii.gz").samefile(source / "imaging.nii.gz")
    assert (folder / "labelsTr" / "case_00000.nii.gz").samefile(source / "segmentation.nii.gz")


def test_cases_that_cannot_be_used_are_left_out_and_named(kits: Path, write_drawn: Callable[..., None]) -> None:
    (kits / "dataset" / "case_00000" / "imaging.nii.gz").unlink()
    (kits / "dataset" / "case_00001" / "segmentation.nii.gz").write_bytes(b"")
    shifted = kits / "dataset" / "case_00003"
    grid = Grid((12, 20, 60), (5.0, 4.0, 4.0), (60.0, 0.0, -118.0))
    write_drawn(shifted / "imaging.nii.gz", shifted / "segmentation.nii.gz", grid=grid)
    report = convert(kits)
    assert {case: reason.split("]")[0] for case, reason in report.failures.items()} == {
        "case_00000": "[NNA-IO-MISSING",
        "case_00001": "[NNA-IO-EMPTY",
        "case_00003": "[NNA-GEO-PAIR",
    }
    assert find_faults(report.folder) == []
    assert json.loads((report.folder / "conversion.json").read_text())["left_out"] == report.failures
    assert [path.name for path in (report.folder / "organMasksTr").iterdir()] == ["case_00002"]


def test_nothing_is_left_where_no_case_can_be_used(kits: Path) -> None:
    for path in kits.rglob("segmentation.nii.gz"):
        path.unlink()
    with pytest.raises(DataError, match=r"CONVERT-NOTHING.*IO-MISSING.*case_00000"):
        convert(kits)
    assert [path.name for path in kits.parent.iterdir()] == ["kits23"]


def test_the_result_does_not_depend_on_the_number_of_processes(kits: Path) -> None:
    def files() -> dict[str, bytes]:
        folder = convert(kits, num_processes).folder
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        folder.rename(kits.parent / f"with_{num_processes}")
        return found

    num_processes = 1
    alone = files()
    num_processes = 2
    assert files() == alone


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CONVERT-FOLDER.*imaging\.nii\.gz"):
        find_kits_cases(tmp_path)
