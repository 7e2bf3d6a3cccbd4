"""Where masks are found: each of the layouts alone, several at once, and what no layout explains."""

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.organ_mask_files import OrganMaskFile, find_organ_mask, require_organ_mask
from nnanomaly.dataset.raw_dataset import DatasetDescription, load_description
from nnanomaly.utilities.errors import DataError

WriteDescription = Callable[..., Path]


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write_map(path: Path, table: dict[str, int]) -> Path:
    """A label map with a table of labels in its header, by nibabel."""
    image = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([-2.0, -2.0, 3.0, 1.0]))
    labels = "".join(f'<Label Key="{value}"><![CDATA[{name}]]></Label>' for name, value in table.items())
    text = f"<CaretExtension><LabelTable>{labels}</LabelTable></CaretExtension>"
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(0, text.encode()))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return path


@pytest.fixture
def plain(write_description: WriteDescription) -> DatasetDescription:
    return load_description(write_description())


def test_a_folder_of_structures_per_case(plain: DatasetDescription, tmp_path: Path) -> None:
    root = touch(tmp_path / "masks", "a/kidney_left.nii.gz", "a/liver.nii.gz", "b/kidney_left.nii")
    found = [find_organ_mask(root, case, "kidney_left", description=plain) for case in ("a", "b", "c")]
    paths = [root / "a" / "kidney_left.nii.gz", root / "b" / "kidney_left.nii"]
    assert found == [*(OrganMaskFile(path=path) for path in paths), None]


def test_one_map_with_the_table_of_dataset_json(write_description: WriteDescription, tmp_path: Path) -> None:
    folder = write_description({"organ_mask_labels": {"kidney_left": 3, "kidney_right": 2}})
    description = load_description(folder)
    root = touch(tmp_path / "masks", "a/kidney_left.nii.gz")
    for case in ("a", "b"):
        write_map(root / f"{case}.nii.gz", {})

    def find(case: str, organ: str) -> OrganMaskFile | None:
        return find_organ_mask(root, case, organ, description=description)

    assert find("a", "kidney_left") == OrganMaskFile(path=root / "a" / "kidney_left.nii.gz")
    assert find("a", "kidney_right") == OrganMaskFile(path=root / "a.nii.gz", label=2)
    assert find("b", "kidney_left") == OrganMaskFile(path=root / "b.nii.gz", label=3)
    assert find("c", "kidney_left") is None


def test_one_map_with_the_table_in_its_header(plain: DatasetDescription, tmp_path: Path) -> None:
    path = write_map(tmp_path / "masks" / "a.nii.gz", {"kidney_right": 2, "kidney_left": 3, "liver": 5})
    found = {organ: find_organ_mask(path.parent, "a", organ, description=plain) for organ in plain.organs}
    assert found == {
        "kidney_left": OrganMaskFile(path=path, label=3),
        "kidney_right": OrganMaskFile(path=path, label=2),
    }


@pytest.mark.parametrize(
    ("table", "values", "said"),
    [
        ({"kidney_left": 3}, {"kidney_left": 7}, "a.nii.gz says that kidney_left is 3, .* says that kidney_left is 7"),
        # Version 1 of TotalSegmentator has the aorta at 7, version 2 the pancreas.
        ({"aorta": 7, "pancreas": 10}, {"pancreas": 7}, "says that pancreas is 10, .* says that pancreas is 7"),
        ({"iliac_artery_left": 51}, {"heart": 51}, "says that 51 is iliac_artery_left, .* says that heart is 51"),
    ],
)
def test_two_tables_that_contradict_each_other_are_refused_with_both(
    write_description: WriteDescription, tmp_path: Path, table: dict[str, int], values: dict[str, int], said: str
) -> None:
    description = load_description(write_description({"organs": list(values), "organ_mask_labels": values}))
    path = write_map(tmp_path / "masks" / "a.nii.gz", table)
    with pytest.raises(DataError, match=f"ROI-TABLE.*{said}"):
        find_organ_mask(path.parent, "a", next(iter(values)), description=description)


def test_the_table_of_dataset_json_gives_names_of_the_users_own(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    labels = {"left": 3, "kidney_right": 2}
    description = load_description(write_description({"organs": list(labels), "organ_mask_labels": labels}))
    path = write_map(tmp_path / "masks" / "a.nii.gz", {"kidney_left": 3, "kidney_right": 2})
    found = [find_organ_mask(path.parent, "a", organ, description=description) for organ in labels]
    assert found == [OrganMaskFile(path=path, label=3), OrganMaskFile(path=path, label=2)]


def test_a_structure_that_only_the_other_version_has_is_refused_by_its_name(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    description = load_description(write_description({"organs": ["heart", "prostate"]}))
    parts = [f"heart_{part}" for part in ("myocardium", "atrium_left", "ventricle_left", "atrium_right")]
    first = [*parts, "heart_ventricle_right", "pulmonary_artery", "face", "kidney_left"]
    path = write_map(tmp_path / "masks" / "a.nii.gz", {name: value for value, name in enumerate(first, 1)})
    with pytest.raises(
        DataError, match=r"version 1 of TotalSegmentator, which knows no heart, but its parts \(heart_m"
    ):
        find_organ_mask(path.parent, "a", "heart", description=description)
    with pytest.raises(DataError, match="version 1 of TotalSegmentator, which knows no prostate; the value"):
        find_organ_mask(path.parent, "a", "prostate", description=description)


def test_a_map_that_does_not_name_the_organ_is_refused_with_both_remedies(
    plain: DatasetDescription, tmp_path: Path
) -> None:
    path = write_map(tmp_path / "masks" / "a.nii.gz", {"liver": 5, "spleen": 1})
    with pytest.raises(
        DataError,
        match=r"ROI-TABLE.*a\.nii\.gz names 2 structures.*nearest: liver, spleen.*organ_mask_labels",
    ):
        find_organ_mask(path.parent, "a", "kidney_left", description=plain)
    write_map(path, {})
    with pytest.raises(DataError, match=r"ROI-TABLE.*no table of labels"):
        find_organ_mask(path.parent, "a", "kidney_left", description=plain)


def test_files_per_side_and_per_organ_beside_each_other(plain: DatasetDescription, tmp_path: Path) -> None:
    root = touch(tmp_path / "masks", "a_left.nii.gz", "a_right.nii.gz", "b_kidney_left.nii.gz", "b_left.nii.gz")
    names = {
        (case, organ): found.path.name
        for case in ("a", "b")
        for organ in plain.organs
        if (found := find_organ_mask(root, case, organ, description=plain)) is not None
    }
    assert names == {
        ("a", "kidney_left"): "a_left.nii.gz",
        ("a", "kidney_right"): "a_right.nii.gz",
        ("b", "kidney_left"): "b_kidney_left.nii.gz",
    }


def test_a_file_of_a_side_says_nothing_where_two_organs_have_that_side(
    write_description: WriteDescription, tmp_path: Path
) -> None:
    description = load_description(write_description({"organs": ["kidney_left", "adrenal_gland_left", "spleen"]}))
    root = touch(tmp_path / "masks", "a_left.nii.gz", "a_spleen.nii.gz")
    assert find_organ_mask(root, "a", "kidney_left", description=description) is None
    assert find_organ_mask(root, "a", "spleen", description=description) is not None


def test_the_file_of_an_organ_counts_before_a_map_without_a_table(plain: DatasetDescription, tmp_path: Path) -> None:
    write_map(tmp_path / "masks" / "a.nii.gz", {})
    root = touch(tmp_path / "masks", "a_left.nii.gz")
    assert find_organ_mask(root, "a", "kidney_left", description=plain) == OrganMaskFile(path=root / "a_left.nii.gz")


def test_a_missing_mask_names_the_folder_and_both_remedies(plain: DatasetDescription) -> None:
    with pytest.raises(DataError) as error:
        require_organ_mask(Path("/data/organMasksTr"), "case_a", "kidney_left", description=plain)
    assert "[NNA-ROI-MISSING] case_a: no mask of kidney_left in /data/organMasksTr" in str(error.value)
    assert "organMasksTr/case_a/kidney_left.nii.gz" in str(error.value)
    assert "nnanomaly_segment_organs" in str(error.value)
