"""The overlay pictures of a dataset: one per case, swapped sides are said, a broken case costs only itself."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.preprocessing.overlays import draw_overlays
from nnanomaly.utilities.errors import ConfigurationError

PLAN = PRESETS["default"].preprocessing
CASES = ("broken", "sound", "swapped")


@pytest.fixture
def raw_folder(tmp_path: Path, write_nifti: Callable[..., Path]) -> Path:
    """`sound`; `swapped`, whose masks bear each other's names; `broken`, whose image is cut off."""
    folder = tmp_path / "raw"
    places = {"kidney_left": np.s_[6:18, 8:16, 16:22], "kidney_right": np.s_[6:18, 8:16, 2:8]}
    other = {"kidney_left": "kidney_right", "kidney_right": "kidney_left"}
    for case in CASES:
        image = write_nifti(
            folder / "imagesTr" / f"{case}_0000.nii.gz", np.full((24, 24, 24), 40, np.int16), spacing_mm=(5, 5, 5)
        )
        for organ, place in places.items():
            mask = np.zeros((24, 24, 24), np.uint8)
            mask[place] = 1
            name = other[organ] if case == "swapped" else organ
            write_nifti(folder / "organMasksTr" / case / f"{name}.nii.gz", mask, spacing_mm=(5, 5, 5))
        if case == "broken":
            image.write_bytes(image.read_bytes()[:-20])
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(places), "lesion_labels": ["tumor"]},
    }
    (folder / "dataset.json").write_text(json.dumps(document))
    (folder / "organ_labels.csv").write_text("case,organ,label\nsound,kidney_left,unhealthy\n")
    return folder


def test_every_readable_case_has_a_picture_and_swapped_sides_are_said(
    raw_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    progress: list[tuple[int, int]] = []
    with caplog.at_level(logging.INFO, logger="nnanomaly"):
        report = draw_overlays(
            raw_folder, PLAN, tmp_path / "out", num_processes=1, progress=lambda *where: progress.append(where)
        )
    assert (report.num_drawn, report.suspicious, report.failed) == (2, ("swapped",), ("broken",))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sound.png", "swapped.png"]
    height, width, _ = imread(tmp_path / "out" / "sound.png").shape
    assert width == 1500 > height
    broken, swapped = (record.message for record in caplog.records if record.name.startswith("nnanomaly"))
    assert broken.startswith("broken: [NNA-IO-")
    assert "kidney_left: no weak label, 72 ml, lies 70 mm on the wrong side of kidney_right" in swapped
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_a_missing_mask_is_a_red_line_not_a_fault(
    raw_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (raw_folder / "organMasksTr" / "sound" / "kidney_right.nii.gz").unlink()
    report = draw_overlays(raw_folder, PLAN, tmp_path / "out", num_processes=1)
    assert report.suspicious == ("sound", "swapped")
    (line,) = [message for message in caplog.messages if message.startswith("sound")]
    assert "ROI-MISSING" in line


def test_pictures_of_an_earlier_run_are_replaced_and_those_of_others_are_not(raw_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        assert draw_overlays(raw_folder, PLAN, out, num_processes=1).num_drawn == 2
    (out / "sound.png").write_bytes(b"a picture of somebody else")
    with pytest.raises(ConfigurationError, match="CFG-OUTPUT.*sound.png.*-o"):
        draw_overlays(raw_folder, PLAN, out, num_processes=1)
    assert (out / "sound.png").read_bytes() == b"a picture of somebody else"
