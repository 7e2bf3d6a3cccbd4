"""TotalSegmentator as a program: what is typed, in which environment, and what is said when it is not there.

The real program is not run here: a fake one notes how it is called and writes what the real one writes.
"""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.totalsegmentator_structures import STRUCTURES, check_structures
from nnanomaly.imageio.nifti import read_label_table
from nnanomaly.paths import TotalSegmentatorPaths
from nnanomaly.roi.totalsegmentator import MODEL, TotalSegmentator, command_line, find_totalsegmentator, segment
from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault


@pytest.fixture
def installed(fake_totalsegmentator: Path) -> TotalSegmentator:
    return find_totalsegmentator(TotalSegmentatorPaths.from_env())


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scans" / "a b_0000.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(np.zeros((30, 20, 20), np.int16), np.diag([-3.0, -3.0, 3.0, 1.0])), path)
    return path


def calls(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "calls.jsonl").read_text().splitlines()]


def test_it_is_asked_for_the_fast_model_and_one_label_map_and_for_no_subset() -> None:
    command = command_line(Path("/bin/TotalSegmentator"), Path("a.nii.gz"), Path("out.nii.gz"), device=None)
    assert command == "/bin/TotalSegmentator -i a.nii.gz -o out.nii.gz --ml --fast --quiet".split()
    assert not {"--statistics", "-s", "--roi_subset", "-rs", "--report"} & set(command)


@pytest.mark.parametrize(("ours", "theirs"), [("cuda", "gpu"), ("cuda:1", "gpu:1"), ("cpu", "cpu"), ("mps", "mps")])
def test_devices_have_their_names_there(ours: str, theirs: str) -> None:
    assert command_line(Path("t"), Path("a"), Path("b"), device=ours)[-2:] == ["--device", theirs]


@pytest.mark.parametrize("device", ["gpu", "cpu:1", "cuda:x", "tpu"])
def test_other_devices_are_refused(device: str) -> None:
    with pytest.raises(ConfigurationError, match="CFG-DEVICE"):
        command_line(Path("t"), Path("a"), Path("b"), device=device)


def test_without_the_program_both_remedies_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"ENV-TOTALSEG\].*\.\[totalseg\].*organMasksTr") as error:
        find_totalsegmentator(TotalSegmentatorPaths(None, tmp_path))
    assert error.value.exit_code == 5
    assert time.monotonic() - start < 2


def test_without_weights_the_folder_and_the_command_are_named_and_nothing_is_started(
    fake_totalsegmentator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOTALSEG_WEIGHTS_PATH")
    home = tmp_path / "home"
    (home / "nnunet" / "results" / f"{MODEL}_v204" / "t" / "fold_0").mkdir(parents=True)
    (home / "nnunet" / "results" / f"{MODEL}_v204" / "t" / "fold_0" / "checkpoint_final.pth").touch()
    (home / "nnunet" / "results" / MODEL / "t" / "fold_0").mkdir(parents=True)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(home))
    with pytest.raises(EnvironmentFault, match=r"ENV-TOTALSEG-WEIGHTS\].*totalseg_download_weights -t total_fast") as e:
        find_totalsegmentator(TotalSegmentatorPaths.from_env())
    assert str(home / "nnunet" / "results" / MODEL) in str(e.value)
    assert not (fake_totalsegmentator / "calls.jsonl").exists()
    (home / "nnunet" / "results" / MODEL / "t" / "fold_0" / "checkpoint_final.pth").touch()
    assert find_totalsegmentator(TotalSegmentatorPaths.from_env()).folders.home == home


def test_it_runs_in_a_home_of_its_own_that_sends_nothing_and_changes_nothing_here(
    installed: TotalSegmentator,
    fake_totalsegmentator: Path,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network call")

    monkeypatch.setattr(socket, "socket", refuse)
    before = dict(os.environ)
    segment(installed, scan, tmp_path / "labels.nii.gz", device="cpu")
    assert dict(os.environ) == before
    (call,) = calls(fake_totalsegmentator)
    assert call["settings"]["send_usage_stats"] is False
    assert call["weights"] == str(fake_totalsegmentator / "weights")
    assert not Path(call["home"]).exists(), "made for this run alone"
    assert call["arguments"][:2] == ["-i", str(scan)]
    assert read_label_table(tmp_path / "labels.nii.gz")["liver"] == 5


@pytest.mark.parametrize(
    ("settings", "used"),
    [('{"send_usage_stats": false}', True), ('{"send_usage_stats": true}', False), ("{}", False), (None, False)],
)
def test_the_home_of_the_user_is_used_where_it_sends_nothing_and_is_never_written(
    fake_totalsegmentator: Path,
    scan: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str | None,
    used: bool,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    if settings is not None:
        (home / "config.json").write_text(settings)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(home))
    segment(find_totalsegmentator(TotalSegmentatorPaths.from_env()), scan, tmp_path / "labels.nii.gz", device=None)
    (call,) = calls(fake_totalsegmentator)
    assert (call["home"] == str(home)) is used
    assert call["settings"]["send_usage_stats"] is False
    assert [path.read_text() for path in home.iterdir()] == ([] if settings is None else [settings])


def test_a_failing_run_ends_in_its_last_twenty_lines(
    installed: TotalSegmentator, fake_totalsegmentator: Path, scan: Path, tmp_path: Path
) -> None:
    (fake_totalsegmentator / "fail").write_text(scan.name)
    with pytest.raises(DataError, match=r"ROI-SEGMENTATION.*status 3.*line 10 / .* / line 29$") as error:
        segment(installed, scan, tmp_path / "labels.nii.gz", device=None)
    assert "line 9 " not in str(error.value)


def test_the_structures_are_the_117_of_version_2() -> None:
    assert len(STRUCTURES) == 117
    assert {"liver", "spleen", "kidney_cyst_left", "vertebrae_T12", "vertebrae_S1", "rib_right_12"} <= STRUCTURES
    check_structures(("liver", "spleen", "kidney_left"))


@pytest.mark.parametrize(
    ("name", "near"), [("kidney", "kidney_left, kidney_right"), ("lver", "liver"), ("vertebrae_l1", "vertebrae_")]
)
def test_an_unknown_structure_is_named_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=f"CFG-ORGANS.*'{name}'.*{near}"):
        check_structures((name,))
