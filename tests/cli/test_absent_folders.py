"""A message about a missing file names the variable that points nowhere, and no other."""

from pathlib import Path

import pytest

from nnanomaly.cli.absent_folders import absent_folders


def test_a_message_names_the_variable_whose_folder_does_not_exist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = tmp_path / "nowhere"
    monkeypatch.delenv("nnanomaly_raw", raising=False)
    monkeypatch.setenv("nnUNet_raw", str(nowhere))
    monkeypatch.setenv("nnanomaly_results", str(tmp_path))
    assert absent_folders(f"{nowhere}/Dataset501_X is not a folder, nor is {tmp_path}/y") == [
        f"nnUNet_raw is {str(nowhere)!r}, and there is no such folder"
    ]
    assert absent_folders("something else") == []
    monkeypatch.setenv("nnanomaly_raw", str(tmp_path))
    assert absent_folders(str(nowhere)) == []
