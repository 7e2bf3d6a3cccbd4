"""What the doctor says of folders, packages and TotalSegmentator, and that it says it quickly."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nnanomaly import cli, doctor
from nnanomaly.doctor import FAULT, NOTE, OK, WARNING, Checked, diagnose

VARIABLES = ("nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results")
TOPICS = ["versions", "folders", "machine", "extras", "totalsegmentator"]


@pytest.fixture
def set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`set_up(variable=value)`: three good folders, some of them replaced; None = not set."""
    for variable in ("nnUNet_raw", "nnanomaly_def_n_proc", "TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(doctor, "LITTLE_DISK_GB", 0.0)

    def change(**values: object) -> None:
        for variable in VARIABLES:
            (tmp_path / variable).mkdir(exist_ok=True)
            monkeypatch.setenv(variable, str(tmp_path / variable))
        for variable, value in values.items():
            monkeypatch.delenv(variable) if value is None else monkeypatch.setenv(variable, str(value))

    change()
    return change


def found(name: str) -> Checked:
    (finding,) = [finding for finding in diagnose(devices=False) if finding.name == name]
    return finding


def test_good_folders_are_well_and_tell_their_room(set_up: Callable[..., None], tmp_path: Path) -> None:
    for variable in VARIABLES:
        assert found(variable).state == OK
        assert found(variable).text.startswith(f"{tmp_path / variable}, ")
        assert found(variable).text.endswith(" GB free")


def test_little_room_is_a_warning(set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LITTLE_DISK_GB", 1e9)
    assert found("nnanomaly_results").state == WARNING


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_variable_that_is_not_set_is_a_warning_with_what_to_type(variable: str, set_up: Callable[..., None]) -> None:
    set_up(**{variable: None})
    assert found(variable).state == WARNING
    assert f"export {variable}=" in found(variable).text


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_in_place_of_a_folder_is_a_fault(variable: str, set_up: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    set_up(**{variable: tmp_path / "file"})
    assert found(variable).state == FAULT


def test_a_folder_that_is_yet_to_be_made_is_well_where_its_parent_can_be_written(
    set_up: Callable[..., None], tmp_path: Path
) -> None:
    set_up(nnanomaly_results=tmp_path / "a" / "b", nnanomaly_raw=tmp_path / "c")
    assert found("nnanomaly_results").state == OK
    assert "does not exist yet" in found("nnanomaly_results").text
    assert not (tmp_path / "a").exists()
    assert found("nnanomaly_raw").state == FAULT


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write")
def test_results_that_cannot_be_written_are_a_fault_and_raw_data_are_only_read(set_up: Callable[..., None]) -> None:
    set_up(nnanomaly_results="/proc/self", nnanomaly_raw="/proc/self")
    assert found("nnanomaly_results").state == FAULT
    assert found("nnanomaly_raw").state == NOTE


def test_the_raw_folder_of_nnunet_serves(set_up: Callable[..., None], tmp_path: Path) -> None:
    set_up(nnanomaly_raw=None, nnUNet_raw=tmp_path)
    assert found("nnanomaly_raw").text.startswith(str(tmp_path))


def test_more_workers_than_cores_are_a_warning_and_nonsense_is_a_fault(
    set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    set_up(nnanomaly_def_n_proc=2, OMP_NUM_THREADS=2)
    assert not [finding for finding in diagnose(devices=False) if finding.name == "workers"]
    set_up(nnanomaly_def_n_proc=2, OMP_NUM_THREADS=4)
    assert found("workers").state == WARNING
    set_up(nnanomaly_def_n_proc="many")
    assert found("workers").state == FAULT


def declare(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: list(lines))


def test_packages_are_held_against_what_is_asked_for(
    set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = "nowhere-to-be-found>=1; extra == 'big'"
    declare(monkeypatch, "numpy>=1", "pytest>=9999", "lost-package", extra, 'tqdm ; python_version < "3"')
    assert found("numpy").state == OK
    assert (found("pytest").state, found("lost-package").state) == (FAULT, FAULT)
    assert "pip install 'pytest>=9999'" in found("pytest").text
    assert found("lost-package").text.startswith("not installed")
    assert found("big").state == NOTE
    assert found("big").text == "lacks nowhere-to-be-found>=1: pip install -c constraints.txt '.[big]'"
    assert not [finding for finding in diagnose(devices=False) if finding.name in ("tqdm", "nowhere-to-be-found")]


def test_totalsegmentator_is_optional_but_not_half(
    set_up: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(PATH=tmp_path, TOTALSEG_WEIGHTS_PATH=tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert found("TotalSegmentator").state == NOTE
    (tmp_path / "TotalSegmentator").touch(mode=0o755)
    assert found("TotalSegmentator").state == WARNING
    assert "ENV-TOTALSEG-WEIGHTS" in found("TotalSegmentator").text


def run(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from nnanomaly import cli; status = cli.doctor({list(arguments)}); "
    code += "print('torch' in sys.modules, file=sys.stderr); sys.exit(status)"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_quick_answers_without_torch(set_up: Callable[..., None], root: Path) -> None:
    start = os.times()
    result = run("--quick", "--json", root=root)
    ended = os.times()
    assert result.stderr == "False\n"
    assert ended.children_user + ended.children_system - start.children_user - start.children_system < 2
    document: dict[str, Any] = json.loads(result.stdout)
    assert list(dict.fromkeys(finding["topic"] for finding in document["findings"])) == TOPICS
    assert document["exit_status"] == result.returncode


def test_devices_come_last_and_say_how_long_torch_took(
    set_up: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    status = cli.doctor([])
    lines = capsys.readouterr().out.splitlines()
    assert list(dict.fromkeys(line.split()[1] for line in lines)) == [*TOPICS, "devices"]
    (torch,) = [line for line in lines if " devices " in line and "torch" in line]
    assert "imported in" in torch
    assert status == (5 if any(line.startswith(FAULT) for line in lines) else 0)


def test_a_fault_is_exit_status_5_and_none_is_0(
    set_up: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    declare(monkeypatch, "numpy>=1")
    assert cli.doctor(["--quick"]) == 0
    set_up(nnanomaly_raw=tmp_path / "nowhere")
    assert cli.doctor(["--quick"]) == 5
