"""Prediction: every case is written whole and has a status, a bad case costs itself, a bad request costs nothing."""

import csv
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from nnanomaly.inference.case_work import CaseWork
from nnanomaly.inference.prediction_files import BOXES_KEYS
from nnanomaly.plans import Plans

DATASET = "Dataset501_Tiny"
ORGANS = ("kidney_left", "kidney_right")
DOCUMENTS = {"dataset.json", "plans.json", "predict_from_raw_data_args.json"}

WriteModel = Callable[..., None]


def status_of(output: Path, name: str = "status.csv") -> dict[tuple[str, str], str]:
    with (output / "detections" / name).open(newline="") as file:
        return {(row["case"], row["organ"]): row["status"] for row in csv.DictReader(file)}


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def outputs_of(case: str) -> set[str]:
    names = (f"{case}.nii.gz", f"anomaly_maps/{case}.nii.gz", f"reconstructions/{case}.nii.gz")
    return {*names, f"detections/{case}_boxes.json"}


def test_every_case_is_written_whole_and_has_a_status(
    shell: Any, model: Plans, caplog: pytest.LogCaptureFixture
) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0
    assert caplog.messages[-1] == "2 cases, 0 of them failed or without an organ: preds"
    cases = ("test_0", "test_1")
    written = files_in(Path("preds"))
    assert written == DOCUMENTS | {"detections/status.csv", "detections/run.json"} | set().union(
        *map(outputs_of, cases)
    )
    assert status_of(Path("preds")) == {(case, organ): "ok" for case in cases for organ in ORGANS}


def test_the_round_trip_of_the_autoencoder_is_saved_on_request_and_changes_nothing_else(
    shell: Any, raw: Path, model: Plans
) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "plain") == 0
    assert shell("predict", "-i", "imagesTs", "-o", "with", "--save_autoencoded") == 0
    added = {f"autoencoded/test_{number}.nii.gz" for number in (0, 1)}
    assert files_in(Path("with")) == files_in(Path("plain")) | added
    for name in files_in(Path("plain")):
        assert Path("plain", name).read_bytes() == Path("with", name).read_bytes(), name
    scan, healthy, autoencoded = (
        nibabel.load(path).get_fdata()
        for path in (
            raw / "imagesTs" / "test_0_0000.nii.gz",
            Path("with/reconstructions/test_0.nii.gz"),
            Path("with/autoencoded/test_0.nii.gz"),
        )
    )
    beyond = healthy == scan
    assert 0.1 < beyond.mean() < 0.95
    assert np.mean(autoencoded[beyond] == scan[beyond]) > 0.9
    assert np.mean(autoencoded[~beyond] != scan[~beyond]) > 0.5
    assert shell("predict", "-i", "imagesTs", "-o", "with") == 0
    assert not any(Path("with/autoencoded").iterdir())


def test_validation_cases_are_predicted_where_the_evaluation_of_a_fold_looks_for_them(
    shell: Any, raw: Path, preprocessed: Path, model: Plans, draw_lesions: Callable[[Path], None]
) -> None:
    draw_lesions(raw)
    assert shell("predict", "-d", 501, "--val", "-f", 0) == 0
    folder = shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "validation"
    held_out = json.loads((preprocessed / "splits_final.json").read_text())[0]["val"]
    assert 0 < len(held_out) < 5
    assert {path.name.removesuffix(".nii.gz") for path in folder.glob("*.nii.gz")} == set(held_out)
    assert shell("evaluate", "-d", 501, "-f", 0) == 0
    assert shell("predict", "-d", 501, "-i", "imagesTr", "-f", 0, "-o", "all") == 0
    for case in held_out:
        assert (folder / f"{case}.nii.gz").read_bytes() == Path("all", f"{case}.nii.gz").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--val", "-o", "preds"], "leave out -o"),
        (["--val", "-i", "imagesTs", "-o", "preds"], "leave out -i and -o"),
        (["-i", "imagesTs"], "-o PREDICTIONS"),
        ([], "or --val"),
    ],
)
def test_a_prediction_that_does_not_say_what_goes_where_is_refused(
    shell: Any, model: Plans, arguments: list[str], part: str
) -> None:
    line = shell.refuses(2, "predict", *arguments)
    assert "CFG-FLAGS" in line
    assert part in line


def test_the_cyst_label_of_totalsegmentator_changes_no_voxel_and_no_score(shell: Any, raw: Path, model: Plans) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "without") == 0
    for case in ("test_0", "test_1"):
        folder = raw / "organMasksTs" / case
        shutil.copy(folder / "kidney_left.nii.gz", folder / "kidney_cyst_left.nii.gz")
    assert shell("predict", "-i", "imagesTs", "-o", "beside") == 0
    for name in files_in(Path("without")):
        assert Path("without", name).read_bytes() == Path("beside", name).read_bytes(), name


def test_a_truncated_image_costs_only_its_case(shell: Any, raw: Path, model: Plans) -> None:
    shell.truncate(raw / "imagesTs" / "test_1_0000.nii.gz")
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    written = files_in(Path("preds"))
    assert written == DOCUMENTS | {"detections/status.csv", "detections/run.json"} | outputs_of("test_0")
    status = status_of(Path("preds"))
    assert status["test_1", ""] == "failed"
    assert status["test_0", "kidney_left"] == status["test_0", "kidney_right"] == "ok"
    assert "test_1_0000.nii.gz is truncated" in Path("preds/detections/status.csv").read_text()


def test_a_case_without_its_masks_costs_only_itself(shell: Any, raw: Path, model: Plans) -> None:
    (raw / "organMasksTs" / "test_0" / "kidney_right.nii.gz").unlink()
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    assert status_of(Path("preds"))["test_0", ""] == "failed"
    text = Path("preds/detections/status.csv").read_text()
    assert "ROI-MISSING" in text
    assert "organMasksTs/test_0/kidney_right.nii.gz" in text
    assert not outputs_of("test_0") & files_in(Path("preds"))


def test_a_case_without_kidney_has_no_finding_and_is_never_called_healthy(shell: Any, raw: Path, model: Plans) -> None:
    shell.write_case(raw, "Ts", "test_1", organs=())
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    status = status_of(Path("preds"))
    assert {status["test_1", organ] for organ in ORGANS} == {"no_roi"}
    assert status["test_0", "kidney_left"] == "ok"
    document = json.loads(Path("preds/detections/test_1_boxes.json").read_text())
    assert list(document) == list(BOXES_KEYS)
    assert document["organs"] == dict.fromkeys(ORGANS, "no_roi")
    assert document["candidates"] == []
    for path in ("preds/detections/status.csv", "preds/detections/test_1_boxes.json"):
        assert "healthy" not in Path(path).read_text()


def test_one_missing_kidney_does_not_hide_the_other(
    shell: Any, raw: Path, model: Plans, caplog: pytest.LogCaptureFixture
) -> None:
    shell.write_case(raw, "Ts", "test_1", organs=("kidney_right",))
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0  # a nephrectomy is a finding, not a fault
    assert "the mask of kidney_left is empty; nothing is said" in caplog.text
    status = status_of(Path("preds"))
    assert (status["test_1", "kidney_left"], status["test_1", "kidney_right"]) == ("no_roi", "ok")


def test_parts_together_are_the_whole(shell: Any, model: Plans) -> None:
    assert shell("predict", "-i", "imagesTs", "-o", "whole") == 0
    for part in range(2):
        options = ("-num_parts", 2, "-part_id", part)
        assert shell("predict", "-i", "imagesTs", "-o", "parts", *options) == 0
        assert status_of(Path("parts"), f"status_part{part}.csv")
    for name in outputs_of("test_0") | outputs_of("test_1"):
        assert (Path("parts") / name).read_bytes() == (Path("whole") / name).read_bytes()


def test_images_are_found_by_path_too_and_masks_where_the_user_says(shell: Any, raw: Path, model: Plans) -> None:
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
        (["-i", "imagesTs", "-o", "preds", "-f", "3"], "nnanomaly_train Dataset501_Tiny ddpm 3"),
        (["-i", "imagesTs", "-o", "preds", "-f", "0", "five"], "'five'"),
        (["-i", "imagesTs", "-o", "preds", "-f", "00"], "'00'"),
        (["-i", "imagesTs", "-o", "preds", "-f", "-1"], "'-1'"),
        (["-i", "imagesTs", "-o", "preds", "-p", "OtherPlans"], "OtherPlans"),
        (["-i", "imagesTs", "-o", "preds", "-tr", "nnUNetTrainer"], "nnAnomalyTrainer"),
        (["-i", "imagesTs", "-o", "preds", "-c", "2d"], "3d_fullres"),
        (["-i", "imagesTs", "-o", "preds", "-npp", "-1"], "-npp -1"),
        (["-i", "imagesTs", "-o", "preds", "-nps", "-3"], "-nps -3"),
        (["-i", "imagesTs", "-o", "preds", "-device", "cuda:63"], "cuda:63"),
        (["-i", "imagesTs", "-o", "preds", "-d", "501", "-preset", "paper"], "nnanomaly_train"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_prediction_refuses_what_it_cannot_do(shell: Any, model: Plans, arguments: list[str], part: str) -> None:
    assert part in shell.refuses(2, "predict", *arguments)


def test_a_folder_without_images_is_refused(shell: Any, model: Plans) -> None:
    Path("empty").mkdir()
    assert "case_0000.nii.gz" in shell.refuses(3, "predict", "-i", "empty", "-o", "preds")


def test_images_whose_names_fit_no_case_are_named_and_the_others_predicted(
    shell: Any, raw: Path, model: Plans, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b.nii.gz", "c_0000.NII.GZ", "d_0000.nii", "e_000.nii.gz"):
        shutil.copy(raw / "imagesTs" / "test_0_0000.nii.gz", raw / "imagesTs" / name)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    assert "b.nii.gz, c_0000.NII.GZ, d_0000.nii, e_000.nii.gz" in caplog.text
    assert "{case}_0000.nii.gz" in caplog.text
    assert sorted(path.name for path in Path("preds").glob("*.nii.gz")) == ["test_0.nii.gz", "test_1.nii.gz"]


def test_two_trained_datasets_need_a_choice(
    shell: Any, model: Plans, tiny_plans: Callable[..., Plans], write_untrained_model: WriteModel
) -> None:
    write_untrained_model(shell.paths, tiny_plans("default", dataset="Dataset502_Other"))
    line = shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds")
    assert "-d" in line
    assert "Dataset501_Tiny, Dataset502_Other" in line
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "-d", 501) == 0


def test_folds_are_averaged_where_there_are_several(
    shell: Any, model: Plans, write_untrained_model: WriteModel
) -> None:
    write_untrained_model(shell.paths, model, fold=10)
    write_untrained_model(shell.paths, model, fold=2)
    stray = shell.paths.fold(DATASET, model.plans_name, "ddpm", 0)
    shutil.copytree(stray, stray.with_name("fold_0_old"))
    for output, choice in (("three", ()), ("two", ("-f", 10, 0)), ("one", ("-f", 10))):
        assert shell("predict", "-i", "imagesTs", "-o", output, *choice) == 0
    folds = [
        list(json.loads(Path(f"{output}/predict_from_raw_data_args.json").read_text())["folds"])
        for output in ("three", "two", "one")
    ]
    assert folds == [["0", "2", "10"], ["0", "10"], ["10"]]


@pytest.mark.parametrize("stage", ["vqgan", "classifier", "ddpm"])
def test_a_damaged_checkpoint_is_refused_before_anything_is_written(shell: Any, model: Plans, stage: str) -> None:
    path = shell.paths.fold(DATASET, model.plans_name, stage, 0) / "checkpoint_final.pth"
    shell.truncate(path)
    line = shell.refuses(6, "predict", "-i", "imagesTs", "-o", "preds")
    assert stage in line


def test_a_calibration_of_other_checkpoints_is_refused_with_the_remedy(shell: Any, model: Plans) -> None:
    path = shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json"
    path.write_text(path.read_text().replace('"ddpm": "', '"ddpm": "0'))
    line = shell.refuses(6, "predict", "-i", "imagesTs", "-o", "preds")
    assert "CALIB-STALE" in line
    assert line.endswith("nnanomaly_train Dataset501_Tiny ddpm 0 --val")


def test_a_trained_fold_without_calibration_names_the_command(shell: Any, model: Plans) -> None:
    (shell.paths.fold(DATASET, model.plans_name, "ddpm", 0) / "calibration.json").unlink()
    line = shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds", "-d", "501", "-f", "0")
    assert line.endswith("nnanomaly_train Dataset501_Tiny ddpm 0 --val")


def test_a_resumed_prediction_adds_what_is_missing_and_refuses_another_model(
    shell: Any, raw: Path, model: Plans, write_untrained_model: WriteModel
) -> None:
    image = raw / "imagesTs" / "test_1_0000.nii.gz"
    whole = image.read_bytes()
    shell.truncate(image)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    kept = Path("preds/test_0.nii.gz").stat().st_mtime_ns
    image.write_bytes(whole)
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction") == 0
    assert set(status_of(Path("preds")).values()) == {"ok"}
    assert len(status_of(Path("preds"))) == 4
    assert Path("preds/test_0.nii.gz").stat().st_mtime_ns == kept
    write_untrained_model(shell.paths, model, validation={"auc_sigma_1.0": 0.8})
    assert "CFG-RESUME" in shell.refuses(2, "predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction")


def test_a_continued_prediction_remembers_the_cases_without_an_organ(shell: Any, raw: Path, model: Plans) -> None:
    resume = ("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction")
    shell.write_case(raw, "Ts", "test_1", organs=())
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    before = status_of(Path("preds"))
    assert shell(*resume) == 4
    assert status_of(Path("preds")) == before
    Path("preds/detections/status.csv").unlink()  # as after a kill: the table is written last
    assert shell(*resume) == 4
    assert status_of(Path("preds")) == before


def test_a_continued_prediction_tries_failed_and_damaged_cases_again(shell: Any, raw: Path, model: Plans) -> None:
    resume = ("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction")
    image = raw / "imagesTs" / "test_1_0000.nii.gz"
    whole = image.read_bytes()
    shell.truncate(image)
    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 4
    assert shell(*resume) == 4
    assert status_of(Path("preds"))["test_1", ""] == "failed"
    image.rename("elsewhere.nii.gz")
    assert shell(*resume) == 4  # the row of the case that is gone stays, and counts
    Path("elsewhere.nii.gz").rename(image)
    image.write_bytes(whole)
    shell.truncate(Path("preds/detections/test_0_boxes.json"))
    assert shell(*resume) == 0
    assert status_of(Path("preds")) == {(case, organ): "ok" for case in ("test_0", "test_1") for organ in ORGANS}
    json.loads(Path("preds/detections/test_0_boxes.json").read_text())


def test_what_a_user_of_nnunet_types_is_understood(shell: Any, model: Plans) -> None:
    typed = "-i imagesTs -o preds -d 501 -c 3d_fullres -tr nnAnomalyTrainer -p nnAnomalyPlans -f 0 -npp 3 -nps 3"
    assert shell("predict", *typed.split(), "-chk", "checkpoint_final.pth") == 0


@pytest.mark.parametrize("threads", [(1, 1), (3, 2), (1, 0), (0, 1)], ids=str)
def test_threads_change_no_byte_and_a_bad_case_costs_only_itself(
    shell: Any, raw: Path, model: Plans, threads: tuple[int, int]
) -> None:
    for number in (2, 3):
        shell.write_case(raw, "Ts", f"test_{number}", seed=20 + number)
    shell.truncate(raw / "imagesTs" / "test_1_0000.nii.gz")
    (raw / "organMasksTs" / "test_2" / "kidney_left.nii.gz").unlink()
    predict = ("predict", "-i", "imagesTs", "-o")
    assert shell(*predict, "serial", "-npp", 0, "-nps", 0) == 4
    assert shell(*predict, "threads", "-npp", threads[0], "-nps", threads[1]) == 4
    assert files_in(Path("serial")) == files_in(Path("threads"))
    assert outputs_of("test_0") | outputs_of("test_3") <= files_in(Path("threads"))
    for name in files_in(Path("serial")):
        assert (Path("serial") / name).read_bytes() == (Path("threads") / name).read_bytes()
    status = status_of(Path("threads"))
    assert [case for case, organ in status if not organ] == ["test_1", "test_2"]


@pytest.mark.parametrize("threads", [0, 1])
def test_a_full_disk_ends_the_run_and_it_can_be_continued(shell: Any, model: Plans, threads: int) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    arguments = ("predict", "-i", "imagesTs", "-o", "preds", "-npp", threads, "-nps", threads)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, limits[1]))  # enough for the documents, not for a map
    try:
        assert shell(*arguments) == 5
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "IO-WRITE" in shell.error()
    assert not [name for name in files_in(Path("preds")) if name.endswith((".nii.gz", "_boxes.json"))]
    assert shell(*arguments, "--continue_prediction") == 0
    assert set(status_of(Path("preds")).values()) == {"ok"}


@pytest.mark.parametrize("step", ["read_case", "find_patches", "predict_patches", "write_case"])
@pytest.mark.parametrize("threads", [0, 1])
def test_an_exception_that_nobody_foresaw_costs_its_case_alone(
    shell: Any, model: Plans, monkeypatch: pytest.MonkeyPatch, step: str, threads: int
) -> None:
    from nnanomaly.inference import case_work

    right, calls = getattr(case_work, step), []

    def divide(*arguments: Any, **settings: Any) -> Any:
        calls.append(1)
        return right(*arguments, **settings) if len(calls) > 1 else 1 / 0

    monkeypatch.setattr(case_work, step, divide)
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "-npp", threads, "-nps", threads) == 4
    assert status_of(Path("preds")) == {
        ("test_0", ""): "failed",
        **{("test_1", organ): "ok" for organ in ORGANS},
    }
    assert "[NNA-INTERNAL] ZeroDivisionError: division by zero (inference/case_work.py:" in Path(
        "preds/detections/status.csv"
    ).read_text(encoding="utf-8")
    assert outputs_of("test_0").isdisjoint(files_in(Path("preds")))
    monkeypatch.setattr(case_work, step, right)
    assert shell("predict", "-i", "imagesTs", "-o", "preds", "--continue_prediction") == 0


def test_the_number_of_threads_is_recorded_where_the_report_reads_it(shell: Any, model: Plans) -> None:
    import torch

    from nnanomaly.report.folder_facts import run_section

    assert shell("predict", "-i", "imagesTs", "-o", "preds") == 0
    (table,) = run_section(Path("preds")).tables
    assert ["num_threads", str(torch.get_num_threads())] in [list(row) for row in table.rows]


def test_a_prediction_that_was_stopped_is_called_unfinished_by_all_who_read_it(
    shell: Any, model: Plans, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    arguments = ("predict", "-i", "imagesTs", "-o", "preds", "-npp", 0, "-nps", 0)
    write, written = CaseWork.write, []

    def stop_after_one(self: CaseWork, predicted: Any) -> Any:
        if written:
            raise KeyboardInterrupt
        written.append(write(self, predicted))
        return written[-1]

    with monkeypatch.context() as stopped:
        stopped.setattr(CaseWork, "write", stop_after_one)
        assert shell(*arguments) == 130
    assert shell("report", "preds", "-o", "report") == 4
    assert "preds is unfinished: 1 of 2 cases (missing: test_1)" in caplog.text
    assert "is unfinished: 1 of 2 cases" in Path("report/index.html").read_text()
    Path("references").mkdir()
    for case in ("test_0", "test_1"):
        shutil.copy("preds/test_0.nii.gz", f"references/{case}.nii.gz")
    assert shell("evaluate_folder", "references", "preds", "-l", 1, "--allow_missing") == 4
    assert caplog.messages[-1].startswith("preds is unfinished: 1 of 2 cases")
    assert "1 of 2" in json.loads(Path("preds/detection_summary.json").read_text())["unfinished"]
    assert shell(*arguments, "--continue_prediction") == 0
    caplog.clear()
    assert shell("report", "preds", "-o", "report") == 0
    assert "unfinished" not in caplog.text + Path("report/index.html").read_text()
