"""Another checkpoint of the ddpm than the final one: calibrated and used like it, the other stages stay final."""

import json
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.checkpoint import checkpoint_hash, load_checkpoint, save_checkpoint
from nnanomaly.plans import Plans

DATASET = "Dataset501_Tiny"
PREDICT = ("predict", "-i", "imagesTs", "-o", "preds")
COMMANDS = {
    "checkpoint_best.pth": ["--val", "--val_best"],
    "checkpoint_latest.pth": ["--val", "-chk", "checkpoint_latest.pth"],
}


@pytest.fixture
def ddpm(shell: Any, preprocessed: Path, model: Plans) -> Path:
    """Fold 0 of a ddpm whose best and latest checkpoints have other weights than the final one."""
    folder = Path(shell.paths.fold(DATASET, model.plans_name, "ddpm", 0))
    for name, factor in (("best", 1.5), ("latest", 0.5)):
        state = load_checkpoint(folder / "checkpoint_final.pth")
        weights = {key: value * factor for key, value in state["averaged_weights"].items()}
        save_checkpoint(folder / f"checkpoint_{name}.pth", {**state, "averaged_weights": weights})
    return folder


@pytest.mark.parametrize("checkpoint", COMMANDS)
@pytest.mark.parametrize("choice", [(), ("-d", "501"), ("-f", "0")], ids=["", "dataset", "fold"])
def test_a_checkpoint_without_calibration_names_the_command(
    shell: Any, ddpm: Path, checkpoint: str, choice: tuple[str, ...]
) -> None:
    line = shell.refuses(2, *PREDICT, "-chk", checkpoint, *choice)
    assert f"calibration_{checkpoint[len('checkpoint_') : -len('.pth')]}.json does not exist" in line
    assert line.endswith(" ".join(["nnanomaly_train", DATASET, "ddpm 0", *COMMANDS[checkpoint]]))


@pytest.mark.parametrize("checkpoint", COMMANDS)
def test_that_command_lets_the_checkpoint_predict_and_leaves_the_final_one_as_it_was(
    shell: Any, ddpm: Path, model: Plans, checkpoint: str
) -> None:
    before = (ddpm / "calibration.json").read_bytes()
    assert shell("train", DATASET, "ddpm", "0", *COMMANDS[checkpoint]) == 0
    assert (ddpm / "calibration.json").read_bytes() == before
    assert shell(*PREDICT) == 0
    assert shell(*PREDICT[:-1], "other", "-chk", checkpoint) == 0
    final, other = (
        json.loads(Path(f"{output}/predict_from_raw_data_args.json").read_text())["folds"]["0"]["checkpoints"]
        for output in ("preds", "other")
    )
    assert other["ddpm"] == checkpoint_hash(ddpm / checkpoint) != final["ddpm"]
    assert {**other, "ddpm": ""} == {**final, "ddpm": ""}
    maps = [Path(f"{output}/anomaly_maps/test_0.nii.gz").read_bytes() for output in ("preds", "other")]
    assert maps[0] != maps[1]


def test_a_best_checkpoint_that_has_changed_is_stale_and_names_its_own_command(shell: Any, ddpm: Path) -> None:
    assert shell("train", DATASET, "ddpm", "0", "--val", "--val_best") == 0
    (ddpm / "checkpoint_latest.pth").replace(ddpm / "checkpoint_best.pth")
    line = shell.refuses(6, *PREDICT, "-chk", "checkpoint_best.pth")
    assert "CALIB-STALE" in line
    assert line.endswith("--val --val_best")


def test_training_with_val_best_calibrates_both(shell: Any, ddpm: Path) -> None:
    assert shell("train", DATASET, "ddpm", "--val_best") == 0
    assert {path.name for path in ddpm.glob("calibration*")} == {"calibration.json", "calibration_best.json"}
    assert shell(*PREDICT) == shell(*PREDICT, "-chk", "checkpoint_best.pth") == 0


def test_a_checkpoint_that_was_never_written_is_named(shell: Any, preprocessed: Path, model: Plans) -> None:
    best = ("-chk", "checkpoint_best.pth")
    assert "checkpoint_best.pth" in shell.refuses(2, *PREDICT, *best)
    assert "has no checkpoint_best.pth" in shell.refuses(2, *PREDICT, *best, "-d", "501", "-f", "0")
    line = shell.refuses(2, "train", DATASET, "ddpm", "--val", "--val_best")
    assert "checkpoint_best.pth does not exist" in line


@pytest.mark.parametrize("name", ["checkpoint_best", "best", "../checkpoint_final.pth", "checkpoint_previous.pth"])
def test_other_names_are_refused_with_those_there_are(shell: Any, ddpm: Path, name: str) -> None:
    for arguments in ((*PREDICT, "-chk", name), ("train", DATASET, "ddpm", "--val", "-chk", name)):
        line = shell.refuses(2, *arguments)
        assert "CFG-CHK" in line
        assert line.endswith("checkpoint_final.pth, checkpoint_best.pth, checkpoint_latest.pth")
