"""The table of masks: suspicious ones first, every fact in a column, masks that cannot be read named and left out."""

import csv
import logging
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.preprocessing.mask_table import report_masks
from nnanomaly.volume import Grid, Volume

GRID = Grid((20, 20, 40), (4.0, 4.0, 4.0), (0.0, 0.0, -78.0))
DESCRIPTION = DatasetDescription(
    channel_names=("CT",), labels={"background": (0,)}, file_ending=".nii.gz", num_training=3, organs=("kidney_left",)
)


def put(path: Path, *blocks: tuple[slice, slice, slice]) -> None:
    array = np.zeros((1, *GRID.shape), np.uint8)
    for block in blocks:
        array[(0, *block)] = 1
    write_volume(path, Volume(array, GRID))


def test_suspicious_masks_come_first_and_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kidney = (slice(4, 14), slice(4, 14), slice(25, 35))
    speck = (slice(19, 20), slice(19, 20), slice(0, 1))
    for case, blocks in (("a", [kidney]), ("b", [kidney, speck]), ("c", [kidney])):
        put(tmp_path / "images" / f"{case}_0000.nii.gz")
        put(tmp_path / "masks" / case / "kidney_left.nii.gz", *blocks)
    (tmp_path / "masks" / "c" / "kidney_left.nii.gz").write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="nnanomaly"):
        path = report_masks(tmp_path / "images", tmp_path / "masks", ["a", "b", "c", "d"], description=DESCRIPTION)
    strange, plain = csv.DictReader(path.read_text().splitlines())
    assert plain == {
        "case": "a",
        "organ": "kidney_left",
        "volume_ml": "64.00",
        "fragments": "1",
        "largest_fraction": "1.000",
        "stray_mm": "0.0",
        "touches_border": "",
        "off_centre_mm": "40.0",
        "suspicions": "",
    }
    assert (strange["case"], strange["fragments"]) == ("b", "2")
    assert strange["suspicions"].startswith("ROI-STRAY: a piece lies ")
    assert "b kidney_left: [NNA-ROI-STRAY]" in caplog.text
    assert "IO-EMPTY" in caplog.text
