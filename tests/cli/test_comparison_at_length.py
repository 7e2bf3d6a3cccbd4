"""A hundred cases: in parallel, with a progress bar, and a broken one costs only itself."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

NUM_CASES = 100


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_a_hundred_cases_of_which_one_cannot_be_read(
    command: str, shell: Any, write_nifti: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raw, masks = tmp_path / "raw" / "Dataset501_Many", tmp_path / "masks"
    cases = [f"case_{number:03d}" for number in range(NUM_CASES)]
    mask = np.zeros((10, 20, 20), np.uint8)
    mask[3:6, 5:11, 5:11] = 1
    for case in cases:
        for folder in (raw / "labelsTs", masks):
            write_nifti(folder / f"{case}.nii.gz", mask, spacing_mm=(3.0, 1.0, 1.0))
    (raw / "dataset.json").write_text('{"labels": {"background": 0, "lesion": 1}, "file_ending": ".nii.gz"}')
    shell.truncate(masks / "case_042.nii.gz")
    error = Terminal()
    monkeypatch.setattr(sys, "stderr", error)
    monkeypatch.setenv("nnanomaly_def_n_proc", "2")
    flags = {"compare": ["--pred", f"ours={masks}", "-num_draws", "10"], "evaluate": ["-pred", str(masks)]}
    assert shell(command, "-d", "501", "-o", "out", *flags[command]) == 4
    assert f"{NUM_CASES}/{NUM_CASES}" in error.getvalue()
    document = json.loads((tmp_path / "out" / "detection_summary.json").read_text())
    metrics = document["metrics"] if command == "evaluate" else document["methods"][0]["metrics"]
    assert metrics["n_cases"] == NUM_CASES - 1
    assert metrics["all"]["f1"]["mean"] == 1.0
    failed = document["failed_cases"] if command == "evaluate" else document["left_out"]
    assert list(failed) == ["case_042"]
    assert "case_042.nii.gz" in failed["case_042"]
