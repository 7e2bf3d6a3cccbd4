"""Without the extra."""

import importlib.util

import pytest

from nnanomaly import cli


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("convert_dicom", ["in", "-o", "out"]), ("export_dicom", ["-i", "preds", "-dicom", "in", "-o", "out"])],
)
def test_without_the_extra_the_user_is_told_what_to_type(
    command: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "highdicom" else find_spec(name))
    assert getattr(cli, command)(arguments) == 5
    error = capsys.readouterr().err
    assert "NNA-ENV-DICOM] highdicom cannot" in error
    assert 'pip install -c constraints.txt ".[dicom]"' in error
