"""Conversions at the command line: what is said, what remains, which status."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.imageio.nifti import write_volume
from nnanomaly.volume import Grid, Volume

GRID = Grid((8, 20, 60), (5.0, 4.0, 4.0), (0.0, 0.0, -118.0))


@pytest.fixture
def write_case(shell: Any) -> Callable[..., None]:
    def write(image: Path, labels: Path) -> None:
        drawn = np.zeros((1, *GRID.shape), np.uint8)
        drawn[0, 2:6, 5:15, 8:22] = drawn[0, 2:6, 5:15, 38:52] = 1
        drawn[0, 3:5, 6:9, 10:14] = 2
        write_volume(image, Volume(np.zeros((1, *GRID.shape), np.int16), GRID))
        write_volume(labels, Volume(drawn, GRID))

    return write


def test_kits_is_converted_and_what_is_left_out_is_named(shell: Any, write_case: Callable[..., None]) -> None:
    for case in ("case_00000", "case_00001"):
        write_case(Path("kits", case, "imaging.nii.gz"), Path("kits", case, "segmentation.nii.gz"))
    Path("kits", "case_00001", "imaging.nii.gz").unlink()
    assert shell("convert_kits", "-i", "kits", "-d", 601) == 4
    out = shell.capsys.readouterr().out
    assert "1 cases (1 healthy, 1 unhealthy)" in out
    assert "left out case_00001: [NNA-IO-MISSING]" in out
    assert "nnanomaly_plan_and_preprocess -d 601" in out
    assert "CFG-OUTPUT" in shell.refuses(2, "convert_kits", "-i", "kits", "-d", 601)
    assert "CONVERT-FOLDER" in shell.refuses(3, "convert_kits", "-i", "kits/case_00000", "-d", 602)
    shell.paths.raw_root.rename(Path("kits", "raw"))
    shell.paths.raw_root.symlink_to(Path("kits", "raw").resolve())
    assert "CFG-OUTPUT" in shell.refuses(2, "convert_kits", "-i", "kits", "-d", 603), "the output lies in the source"


def test_sources_of_one_name_are_refused_with_all_of_them_and_stay_as_they_are(
    shell: Any, write_case: Callable[..., None]
) -> None:
    task, folders = Path("Task03_Liver"), ("patient_0", "patient_1")
    for folder in folders:
        write_case(task / folder / "imaging.nii.gz", task / folder / "segmentation.nii.gz")
    before = {path: path.read_bytes() for path in task.rglob("*.nii.gz")}
    document = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [{"image": f"{f}/imaging.nii.gz", "label": f"{f}/segmentation.nii.gz"} for f in folders],
    }
    (task / "dataset.json").write_text(json.dumps(document))
    error = shell.refuses(3, "convert_msd", "-i", task, "-organ", "liver", "-d", 605)
    assert "CONVERT-SAME" in error
    assert "patient_0/imaging.nii.gz and Task03_Liver/patient_1/imaging.nii.gz" in error
    assert {path: path.read_bytes() for path in task.rglob("*.nii.gz")} == before
    assert not list(shell.paths.raw_root.iterdir())


def test_a_task_of_the_decathlon_is_converted_under_its_name(shell: Any, write_case: Callable[..., None]) -> None:
    task = Path("Task03_Liver")
    write_case(task / "imagesTr" / "liver_0.nii.gz", task / "labelsTr" / "liver_0.nii.gz")
    entry = {"image": "./imagesTr/liver_0.nii.gz", "label": "./labelsTr/liver_0.nii.gz"}
    labels = {"0": "background", "1": "liver", "2": "cancer"}
    document = {"modality": {"0": "CT"}, "labels": labels, "training": [entry], "test": []}
    (task / "dataset.json").write_text(json.dumps(document))
    assert "CFG-ORGANS" in shell.refuses(2, "convert_msd", "-i", task, "-organ", "spleen", "-d", 603)
    assert shell("convert_msd", "-i", task, "-organ", "liver", "-d", 603) == 0
    assert (shell.paths.raw_root / "Dataset603_Liver" / "organMasksTr" / "liver_0" / "liver.nii.gz").is_file()


def test_a_table_is_converted_under_its_name(shell: Any, write_case: Callable[..., None]) -> None:
    write_case(Path("a.nii.gz"), Path("drawn.nii.gz"))
    Path("mine.csv").write_text("case,image,label_map,label_liver\na,a.nii.gz,drawn.nii.gz,healthy\n")
    assert "CFG-LABELS" in shell.refuses(2, "make_dataset", "--csv", "mine.csv", "-d", 604, "-lesions", "tumor")
    assert "IO-MISSING" in shell.refuses(3, "make_dataset", "--csv", "other.csv", "-d", 604)
    assert shell("make_dataset", "--csv", "mine.csv", "-d", 604, "-lesions", "kidney=1", "tumor=2") == 0
    document = json.loads((shell.paths.raw_root / "Dataset604_mine" / "dataset.json").read_text())
    assert document["labels"] == {"background": 0, "kidney": 1, "tumor": 2}
