"""The way of a model from one machine to another, by the commands."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.paths import Paths
from nnanomaly.plans import Plans

DATASET = "Dataset501_Tiny"
INSTALL = "install_pretrained_model_from_zip"


def test_a_model_goes_to_a_zip_and_comes_back_and_predicts_the_same_files(
    shell: Any, model: Plans, template: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = ("predict", "-i", shell.paths.raw(DATASET) / "imagesTs", "-d", "501", "-device", "cpu", "-o")
    assert shell("export_model_to_zip", "-d", "501", "-o", "model.zip", "-licence", "CC BY 4.0") == 0
    assert "model.zip: Dataset501_Tiny, plans nnAnomalyPlans, folds 0" in capsys.readouterr().out
    everything = Path("model.zip").read_bytes()
    assert not [case for case in ("case_0", "test_0", str(Path.cwd())) if case.encode() in everything]
    assert shell(*predict, "before") == 0
    monkeypatch.setenv("nnanomaly_results", str(Path.cwd() / "elsewhere"))
    assert shell(INSTALL, "model.zip") == 0
    out = capsys.readouterr().out
    assert "licence: CC BY 4.0" in out
    assert "origin: not stated" in out
    assert f"nnanomaly_predict -i IMAGES -o PREDICTIONS -d {DATASET} -p nnAnomalyPlans" in out
    assert shell(*predict, "after") == 0
    before = {p.relative_to("before"): p.read_bytes() for p in Path("before").rglob("*") if p.is_file()}
    after = {p.relative_to("after"): p.read_bytes() for p in Path("after").rglob("*") if p.is_file()}
    different = {str(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    # hashes of checkpoints, and the reasons of the plans, which are not exported
    assert different <= {"predict_from_raw_data_args.json", "plans.json"}
    assert Path("test_0.nii.gz") in before


def test_the_second_installation_needs_force(shell: Any, model: Plans) -> None:
    assert shell("export_model_to_zip", "-d", "501", "-o", "model.zip") == 0
    assert "[NNA-CFG-OUTPUT]" in shell.refuses(2, INSTALL, "model.zip")
    assert shell(INSTALL, "model.zip", "--force") == 0
    assert "[NNA-CFG-OUTPUT]" in shell.refuses(2, "export_model_to_zip", "-d", "501", "-o", "model.zip")
    assert shell("export_model_to_zip", "-d", "501", "-o", "model.zip", "--force") == 0


def test_what_is_no_model_is_refused_with_status_6_and_a_missing_file_with_2(shell: Any, model: Plans) -> None:
    with zipfile.ZipFile("evil.zip", "w") as archive:
        archive.writestr("../evil.json", "{}")
    assert "[NNA-MODEL-MEMBER] evil.zip" in shell.refuses(6, INSTALL, "evil.zip")
    assert "[NNA-CFG-INPUT]" in shell.refuses(2, INSTALL, "nowhere.zip")


def test_words_of_a_stranger_do_not_move_the_cursor(
    shell: Any, model: Plans, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shell("export_model_to_zip", "-d", "501", "-o", "model.zip", "-origin", "me\x1b[2J\nlicence: free") == 0
    monkeypatch.setenv("nnanomaly_results", str(Path.cwd() / "elsewhere"))
    assert shell(INSTALL, "model.zip") == 0
    out = capsys.readouterr().out
    assert "origin: me [2J licence: free\n" in out
