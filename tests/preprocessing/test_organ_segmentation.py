"""Masks for a folder of scans: what is made, kept, checked and left out."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.imageio.nifti import read_grid, read_labels, write_volume
from nnanomaly.paths import TotalSegmentatorPaths
from nnanomaly.preprocessing.organ_segmentation import SegmentationReport, segment_folder
from nnanomaly.roi.totalsegmentator import find_totalsegmentator
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.volume import Grid, Volume

GRID = Grid((20, 22, 30), (3.0, 3.0, 3.0), (10.0, 20.0, 30.0))
CASES = ["a", "b"]


def describe(*organs: str) -> DatasetDescription:
    return DatasetDescription(
        channel_names=("CT",), labels={"background": (0,)}, file_ending=".nii.gz", num_training=2, organs=organs
    )


@pytest.fixture
def images(tmp_path: Path, fake_totalsegmentator: Path) -> Path:
    for case in CASES:
        path = tmp_path / "imagesTr" / f"{case}_0000.nii.gz"
        write_volume(path, Volume(np.zeros((1, *GRID.shape), np.int16), GRID))
    return tmp_path / "imagesTr"


def run(images: Path, *organs: str, device: str | None = None) -> SegmentationReport:
    return segment_folder(
        images,
        images.parent / "organMasksTr",
        CASES,
        description=describe(*organs),
        installed=find_totalsegmentator(TotalSegmentatorPaths.from_env()),
        device=device,
    )


def test_masks_lie_on_the_scan_on_the_side_of_the_patient(images: Path) -> None:
    assert run(images, "kidney_left", "kidney_right").segmented == ("a", "b")
    folder = images.parent / "organMasksTr" / "a"
    left, right = (read_labels(folder / f"kidney_{side}.nii.gz") for side in ("left", "right"))
    assert left.grid == read_grid(images / "a_0000.nii.gz")
    assert np.unique(left.array).tolist() == [0, 1]
    assert np.argwhere(left.array[0])[:, 2].min() > np.argwhere(right.array[0])[:, 2].max()
    assert sorted(path.name for path in folder.iterdir()) == [
        "kidney_left.nii.gz",
        "kidney_right.nii.gz",
        "segmentation.json",
    ]
    assert json.loads((folder / "segmentation.json").read_text())["organs"] == ["kidney_left", "kidney_right"]


@pytest.mark.parametrize("organ", ["liver", "spleen"])
def test_another_organ_is_a_matter_of_one_name(images: Path, organ: str) -> None:
    run(images, organ)
    mask = read_labels(images.parent / "organMasksTr" / "a" / f"{organ}.nii.gz")
    assert mask.array.any() == (organ == "liver"), "the fake program finds no spleen: an empty mask, no error"


def test_what_is_there_is_kept_and_only_what_is_missing_is_made(images: Path, fake_totalsegmentator: Path) -> None:
    mine = images.parent / "organMasksTr" / "a" / "kidney_left.nii.gz"
    write_volume(mine, Volume(np.ones((1, *GRID.shape), np.uint8), GRID))
    before = mine.read_bytes()
    assert run(images, "kidney_left").kept == ("a",)
    assert len((fake_totalsegmentator / "calls.jsonl").read_text().splitlines()) == 1
    assert run(images, "kidney_left", "kidney_right").segmented == ("a", "b")
    assert run(images, "kidney_left", "kidney_right") == SegmentationReport(segmented=(), kept=("a", "b"), failures={})
    assert mine.read_bytes() == before


def test_a_case_that_fails_costs_itself_and_leaves_no_mask(images: Path, fake_totalsegmentator: Path) -> None:
    (fake_totalsegmentator / "fail").write_text("a_0000.nii.gz")
    report = run(images, "kidney_left")
    assert report.segmented == ("b",)
    assert "ROI-SEGMENTATION" in report.failures["a"]
    assert not (images.parent / "organMasksTr" / "a").exists()


def test_an_unreadable_scan_is_named_before_the_program_starts(images: Path, fake_totalsegmentator: Path) -> None:
    (images / "a_0000.nii.gz").write_bytes(b"")
    assert "IO-EMPTY" in run(images, "kidney_left").failures["a"]
    assert len((fake_totalsegmentator / "calls.jsonl").read_text().splitlines()) == 1


def test_a_map_that_lacks_the_structure_is_no_empty_mask(images: Path) -> None:
    assert "ROI-TABLE" in run(images, "pancreas").failures["a"]
    assert not (images.parent / "organMasksTr").exists()


def test_tilted_scans_keep_their_geometry(images: Path) -> None:
    turn = np.array([[0.995, -0.0998, 0], [0.0998, 0.995, 0], [0, 0, 1.0]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-3.0, -3.0, 3.0]) / np.linalg.norm(turn[:, 0])
    nibabel.save(nibabel.Nifti1Image(np.zeros((30, 22, 20), np.int16), affine), images / "a_0000.nii.gz")
    assert run(images, "kidney_left").failures == {}
    mask = read_grid(images.parent / "organMasksTr" / "a" / "kidney_left.nii.gz")
    assert read_grid(images / "a_0000.nii.gz").largest_corner_distance_mm(mask) < 1e-3


def test_a_wrong_device_is_no_fault_of_a_case(images: Path) -> None:
    with pytest.raises(ConfigurationError, match="CFG-DEVICE"):
        run(images, "kidney_left", device="tpu")
