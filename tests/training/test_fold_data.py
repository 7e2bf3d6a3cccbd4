"""Which cases of a fold take part, and that those that do not are named."""

from pathlib import Path
from typing import Any

import pytest

from nnanomaly.training import fold_data
from nnanomaly.training.fold_data import load_fold


def test_cases_without_patches_are_named_but_those_that_are_excluded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    labels = {("a", "liver"): "healthy", ("b", "liver"): "unhealthy", ("c", "liver"): "excluded"}
    monkeypatch.setattr(fold_data, "list_patches", lambda _: ["a__liver", "b__liver"])
    monkeypatch.setattr(fold_data, "read_place", lambda _, name: tuple(name.split("__")))
    monkeypatch.setattr(fold_data, "read_label_snapshot", lambda _: labels)
    split: dict[str, Any] = {"train": ["a", "c"], "val": ["b"]}
    monkeypatch.setattr(fold_data, "load_splits", lambda _: [split])
    train, val = load_fold(tmp_path, "patches", 0)
    assert (train.names, val.names) == (("a__liver",), ("b__liver",))
    assert not caplog.records
    split["val"] = ["b", "d"]
    split["train"] = ["a", "c", "e"]
    load_fold(tmp_path, "patches", 0)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "TRAIN-PATCHES" in line
    assert "2 cases" in line
    assert "d, e" in line
