import json
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.imageio.nifti import write_volume
from nnanomaly.volume import Grid, Volume

GRID = Grid((20, 32, 40), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))
ORGANS = ("kidney_left", "kidney_right")


def organ_mask(side: str, size: int) -> Volume:
    """A block of 8 x size x size voxels on one side of the body."""
    array = np.zeros((1, *GRID.shape), np.uint8)
    first = 24 if side == "left" else 8
    array[0, 6:14, 12 : 12 + size, first : first + size] = 1
    return Volume(array, GRID)


@pytest.fixture
def raw_folder(tmp_path: Path) -> Path:
    """Dataset501_Tiny under `raw`: six cases of noise, two block-shaped kidneys each, one of them sick."""
    folder = tmp_path / "raw" / "Dataset501_Tiny"
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 6,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(ORGANS)},
    }
    rows = ["case,organ,label"]
    rng = np.random.default_rng(0)
    for number in range(6):
        case = f"case_{number}"
        image = Volume(rng.normal(40, 10, (1, *GRID.shape)).astype(np.float32), GRID)
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        for organ in ORGANS:
            mask = organ_mask(organ.removeprefix("kidney_"), 6 + number % 3)
            write_volume(folder / "organMasksTr" / case / f"{organ}.nii.gz", mask)
            rows.append(f"{case},{organ},{'unhealthy' if (number, organ) == (0, 'kidney_right') else 'healthy'}")
    (folder / "dataset.json").write_text(json.dumps(document))
    (folder / "organ_labels.csv").write_text("\n".join(rows) + "\n")
    return folder
