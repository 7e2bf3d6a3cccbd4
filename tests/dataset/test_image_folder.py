"""What lies in a folder of images beside those of cases, and what is advised where there are none."""

import gzip
from pathlib import Path

import pytest

from nnanomaly.dataset.image_folder import image_ending, misnamed_images, why_no_case
from nnanomaly.dataset.raw_dataset import list_cases
from nnanomaly.utilities.errors import DataError

DICOM = bytes(128) + b"DICM" + bytes(300)
NIFTI = bytes(344) + b"n+1\0"


def fill(folder: Path, *files: str | tuple[str, bytes]) -> Path:
    folder.mkdir()
    for item in files:
        name, content = item if isinstance(item, tuple) else (item, b"")
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content", "ending"),
    [
        ("a_0000.nii.gz", b"", ".nii.gz"),
        ("c_0000.NII.GZ", b"", ".nii.gz"),
        ("d.nii", b"", ".nii"),
        ("e.mha", b"", ".mha"),
        ("f.IMA", b"", ".dcm"),
        ("IM0001", DICOM, ".dcm"),
        ("1.2.840.113.7", DICOM, ".dcm"),
        ("scan", NIFTI, ""),
        ("scan", gzip.compress(NIFTI), ""),
        ("README", b"words", None),
        ("dataset.json", b"{}", None),
        ("plan.pkl", b"", None),
    ],
)
def test_images_are_known_by_their_ending_and_without_one_by_their_content(
    name: str, content: bytes, ending: str | None, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    assert image_ending(tmp_path / name) == ending


def test_images_that_fit_no_case_are_listed_and_nothing_else(tmp_path: Path) -> None:
    folder = fill(tmp_path / "i", "a_0000.nii.gz", "b.nii.gz", "d_0000.nii", ".DS_Store", "._b.nii.gz", "notes.txt")
    (folder / "more").mkdir()
    (folder / "lost_0000.nii.gz").symlink_to(tmp_path / "nothing")
    assert misnamed_images(folder, ["a_0000.nii.gz"]) == ["b.nii.gz", "d_0000.nii", "lost_0000.nii.gz"]


@pytest.mark.parametrize(
    ("files", "cause", "remedy"),
    [
        ((), "holds nothing", "Name the folder that holds images such as case_0000.nii.gz"),
        (("notes.txt",), "only 0 folders and 1 other files", "Name the folder"),
        (("b.nii.gz", "c.nii.gz"), "2 images .nii.gz, but none has a channel number", "b.nii.gz to b_0000.nii.gz"),
        (("a_0000.nii",), "1 images .nii, but .nii.gz is wanted", "gzip"),
        (("a_0000.NII.GZ",), "1 images .nii.gz, but .nii.gz is wanted", "rename"),
        ((("scan", NIFTI),), "1 images without an ending, but .nii.gz is wanted", "rename"),
        ((("IM1", DICOM), ("IM2", DICOM)), "2 DICOM files", "nnanomaly_convert_dicom "),
        (("a.nrrd",), "1 images .nrrd, but .nii.gz is wanted", "file_ending in dataset.json"),
    ],
)
def test_a_folder_without_a_case_says_what_it_holds_and_what_to_do(
    files: tuple[str | tuple[str, bytes], ...], cause: str, remedy: str, tmp_path: Path
) -> None:
    folder = fill(tmp_path / "images", *files)
    assert cause in f"holds {why_no_case(folder, '.nii.gz')}"
    with pytest.raises(DataError, match="DATA-CASES") as error:
        list_cases(folder, ".nii.gz")
    assert remedy in str(error.value)
