"""A table of paths to a raw dataset: every column, every fault of every row."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.integrity import find_faults
from nnanomaly.dataset.organ_labels import load_organ_labels, patient_groups
from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.dataset_conversion.path_table import convert_table
from nnanomaly.utilities.errors import DataError

SIDES = ("left", "right")


@pytest.fixture
def data(tmp_path: Path, write_drawn: Callable[..., None]) -> Path:
    """Scans, drawn lesions and masks in folders of their own."""
    folder = tmp_path / "data"
    for case in ("a", "b", "c"):
        write_drawn(folder / "scans" / f"{case}.nii.gz", folder / "drawn" / f"{case}.nii.gz")
        for side in SIDES:
            write_drawn(folder / "masks" / f"{case}_{side}.nii.gz", None)
            write_drawn(folder / "structures" / case / f"kidney_{side}.nii.gz", None)
        write_drawn(folder / "structures" / case / "liver.nii.gz", None)
    return folder


def convert(data: Path, *lines: str, organs: tuple[str, ...] = (), lesions: dict[str, int] | None = None) -> Path:
    (data / "table.csv").write_text("\n".join(lines) + "\n")
    target = data.parent / "Dataset501_Table"
    convert_table(data / "table.csv", target, organs=organs, lesions=lesions or {})
    return target


def test_every_column_finds_its_place(data: Path) -> None:
    folder = convert(
        data,
        "case,image,split,patient,label_map,mask_kidney_left,mask_kidney_right,label_kidney_left,label_kidney_right",
        "a,scans/a.nii.gz,train,p1,drawn/a.nii.gz,masks/a_left.nii.gz,masks/a_right.nii.gz,Healthy,unhealthy",
        "b,scans/b.nii.gz,,p1,,masks/b_left.nii.gz,masks/b_right.nii.gz,healthy,",
        "c,scans/c.nii.gz,test,,drawn/c.nii.gz,masks/c_left.nii.gz,masks/c_right.nii.gz,,",
        lesions={"tumor": 2},
    )
    assert [finding.message for finding in find_faults(folder) if finding.level == "ERROR"] == []
    assert load_organ_labels(folder) == {
        ("a", "kidney_left"): "healthy",
        ("a", "kidney_right"): "unhealthy",
        ("b", "kidney_left"): "healthy",
    }
    assert patient_groups(folder) == {"a": "p1", "b": "p1"}
    assert (folder / "labelsTr" / "a.nii.gz").samefile(data / "drawn" / "a.nii.gz")
    assert (folder / "labelsTs" / "c.nii.gz").is_file()
    mask = find_organ_mask(folder / "organMasksTs", "c", "kidney_right", description=load_description(folder))
    assert mask is not None
    assert mask.path.samefile(data / "masks" / "c_right.nii.gz")
    document = json.loads((folder / "dataset.json").read_text())
    assert document["numTraining"] == 2
    assert document["nnanomaly"] == {"organs": ["kidney_left", "kidney_right"], "lesion_labels": ["tumor"]}


def test_patients_are_kept_where_labels_are_still_to_come(data: Path) -> None:
    folder = convert(
        data,
        "case,image,patient,mask_kidney_left",
        "a,scans/a.nii.gz,p1,masks/a_left.nii.gz",
        "b,scans/b.nii.gz,p1,masks/b_left.nii.gz",
        "c,scans/c.nii.gz,,masks/c_left.nii.gz",
    )
    assert load_organ_labels(folder) == {}
    assert patient_groups(folder) == {"a": "p1", "b": "p1"}
    assert [finding.code for finding in find_faults(folder) if finding.level == "ERROR"] == ["LABELS-HEALTHY"]


def test_a_folder_of_structures_gives_the_organs_and_a_file_that_is_named_counts_before_it(data: Path) -> None:
    folder = convert(
        data,
        "case,image,organ_masks,mask_kidney_left",
        "a,scans/a.nii.gz,structures/a,masks/a_left.nii.gz",
        "b,scans/b.nii.gz,structures/b,",
        organs=("kidney_right",),
    )
    files = sorted(str(path.relative_to(folder)) for path in (folder / "organMasksTr").rglob("*.nii.gz"))
    assert files == [f"organMasksTr/{case}/kidney_{side}.nii.gz" for case in ("a", "b") for side in SIDES]
    for case, source in (("a", "masks/a_left.nii.gz"), ("b", "structures/b/kidney_left.nii.gz")):
        assert (folder / "organMasksTr" / case / "kidney_left.nii.gz").samefile(data / source)


def test_one_label_map_with_its_table_serves_all_organs(data: Path) -> None:
    image = nibabel.load(data / "scans" / "a.nii.gz")
    labels = nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)
    text = b'<CaretExtension><Label Key="5"><![CDATA[vertebrae_L1]]></Label></CaretExtension>'
    labels.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text))
    nibabel.save(labels, data / "all.nii.gz")
    folder = convert(data, "case,image,organ_masks,label_vertebrae_L1", "a,scans/a.nii.gz,all.nii.gz,healthy")
    assert load_description(folder).organs == ("vertebrae_L1",)
    mask = find_organ_mask(folder / "organMasksTr", "a", "vertebrae_L1", description=load_description(folder))
    assert mask is not None
    assert mask.label == 5


def test_all_faults_of_all_rows_are_listed_and_nothing_is_written(data: Path) -> None:
    with pytest.raises(DataError, match="CONVERT-ROWS") as error:
        convert(
            data,
            "case,image,split,mask_kidney_left,label_kidney_left",
            "a/../b,scans/a.nii.gz,validation,masks/none.nii.gz,fine",
            "b,,train,table.csv,healthy",
        )
    for fault in (
        "line 2: case 'a/../b'",
        "line 2: split 'validation'",
        "line 2: mask_kidney_left 'masks/none.nii.gz' is no file",
        "line 2: label_kidney_left 'fine'",
        "line 3: no image",
        "line 3: mask_kidney_left 'table.csv' ends with none of",
    ):
        assert fault in str(error.value)
    assert [path.name for path in data.parent.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        (["case,image,label_liver"], "no rows"),
        (["case,image", "a,scans/a.nii.gz"], "no organ is named"),
        (["case,image,label_liver,notes", "a,scans/a.nii.gz,healthy,x"], "unknown column 'notes'"),
        (["case,image,label_li ver", "a,scans/a.nii.gz,healthy"], "organ 'li ver'"),
        (
            ["case,image,label_liver", "a,scans/a.nii.gz,healthy", "A,scans/b.nii.gz,healthy"],
            "2 rows for the case 'a': line 2, line 3",
        ),
        (["case,image,label_liver", "a,scans/a.nii.gz,healthy", "b,scans/b.nii,healthy"], r"\.nii, \.nii\.gz"),
    ],
)
def test_faults_of_the_table_are_named(data: Path, lines: list[str], fault: str) -> None:
    with pytest.raises(DataError, match=f"(?s)CONVERT-ROWS.*{fault}"):
        convert(data, *lines)


def test_a_table_without_the_columns_shows_an_example(data: Path) -> None:
    with pytest.raises(DataError, match="CONVERT-CSV.*needs.*case,image"):
        convert(data, "id,path", "a,scans/a.nii.gz")


def test_a_file_that_is_named_counts_whatever_its_ending(data: Path) -> None:
    (data / "masks" / "plain.nii").write_bytes(b"")
    folder = convert(data, "case,image,organ_masks,mask_kidney_left", "a,scans/a.nii.gz,structures/a,masks/plain.nii")
    assert sorted(path.name for path in (folder / "organMasksTr" / "a").iterdir()) == ["kidney_left.nii"]


def test_links_are_followed_and_those_to_nothing_are_named(data: Path) -> None:
    (data / "scans" / "link.nii.gz").symlink_to(data / "scans" / "b.nii.gz")
    folder = convert(data, "case,image,label_liver", "a,scans/link.nii.gz,healthy")
    assert (folder / "imagesTr" / "a_0000.nii.gz").samefile(data / "scans" / "b.nii.gz")
    (data / "scans" / "broken.nii.gz").symlink_to("nowhere.nii.gz")
    (data / "structures" / "a" / "spleen.nii.gz").symlink_to("spleen.nii.gz")
    with pytest.raises(DataError, match=r"(?s)spleen\.nii\.gz is a link.*broken.nii.gz.*is a link to nowhere\.nii\.gz"):
        convert(data, "case,image,organ_masks,label_liver", "a,scans/broken.nii.gz,structures/a,healthy")
