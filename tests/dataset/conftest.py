import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.imageio.nifti import write_volume
from nnanomaly.volume import Grid, Volume

GRID = Grid((10, 12, 14), (3.0, 2.0, 2.0), (-5.0, 10.0, 20.0))
CASES = ("case_a", "case_b")
ORGANS = ("kidney_left", "kidney_right")


def description(**ours: Any) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(ORGANS), "lesion_labels": ["tumor", "cyst"], **ours},
    }


@pytest.fixture
def write_description(tmp_path: Path) -> Callable[..., Path]:
    """Write dataset.json with changed keys (None removes a key) and return the dataset folder."""

    def write(ours: dict[str, Any] | None = None, **changes: Any) -> Path:
        document = {**description(**(ours or {})), **changes}
        document = {key: value for key, value in document.items() if value is not None}
        (tmp_path / "dataset.json").write_text(json.dumps(document))
        return tmp_path

    return write


@pytest.fixture
def raw_folder(write_description: Callable[..., Path]) -> Path:
    """A sound raw dataset: two training cases with both masks and labels, one test case without labels."""
    folder = write_description()
    for part in ("imagesTr", "imagesTs", "labelsTr", "organMasksTr"):
        (folder / part).mkdir()
    empty = np.zeros((1, *GRID.shape), np.uint8)
    image = Volume(empty.astype(np.int16), GRID)
    for case in CASES:
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        for organ in ORGANS:
            write_volume(folder / "organMasksTr" / case / f"{organ}.nii.gz", Volume(empty, GRID))
    write_volume(folder / "imagesTs" / "case_t_0000.nii.gz", image)
    rows = [f"{case},{organ},healthy" for case in CASES for organ in ORGANS]
    (folder / "organ_labels.csv").write_text("\n".join(["case,organ,label", *rows]) + "\n")
    return folder
