"""What a user can do wrong ends in one line, an exit status, and nothing half-written; a bad case costs itself."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly import cli
from nnanomaly.experiment_planning import plan_and_preprocess_api as api
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans, save_plans
from nnanomaly.utilities.errors import Interrupted
from nnanomaly.volume import Grid, Volume

DATASET = "Dataset501_Tiny"
GRID = Grid((20, 24, 32), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))
ORGANS = ("kidney_left", "kidney_right")
VARIABLES = ("nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results")
COMMANDS = {
    "plan_and_preprocess": ["-d", "{}"],
    "extract_fingerprint": ["-d", "{}"],
    "plan_experiment": ["-d", "{}"],
    "preprocess": ["-d", "{}"],
    "train": ["{}", "ddpm"],
    "predict": ["-d", "{}", "-i", "imagesTs", "-o", "preds"],
}
"""Commands that work on a dataset, with their arguments."""

WriteModel = Callable[..., None]


class Shell:
    """Runs commands as a user would: in a folder, with the environment, and reads their standard error."""

    def __init__(self, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
        self.paths, self.capsys = paths, capsys

    def __call__(self, command: str, *arguments: object) -> int:
        self.capsys.readouterr()
        return int(getattr(cli, command)([str(argument) for argument in arguments]))

    def error(self) -> str:
        """The one line that the last command left."""
        (line,) = self.capsys.readouterr().err.splitlines()
        assert line.startswith("error: [NNA-")
        return line

    def refuses(self, status: int, command: str, *arguments: object) -> str:
        """The line of a command that ends with a status and leaves every folder as it was."""
        before = self.everything()
        assert self(command, *arguments) == status
        assert self.everything() == before
        return self.error()

    def everything(self) -> dict[str, bytes | None]:
        """All files and folders around, with their content."""
        root = Path.cwd()
        found = sorted(root.rglob("*"))
        return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in found}


@pytest.fixture
def shell(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    for variable in ("nnUNet_raw", "nnanomaly_def_n_proc"):
        monkeypatch.delenv(variable, raising=False)
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / variable.removeprefix("nnanomaly_")))
    monkeypatch.setenv("nnanomaly_def_n_proc", "1")
    monkeypatch.chdir(tmp_path)
    return Shell(paths, capsys)


def write_case(raw: Path, part: str, case: str, *, organs: tuple[str, ...] = ORGANS, seed: int = 0) -> None:
    """Noise with two brighter blocks; the organs that are not named have a mask of zeros."""
    image = np.random.default_rng(seed).normal(40, 10, (1, *GRID.shape))
    for organ, first in zip(ORGANS, (20, 4), strict=True):
        mask = np.zeros((1, *GRID.shape), np.uint8)
        if organ in organs:
            mask[0, 6:14, 8:16, first : first + 8] = 1
            image += 60 * mask
        write_volume(raw / f"organMasks{part}" / case / f"{organ}.nii.gz", Volume(mask, GRID))
    write_volume(raw / f"images{part}" / f"{case}_0000.nii.gz", Volume(image.astype(np.int16), GRID))


@pytest.fixture(scope="module")
def template(
    tmp_path_factory: pytest.TempPathFactory, tiny_plans: Callable[..., Plans], write_untrained_model: WriteModel
) -> Paths:
    """A raw dataset of five training and two test cases, preprocessed, with a model of random weights."""
    paths = Paths(*(tmp_path_factory.mktemp(name) for name in ("raw", "preprocessed", "results")))
    folder, rows = paths.raw(DATASET), ["case,organ,label"]
    for number in range(5):
        write_case(folder, "Tr", f"case_{number}", seed=number)
        rows += [f"case_{number},{organ},healthy" for organ in ORGANS]
    rows[-1] = rows[-1].replace("healthy", "unhealthy")
    for number in range(2):
        write_case(folder, "Ts", f"test_{number}", seed=10 + number)
    (folder / "organ_labels.csv").write_text("\n".join(rows) + "\n")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(ORGANS)},
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    plans = tiny_plans("default", dataset=DATASET)
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5)
    save_plans(paths.plans(DATASET, plans.plans_name), plans)
    api.preprocess(paths, DATASET, plans_name=plans.plans_name, num_processes=1)
    write_untrained_model(paths, plans)
    return paths


@pytest.fixture
def raw(shell: Shell, template: Paths) -> Path:
    """A copy of the raw dataset."""
    return Path(shutil.copytree(template.raw(DATASET), shell.paths.raw(DATASET)))


@pytest.fixture
def preprocessed(shell: Shell, raw: Path, template: Paths) -> Path:
    """A copy of everything that planning wrote for it."""
    return Path(shutil.copytree(template.preprocessed(DATASET), shell.paths.preprocessed(DATASET)))


@pytest.fixture
def model(shell: Shell, raw: Path, template: Paths, tiny_plans: Callable[..., Plans]) -> Plans:
    """A copy of the model; its plans."""
    root, copied = template.results_root, shell.paths.results_root
    assert root is not None and copied is not None
    shutil.copytree(root, copied, dirs_exist_ok=True)
    return tiny_plans("default", dataset=DATASET)


def status_of(output: Path, name: str = "status.csv") -> dict[tuple[str, str], str]:
    with (output / "detections" / name).open(newline="") as file:
        return {(row["case"], row["organ"]): row["status"] for row in csv.DictReader(file)}


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def outputs_of(case: str) -> set[str]:
    names = (f"{case}.nii.gz", f"anomaly_maps/{case}.nii.gz", f"reconstructions/{case}.nii.gz")
    return {*names, f"detections/{case}_boxes.json"}


DOCUMENTS = {"dataset.json", "plans.json", "predict_from_raw_data_args.json"}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_dataset_is_named_with_those_that_are_there(shell: Shell, raw: Path, command: str) -> None:
    for identifier in ("777", "Dataset777_Missing"):
        line = shell.refuses(2, command, *(argument.format(identifier) for argument in COMMANDS[command]))
        assert "CFG-DATASET" in line
        assert identifier in line
        assert DATASET in line


@pytest.mark.parametrize("command", COMMANDS)
def test_without_any_folder_variable_the_user_is_told_what_to_set(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable)
    line = shell.refuses(2, command, *(argument.format("501") for argument in COMMANDS[command]))
    assert "nnanomaly_raw" in line


@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("nnanomaly_preprocessed", "plan_and_preprocess"),
        ("nnanomaly_preprocessed", "train"),
        ("nnanomaly_results", "predict"),
    ],
)
def test_a_missing_folder_variable_is_named(
    shell: Shell, raw: Path, monkeypatch: pytest.MonkeyPatch, missing: str, command: str
) -> None:
    monkeypatch.delenv(missing)
    line = shell.refuses(2, command, *(argument.format("501") for argument in COMMANDS[command]))
    assert "CFG-ENV" in line
    assert f"export {missing}=" in line


def test_a_prediction_that_may_choose_its_dataset_misses_the_results_variable(
    shell: Shell, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnanomaly_results")
    assert "nnanomaly_results" in shell.refuses(2, "predict", "-i", raw / "imagesTs", "-o", "preds")


def test_training_misses_the_results_variable_before_it_starts(
    shell: Shell, preprocessed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("nnanomaly_results")
    assert "export nnanomaly_results=" in shell.refuses(2, "train", 501, "vqgan")


def test_a_wrong_number_of_processes_in_the_environment_is_named(
    shell: Shell, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnanomaly_def_n_proc", "0")
    assert "nnanomaly_def_n_proc" in shell.refuses(2, "plan_and_preprocess", "-d", 501)


def test_missing_masks_are_named_before_anything_is_written(shell: Shell, raw: Path) -> None:
    (raw / "organMasksTr" / "case_3" / "kidney_left.nii.gz").unlink()
    line = shell.refuses(3, "plan_and_preprocess", "-d", 501)
    assert "ROI-MISSING" in line
    assert "case_3" in line
    assert "kidney_left" in line


def test_an_unreadable_training_image_leaves_no_fingerprint(shell: Shell, raw: Path) -> None:
    truncate(raw / "imagesTr" / "case_3_0000.nii.gz")
    assert shell("plan_and_preprocess", "-d", 501) == 3
    assert "case_3" in shell.error()
    assert files_in(shell.paths.preprocessed(DATASET)) <= {"splits_final.json"}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("arguments", [["501", "ddpm"], ["501", "vqgan"], ["501", "ddpm", "--val"]])
def test_training_before_planning_names_the_command_to_run_first(shell: Shell, raw: Path, arguments: list[str]) -> None:
    assert "nnanomaly_plan_and_preprocess" in shell.refuses(2, "train", *arguments)


def test_training_before_preprocessing_names_the_command_to_run_first(shell: Shell, raw: Path) -> None:
    assert shell("plan_and_preprocess", "-d", 501, "-gpu_memory_target", 0.5, "--no_pp") == 0
    line = shell.refuses(3, "train", 501, "ddpm")
    assert "TRAIN-DATA" in line
    assert "nnanomaly_plan_and_preprocess" in line


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["501", "ddpm", "--val", "--c"], "--val and --c"),
        (["501", "vqgan", "--val"], "vqgan"),
        (["501", "vqgan", "-num_iterations", "0"], "num_iterations"),
        (["501", "vqgan", "-lr", "-1"], "learning_rate"),
        (["501", "vqgan", "-batch_size", "0"], "batch_size"),
        (["501", "vqgan", "five"], "five"),
        (["501", "vqgan", "-1"], "-1"),
        (["501", "vqgan", "../0"], "../0"),
        (["501", "ddpm", "0", "--val"], "nnanomaly_train Dataset501_Tiny vqgan 0"),
        (["501", "ddpm", "-device", "cuda:63"], "cuda:63"),
        (["501", "ddpm", "-p", "OtherPlans"], "OtherPlans"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_training_refuses_what_it_cannot_do(shell: Shell, preprocessed: Path, arguments: list[str], part: str) -> None:
    assert part in shell.refuses(2, "train", *arguments)


def test_classes_that_are_missing_in_a_fold_are_counted(shell: Shell, preprocessed: Path) -> None:
    table = preprocessed / "organ_labels.csv"
    table.write_text(table.read_text().replace("unhealthy", "healthy"))
    assert shell("train", 501, "classifier") == 3
    line = shell.error()
    assert "TRAIN-CLASSES" in line
    assert "'unhealthy': 0" in line


def test_every_case_is_written_whole_and_has_a_status(shell: Shell, model: Plans) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0
    cases = ("test_0", "test_1")
    written = files_in(Path("preds"))
    assert written == DOCUMENTS | {"detections/status.csv"} | set().union(*map(outputs_of, cases))
    assert status_of(Path("preds")) == {(case, organ): "ok" for case in cases for organ in ORGANS}


def test_a_truncated_image_costs_only_its_case(shell: Shell, raw: Path, model: Plans) -> None:
    truncate(raw / "imagesTs" / "test_1_0000.nii.gz")
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    written = files_in(Path("preds"))
    assert written == DOCUMENTS | {"detections/status.csv"} | outputs_of("test_0")
    status = status_of(Path("preds"))
    assert status["test_1", ""] == "failed"
    assert status["test_0", "kidney_left"] == status["test_0", "kidney_right"] == "ok"
    assert "test_1_0000.nii.gz is truncated" in Path("preds/detections/status.csv").read_text()


def test_a_case_without_its_masks_costs_only_itself(shell: Shell, raw: Path, model: Plans) -> None:
    (raw / "organMasksTs" / "test_0" / "kidney_right.nii.gz").unlink()
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    assert status_of(Path("preds"))["test_0", ""] == "failed"
    text = Path("preds/detections/status.csv").read_text()
    assert "ROI-MISSING" in text
    assert "organMasksTs/test_0/kidney_right.nii.gz" in text
    assert not outputs_of("test_0") & files_in(Path("preds"))


def test_a_case_without_kidney_has_no_finding_and_is_never_called_healthy(
    shell: Shell, raw: Path, model: Plans
) -> None:
    write_case(raw, "Ts", "test_1", organs=())
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    status = status_of(Path("preds"))
    assert {status["test_1", organ] for organ in ORGANS} == {"no_roi"}
    assert status["test_0", "kidney_left"] == "ok"
    document = json.loads(Path("preds/detections/test_1_boxes.json").read_text())
    assert document["organs"] == dict.fromkeys(ORGANS, "no_roi")
    assert document["candidates"] == []
    for path in ("preds/detections/status.csv", "preds/detections/test_1_boxes.json"):
        assert "healthy" not in Path(path).read_text()


def test_one_missing_kidney_does_not_hide_the_other(shell: Shell, raw: Path, model: Plans) -> None:
    write_case(raw, "Ts", "test_1", organs=("kidney_right",))
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    status = status_of(Path("preds"))
    assert (status["test_1", "kidney_left"], status["test_1", "kidney_right"]) == ("no_roi", "ok")


def test_parts_together_are_the_whole(shell: Shell, model: Plans) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "whole") == 0
    for part in range(2):
        options = ("-num_parts", 2, "-part_id", part)
        assert shell("predict", "-i", "imagesTs", "-o", "parts", *options) == 0
        assert status_of(Path("parts"), f"status_part{part}.csv")
    for name in outputs_of("test_0") | outputs_of("test_1"):
        assert (Path("parts") / name).read_bytes() == (Path("whole") / name).read_bytes()


def test_images_are_found_by_path_too_and_masks_where_the_user_says(shell: Shell, raw: Path, model: Plans) -> None:
    (raw / "imagesTs").rename("scans")
    (raw / "organMasksTs").rename("elsewhere")
    assert shell("predict", "-i", "scans", "-o", "preds", "-organ_masks", "elsewhere") == 0
    assert shell("predict", "-i", "scans", "-o", "other") == 4
    assert {status for status in status_of(Path("other")).values()} == {"failed"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-i", "imagesTs", "-o", "preds", "-num_parts", "2", "-part_id", "2"], "-part_id"),
        (["-i", "imagesTs", "-o", "preds", "-part_id", "-1"], "-part_id"),
        (["-i", "imagesTs", "-o", "preds", "-num_parts", "0"], "-num_parts"),
        (["-i", "nowhere", "-o", "preds"], "-i nowhere"),
        (["-i", "imagesTs", "-o", f"raw/{DATASET}/imagesTs"], "-o"),
        (["-i", "imagesTs", "-o", f"raw/{DATASET}/imagesTs/preds"], "-o"),
        (["-i", "imagesTs", "-o", "preds", "-f", "3"], "fold_3"),
        (["-i", "imagesTs", "-o", "preds", "-f", "0", "five"], "fold_five"),
        (["-i", "imagesTs", "-o", "preds", "-p", "OtherPlans"], "OtherPlans"),
        (["-i", "imagesTs", "-o", "preds", "-device", "cuda:63"], "cuda:63"),
        (["-i", "imagesTs", "-o", "preds", "-d", "501", "-preset", "paper"], "nnanomaly_train"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_prediction_refuses_what_it_cannot_do(shell: Shell, model: Plans, arguments: list[str], part: str) -> None:
    assert part in shell.refuses(2, "predict", *arguments)


def test_a_folder_without_images_is_refused(shell: Shell, model: Plans) -> None:
    Path("empty").mkdir()
    assert "case_0000.nii.gz" in shell.refuses(3, "predict", "-i", "empty", "-o", "preds")


def test_two_trained_datasets_need_a_choice(
    shell: Shell, model: Plans, tiny_plans: Callable[..., Plans], write_untrained_model: WriteModel
) -> None:
    write_untrained_model(shell.paths, tiny_plans("default", dataset="Dataset502_Other"))
    line = shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds")
    assert "-d" in line
    assert "Dataset501_Tiny, Dataset502_Other" in line
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "-d", 501) == 0


def test_folds_are_averaged_where_there_are_several(
    shell: Shell, model: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(shell.paths, model, fold=1)
    assert shell("predict", "-i", "imagesTs", "-o", "both") == 0
    assert shell("predict", "-i", "imagesTs", "-o", "one", "-f", 1) == 0
    folds = [json.loads(Path(f"{o}/predict_from_raw_data_args.json").read_text())["folds"] for o in ("both", "one")]
    assert [set(fold) for fold in folds] == [{"0", "1"}, {"1"}]


@pytest.mark.parametrize("stage", ["vqgan", "classifier", "ddpm"])
def test_a_damaged_checkpoint_is_refused_before_anything_is_written(shell: Shell, model: Plans, stage: str) -> None:
    path = shell.paths.fold(DATASET, model.plans_name, stage, 0) / "checkpoint_final.pth"
    truncate(path)
    line = shell.refuses(6, "predict", "-i", "imagesTs", "-o", "preds")
    assert stage in line


def test_a_calibration_of_other_checkpoints_is_refused_with_the_remedy(shell: Shell, model: Plans) -> None:
    path = shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json"
    path.write_text(path.read_text().replace('"ddpm": "', '"ddpm": "0'))
    line = shell.refuses(6, "predict", "-i", "imagesTs", "-o", "preds")
    assert "CALIB-STALE" in line
    assert line.endswith("nnanomaly_train Dataset501_Tiny ddpm 0 --val")


def test_a_trained_fold_without_calibration_names_the_command(shell: Shell, model: Plans) -> None:
    (shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json").unlink()
    line = shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds", "-d", "501", "-f", "0")
    assert line.endswith("nnanomaly_train Dataset501_Tiny ddpm 0 --val")


def test_a_resumed_prediction_adds_what_is_missing_and_refuses_another_model(
    shell: Shell, raw: Path, model: Plans, write_untrained_model: WriteModel
) -> None:
    image = raw / "imagesTs" / "test_1_0000.nii.gz"
    whole = image.read_bytes()
    truncate(image)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    kept = Path("preds/test_0.nii.gz").stat().st_mtime_ns
    image.write_bytes(whole)
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction") == 0
    assert set(status_of(Path("preds")).values()) == {"ok"}
    assert len(status_of(Path("preds"))) == 4
    assert Path("preds/test_0.nii.gz").stat().st_mtime_ns == kept
    write_untrained_model(shell.paths, model, validation={"auc_sigma_1.0": 0.8})
    assert "CFG-RESUME" in shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction")


@pytest.mark.parametrize("command", ["plan_and_preprocess", "train", "predict", "evaluate_folder", "demo"])
@pytest.mark.parametrize("flag", ["--no_such_flag", "-x"])
def test_an_unknown_flag_is_refused(shell: Shell, command: str, flag: str) -> None:
    needed = {"train": ["501", "ddpm"], "evaluate_folder": ["a", "b"], "demo": []}
    arguments = needed.get(command, ["-d", "501", "-i", "a", "-o", "b"] if command == "predict" else ["-d", "501"])
    with pytest.raises(SystemExit) as stop:
        shell(command, *arguments, flag)
    assert stop.value.code == 2
    assert flag in shell.capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "arguments", "part"),
    [
        ("predict", ["-o", "preds"], "-i"),
        ("predict", ["-i", "imagesTs"], "-o"),
        ("predict", ["-i", "a", "-o", "b", "-p", "X", "-preset", "paper"], "-preset"),
        ("predict", ["-i", "a", "-o", "b", "--continue"], "--continue"),  # no abbreviations
        ("train", ["501"], "configuration"),
        ("train", ["501", "unet"], "unet"),
        ("train", ["501", "vqgan", "-num_iterations", "many"], "many"),
        ("plan_and_preprocess", [], "-d"),
        ("plan_and_preprocess", ["-d", "501", "-preset", "mine"], "mine"),
        ("evaluate_folder", ["only_one"], "pred_folder"),
    ],
)
def test_missing_and_impossible_arguments_are_named(
    shell: Shell, command: str, arguments: list[str], part: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        shell(command, *arguments)
    assert stop.value.code == 2
    assert part in shell.capsys.readouterr().err


def test_evaluation_of_folders_that_are_not_there_is_refused(shell: Shell, model: Plans) -> None:
    assert "nowhere" in shell.refuses(3, "evaluate_folder", "nowhere", "neither", "-l", "1")


def test_the_demo_wants_a_folder_of_its_own(shell: Shell, raw: Path) -> None:
    Path("used/raw/Dataset900_Phantom").mkdir(parents=True)
    Path("used/raw/Dataset900_Phantom/notes.txt").write_text("mine")
    assert "CFG-OUTPUT" in shell.refuses(2, "demo", "-o", "used")


@pytest.mark.parametrize(
    ("raised", "status", "part"),
    [
        (Interrupted(15), 143, "continue with --c"),
        (Interrupted(2), 130, "continue with --c"),
        (OSError(errno.ENOSPC, "No space left on device"), 5, "No space left"),
        (PermissionError(errno.EACCES, "Permission denied", "/file"), 5, "/file"),
        (MemoryError("no memory"), 5, "no memory"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/file"), 3, "/file"),
        (ValueError("several\nlines"), None, ""),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_interruptions_and_faults_of_the_machine_have_their_exit_status(
    shell: Shell, raw: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, status: int | None, part: str
) -> None:
    from nnanomaly.training import train_api

    def stop(*_: object, **__: object) -> None:
        raise raised

    monkeypatch.setattr(train_api, "train_stages", stop)
    if status is None:  # a fault of ours keeps its traceback
        with pytest.raises(ValueError, match="several"):
            shell("train", 501, "vqgan")
        return
    assert shell("train", 501, "vqgan") == status
    (line,) = shell.capsys.readouterr().err.splitlines()
    assert part in line


def python(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[1]
    variables = {**os.environ, "PYTHONPATH": str(root), **environment}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=60)


def test_a_process_of_its_own_ends_with_the_status_and_one_line(shell: Shell, tmp_path: Path) -> None:
    code = "import sys; from nnanomaly.cli import predict; sys.exit(predict())"
    result = python(code, "-d", "777", "-i", "x", "-o", "y")
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: [NNA-CFG-DATASET] no dataset '777' found")


def test_the_traceback_is_shown_on_request(shell: Shell) -> None:
    code = "import sys; from nnanomaly.cli import predict; sys.exit(predict())"
    result = python(code, "-d", "777", "-i", "x", "-o", "y", "--verbose")
    assert result.returncode == 2
    assert "Traceback" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: [NNA-CFG-DATASET]")


@pytest.mark.parametrize("command", [*COMMANDS, "evaluate_folder", "demo"])
def test_help_answers_at_once_and_loads_no_torch(command: str) -> None:
    code = f"""
import atexit, sys
atexit.register(lambda: print("torch" in sys.modules, file=sys.stderr))
from nnanomaly.cli import {command}
{command}(["-h"])
"""
    seconds = []
    for _ in range(3):  # the machine may be busy: the best of three counts
        start = time.monotonic()
        result = python(code)
        seconds.append(time.monotonic() - start)
        if seconds[-1] < 2:
            break
    assert result.returncode == 0
    assert "usage:" in result.stdout
    assert result.stderr.strip() == "False"
    assert min(seconds) < 2
