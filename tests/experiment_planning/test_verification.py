"""The full check: every voxel of training and test cases, all faults in one table, one report and one line."""

import csv
import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.experiment_planning.verification import report_verification, verify_dataset
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

GRID = Grid((10, 20, 40), (4.0, 4.0, 4.0), (0.0, 0.0, -78.0))
ORGANS = ("kidney_left", "kidney_right")
BLOCKS = {"kidney_left": slice(26, 34), "kidney_right": slice(6, 14)}


SCAN = np.arange(np.prod(GRID.shape), dtype=np.int64).reshape(GRID.shape).astype(np.int16)


def put(path: Path, array: np.ndarray, grid: Grid = GRID) -> None:
    write_volume(path, Volume(array[None], grid))


def mask(organ: str) -> np.ndarray:
    array = np.zeros(GRID.shape, np.uint8)
    array[1:9, 6:14, BLOCKS[organ]] = 1
    return array


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound dataset of two training cases and one test case."""
    raw = tmp_path / "Dataset501_X"
    rows = ["case,organ,label"]
    for number, (part, case) in enumerate((("Tr", "a"), ("Tr", "b"), ("Ts", "t"))):
        put(raw / f"images{part}" / f"{case}_0000.nii.gz", SCAN + np.int16(number))
        for organ in ORGANS:
            put(raw / f"organMasks{part}" / case / f"{organ}.nii.gz", mask(organ))
            rows += [f"{case},{organ},healthy"]
        put(raw / f"labels{part}" / f"{case}.nii.gz", np.zeros(GRID.shape, np.uint8))
    (raw / "organ_labels.csv").write_text("\n".join(rows) + "\n")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 2,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(ORGANS)},
    }
    (raw / "dataset.json").write_text(json.dumps(description))
    return raw


def codes(folder: Path) -> list[tuple[str, str, str]]:
    return [(f.level, f.code, f.case) for f in verify_dataset(folder, num_processes=1).findings]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 0xFF  # in the check sum: the header is sound
    path.write_bytes(bytes(data))


def test_a_sound_dataset_has_no_findings_and_a_row_per_mask(folder: Path, tmp_path: Path) -> None:
    found = verify_dataset(folder, num_processes=1)
    assert found.findings == []
    assert found.num_cases == {"Tr": 2, "Ts": 1}
    report_verification(found, folder, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "verify_report.json").read_text())
    assert report == {
        "schema_version": 1,
        "dataset": "Dataset501_X",
        "num_cases": {"Tr": 2, "Ts": 1},
        "num_errors": 0,
        "num_warnings": 0,
        "findings": [],
    }
    rows = list(csv.DictReader((tmp_path / "out" / "organ_masks.csv").read_text().splitlines()))
    assert [(row["case"], row["organ"], row["volume_ml"]) for row in rows][:2] == [
        ("a", "kidney_left", "32.77"),
        ("a", "kidney_right", "32.77"),
    ]
    assert len(rows) == 6


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (lambda f: damage(f / "imagesTr" / "a_0000.nii.gz"), ("ERROR", "IO-CRC", "a")),
        (lambda f: damage(f / "imagesTs" / "t_0000.nii.gz"), ("ERROR", "IO-CRC", "t")),
        (lambda f: damage(f / "labelsTr" / "b.nii.gz"), ("ERROR", "IO-CRC", "b")),
        (lambda f: damage(f / "organMasksTs" / "t" / "kidney_left.nii.gz"), ("ERROR", "IO-CRC", "t")),
        (
            lambda f: put(f / "labelsTs" / "t.nii.gz", np.full(GRID.shape, 7, np.uint8)),
            ("ERROR", "LABEL-VALUE", "t"),
        ),
        (lambda f: (f / "organMasksTr" / "a" / "kidney_left.nii.gz").unlink(), ("ERROR", "ROI-MISSING", "a")),
        (lambda f: (f / "organMasksTs" / "t" / "kidney_left.nii.gz").unlink(), ("WARNING", "ROI-MISSING", "t")),
        (
            lambda f: put(f / "organMasksTr" / "a" / "kidney_left.nii.gz", mask("kidney_left")[:9], GRID_OF_NINE),
            ("ERROR", "GEO-PAIR", "a"),
        ),
        (
            lambda f: put(f / "organMasksTr" / "a" / "kidney_left.nii.gz", 0 * mask("kidney_left")),
            ("WARNING", "ROI-ABSENT", "a"),
        ),
    ],
)
def test_each_fault_is_found_once(folder: Path, spoil: Callable[[Path], None], expected: tuple[str, str, str]) -> None:
    spoil(folder)
    assert codes(folder) == [expected]


GRID_OF_NINE = Grid((9, 20, 40), (4.0, 4.0, 4.0), (0.0, 0.0, -78.0))


def test_swapped_sides_are_listed_for_both_organs(folder: Path) -> None:
    put(folder / "organMasksTr" / "a" / "kidney_left.nii.gz", mask("kidney_right"))
    put(folder / "organMasksTr" / "a" / "kidney_right.nii.gz", mask("kidney_left"))
    assert codes(folder) == [("WARNING", "ROI-SIDES", "a")] * 2


def test_all_faults_of_all_cases_stand_in_one_table_and_one_report(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / "imagesTr" / "a_0000.nii.gz")
    damage(folder / "imagesTs" / "t_0000.nii.gz")
    (folder / "organMasksTr" / "b" / "kidney_left.nii.gz").write_bytes(b"")
    put(folder / "organMasksTr" / "b" / "kidney_right.nii.gz", 0 * mask("kidney_right"))
    put(folder / "imagesTr" / "c_0001.nii.gz", np.zeros(GRID.shape, np.int16))
    with (
        caplog.at_level(logging.WARNING, logger="nnanomaly"),
        pytest.raises(DataError, match=r"VERIFY\].*errors: 6, warnings: 2, all listed in .*verify_report\.json"),
    ):
        report_verification(verify_dataset(folder, num_processes=1), folder, tmp_path / "out")
    report = json.loads((tmp_path / "out" / "verify_report.json").read_text())
    found = {(finding["code"], finding["case"]) for finding in report["findings"]}
    assert {("IO-CRC", "a"), ("IO-CRC", "t"), ("IO-EMPTY", "b"), ("ROI-ABSENT", "b"), ("DATA-CHANNEL", "c")} <= found
    (table,) = caplog.messages
    assert len(table.splitlines()) == 1 + len(report["findings"])
    assert [line.split()[0] for line in table.splitlines()] == ["level", *["ERROR"] * 6, *["WARNING"] * 2]
    for finding in report["findings"]:
        assert finding["message"] in table


def test_the_findings_do_not_depend_on_the_number_of_processes(folder: Path) -> None:
    damage(folder / "imagesTr" / "a_0000.nii.gz")
    alone, together = (verify_dataset(folder, num_processes=number) for number in (1, 2))
    assert alone == together


def test_faults_of_several_files_in_a_folder_with_spaces_are_all_named(folder: Path) -> None:
    spaced = folder.parent / "my scans" / folder.name
    spaced.parent.mkdir()
    folder.rename(spaced)
    for name in ("imagesTr/a_0000.nii.gz", "imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"):
        damage(spaced / name)
    assert codes(spaced) == [("ERROR", "IO-CRC", "a"), ("ERROR", "IO-CRC", "b"), ("ERROR", "IO-CRC", "b")]


def test_a_training_scan_among_the_test_cases_is_an_error_and_one_on_both_sides_of_a_fold_is(folder: Path) -> None:
    image = (folder / "imagesTr" / "a_0000.nii.gz").read_bytes()
    (folder / "imagesTs" / "t_0000.nii.gz").write_bytes(image)
    found = verify_dataset(folder, num_processes=1).findings
    assert [(f.level, f.code) for f in found if "one scan" in f.message] == [("ERROR", "SPLIT-LEAK")]
    (folder / "imagesTr" / "b_0000.nii.gz").write_bytes(image)
    folds = [{"train": ["a"], "val": ["b"]}]
    found = verify_dataset(folder, num_processes=1, splits=folds).findings
    assert sum(f.code == "SPLIT-LEAK" and f.level == "ERROR" for f in found) == 2
    found = verify_dataset(folder, num_processes=1).findings
    assert ("WARNING", "DATA-TWICE") in [(f.level, f.code) for f in found]
