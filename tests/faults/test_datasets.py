"""Descriptions, labels, splits and masks that cannot be right (F36 to F57): status, code, and nothing written."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnanomaly.imageio.nifti import read_volume, write_volume
from nnanomaly.volume import Volume


def description(**changes: object) -> Callable[[Path], None]:
    """Change keys of dataset.json; None takes one away."""

    def change(raw: Path) -> None:
        path = raw / "dataset.json"
        document = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({key: value for key, value in document.items() if value is not None}))

    return change


def text(content: str | bytes, name: str = "dataset.json") -> Callable[[Path], None]:
    return lambda raw: (raw / name).write_bytes(content if isinstance(content, bytes) else content.encode()) and None


def labels(*rows: str) -> Callable[[Path], None]:
    return text("\n".join(["case,organ,label", *rows]) + "\n", "organ_labels.csv")


def all_labelled(word: str) -> Callable[[Path], None]:
    return labels(*(f"case_{case},kidney_{side},{word}" for case in range(5) for side in ("left", "right")))


def splits(*folds: dict[str, list[str]]) -> Callable[[Path], None]:
    return text(json.dumps(folds), "splits_final.json")


def twice(raw: Path) -> None:
    path = raw / "imagesTr" / "case_1_0000.nii.gz"
    path.with_name("CASE_1_0000.nii.gz").write_bytes(path.read_bytes())


def other_ending(raw: Path) -> None:
    path = raw / "imagesTr" / "case_1_0000.nii.gz"
    path.with_name("case_1_0000.nii").write_bytes(path.read_bytes())


def second_dataset(raw: Path) -> None:
    raw.with_name("Dataset501_Other").mkdir()


def mask_values(*values: float) -> Callable[[Path], None]:
    """Write values over the first voxels of a mask that is stored in float32."""

    def change(raw: Path) -> None:
        path = raw / "organMasksTr" / "case_1" / "kidney_left.nii.gz"
        volume = read_volume(path)
        array = volume.array.astype(np.float32)
        array[0, 0, 0, : len(values)] = values
        write_volume(path, Volume(array, volume.grid))

    return change


@pytest.fixture
def raw(shell: Any, write_raw: Callable[[Path], None]) -> Path:
    """The raw dataset alone: no command of this module comes as far as a network."""
    folder = shell.paths.raw("Dataset501_Tiny")
    write_raw(folder)
    return folder


SIDES = {"train": ["case_0", "case_1", "case_2"], "val": ["case_3", "case_2"]}

REFUSED = {
    "F36.missing": (3, "DATA-JSON", "does not exist", lambda raw: (raw / "dataset.json").unlink()),
    "F36.empty": (3, "JSON", "line 1 column 1", text("")),
    "F36.broken": (3, "JSON", "line 2 column", text('{"labels": {},\n "file_ending": }')),
    "F36.nan": (3, "JSON", "NaN", text('{"numTraining": NaN}')),
    "F36.brackets": (3, "JSON", "recursion", text("[" * 100_000)),
    "F36.twice": (3, "JSON", "duplicate key 'a'", text('{"a": 1, "a": 2}')),
    "F36.list": (3, "DATA-JSON", "must be an object", text("[]")),
    "F36.binary": (3, "JSON", "dataset.json", text(bytes(range(128, 256)))),
    "F37.missing": (3, "DATA-JSON", "An example:", description(labels=None)),
    "F37.organs": (3, "DATA-JSON", "An example:", description(nnanomaly=None)),
    "F37.type": (3, "DATA-JSON", "channel_names is ['CT']", description(channel_names=["CT"])),
    "F37.count": (3, "DATA-JSON", "numTraining is 'five'", description(numTraining="five")),
    "F37.organ": (3, "DATA-JSON", "'../kidney'", description(nnanomaly={"organs": ["../kidney"]})),
    "F38.count": (3, "VERIFY", "numTraining is 7, but", description(numTraining=7)),
    "F38.ending": (3, "VERIFY", "DATA-", description(file_ending=".nii")),
    "F38.channel": (3, "VERIFY", "DATA-CHANNEL", description(channel_names={"0": "CT", "1": "late"})),
    "F39.id": (2, "CFG-DATASET", "Dataset501_Other, Dataset501_Tiny", second_dataset),
    "F39.case": (3, "VERIFY", "upper and lower case only", twice),
    "F39.ending": (3, "VERIFY", "case_1_0000.nii ", other_ending),
    "F55.unknown": (3, "VERIFY", "line 2: no images of case 'case_9'", labels("case_9,kidney_left,healthy")),
    "F55.word": (3, "VERIFY", "line 2: label 'sick'", labels("case_1,kidney_left,sick")),
    "F55.twice": (
        3,
        "VERIFY",
        "line 3: case_1 kidney_left is 'unhealthy', but 'healthy' in line 2",
        labels("case_1,kidney_left,healthy", "case_1,kidney_left,unhealthy"),
    ),
    "F56.unhealthy": (3, "VERIFY", "LABELS-HEALTHY", all_labelled("unhealthy")),
    "F57.leak": (3, "SPLIT-LEAK", "['case_2']", splits(SIDES)),
    "F57.unknown": (3, "SPLIT-CASES", "case_7", splits({"train": ["case_0"], "val": ["case_7"]})),
    "F57.form": (3, "SPLIT-FORM", "must be a list", text('{"train": []}', "splits_final.json")),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_faulty_dataset_is_refused_before_anything_is_written(shell: Any, raw: Path, fault: str) -> None:
    status, code, part, spoil = REFUSED[fault]
    spoil(raw)
    line = shell.refuses(status, "plan_and_preprocess", "-d", 501)
    assert f"[NNA-{code}]" in line and part in line


def test_a_byte_order_mark_and_unknown_keys_do_no_harm(shell: Any, raw: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = raw / "dataset.json"
    document = {**json.loads(path.read_text()), "licence": "mine"}
    document["nnanomaly"]["organz"] = []
    path.write_text("\ufeff" + json.dumps(document), encoding="utf-8")
    assert shell("plan_and_preprocess", "-d", 501, "-gpu_memory_target", 0.5, "--no_pp") == 0
    assert "unknown key 'organz'" in caplog.text


def test_fewer_patients_than_folds_are_refused_with_both_numbers(shell: Any, raw: Path) -> None:
    for case in (3, 4):
        (raw / "imagesTr" / f"case_{case}_0000.nii.gz").unlink()
    description(numTraining=3)(raw)
    labels(*(f"case_{case},kidney_left,healthy" for case in range(3)))(raw)
    line = shell.refuses(3, "plan_and_preprocess", "-d", 501)
    assert "[NNA-SPLIT-FEW] 3 patients with 3 cases do not fill 5 folds" in line


@pytest.mark.parametrize(("values", "sound"), [((0.9999, 1.0001), True), ((0.5, 0.25), False)])
def test_values_of_a_mask_are_whole_numbers_or_nearly(
    shell: Any, raw: Path, values: tuple[float, ...], sound: bool
) -> None:
    mask_values(*values)(raw)
    status = shell("plan_and_preprocess", "-d", 501, "--verify_dataset_integrity", "-gpu_memory_target", 0.5, "--no_pp")
    report = json.loads(next(shell.paths.preprocessed_root.rglob("verify_report.json")).read_text())
    errors = [(item["case"], item["code"]) for item in report["findings"] if item["level"] == "ERROR"]
    assert (status, errors) == ((0, []) if sound else (3, [("case_1", "INT-LABELS")]))


def test_oddities_of_masks_are_warnings_in_the_report(shell: Any, raw: Path) -> None:
    masks = raw / "organMasksTr"
    left, right = (masks / "case_1" / f"kidney_{side}.nii.gz" for side in ("left", "right"))
    swapped = left.read_bytes()
    left.write_bytes(right.read_bytes())
    right.write_bytes(swapped)
    shell.write_case(raw, "Tr", "case_2", organs=("kidney_right",))
    volume = read_volume(masks / "case_3" / "kidney_left.nii.gz")
    array = volume.array.copy()
    array[0, ::4, ::4, ::4] = 1
    write_volume(masks / "case_3" / "kidney_left.nii.gz", Volume(array, volume.grid))
    shell("plan_and_preprocess", "-d", 501, "--verify_dataset_integrity", "-gpu_memory_target", 0.5, "--no_pp")
    report = json.loads(next(shell.paths.preprocessed_root.rglob("verify_report.json")).read_text())
    found = {(item["case"], item["code"]) for item in report["findings"] if item["level"] == "WARNING"}
    assert {("case_1", "ROI-SIDES"), ("case_2", "ROI-ABSENT"), ("case_3", "ROI-FRAGMENTS")} <= found
