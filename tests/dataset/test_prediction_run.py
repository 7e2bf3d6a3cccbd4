"""A folder of predictions says whether it is the whole of what was asked for."""

import json
from pathlib import Path

import pytest

from nnanomaly.dataset.prediction_run import finish_run, start_run, unfinished


def predict(folder: Path, *cases: str) -> None:
    (folder / "detections").mkdir(exist_ok=True)
    for case in cases:
        (folder / "detections" / f"{case}_boxes.json").touch()


def test_nothing_is_claimed_of_a_folder_without_a_state(tmp_path: Path) -> None:
    predict(tmp_path, "a")
    assert unfinished(tmp_path) is None


def test_a_run_that_was_killed_is_unfinished_until_it_is_continued(tmp_path: Path) -> None:
    cases = ["a", "b", "c", "d"]
    start_run(tmp_path, cases, part=None, num_parts=1, resume=False)
    predict(tmp_path, "a")
    assert str(unfinished(tmp_path)).startswith(f"{tmp_path} is unfinished: 1 of 4 cases (missing: b, c, d).")
    assert "--continue_prediction" in str(unfinished(tmp_path))
    run = start_run(tmp_path, cases, part=None, num_parts=1, resume=True)
    predict(tmp_path, *cases)
    assert "4 of 4 cases" in str(unfinished(tmp_path))  # its end was not written
    finish_run(tmp_path, run, cases)
    assert unfinished(tmp_path) is None


def test_a_case_that_failed_is_no_reason_to_call_a_run_unfinished(tmp_path: Path) -> None:
    run = start_run(tmp_path, ["a", "b"], part=None, num_parts=1, resume=False)
    predict(tmp_path, "a")
    finish_run(tmp_path, run, ["a", "b"])
    assert unfinished(tmp_path) is None


def test_going_on_with_other_images_does_not_hide_what_the_first_run_left(tmp_path: Path) -> None:
    start_run(tmp_path, ["a", "b", "c"], part=None, num_parts=1, resume=False)
    predict(tmp_path, "a")
    run = start_run(tmp_path, ["x"], part=None, num_parts=1, resume=True)
    predict(tmp_path, "x")
    finish_run(tmp_path, run, ["x"])
    assert "1 of 3 cases (missing: b, c)" in str(unfinished(tmp_path))
    start_run(tmp_path, ["x"], part=None, num_parts=1, resume=False)
    assert json.loads((tmp_path / "detections" / "run.json").read_text())["cases"] == ["x"]


def test_every_part_has_its_state_and_one_that_never_ran_is_missed(tmp_path: Path) -> None:
    for part, cases in ((0, ["a", "c"]), (2, ["e"])):
        run = start_run(tmp_path, cases, part=part, num_parts=3, resume=False)
        predict(tmp_path, *cases)
        finish_run(tmp_path, run, cases)
    assert unfinished(tmp_path) == f"{tmp_path} lacks 1 of 3 parts, such as -part_id 1"
    start_run(tmp_path, ["b", "d"], part=1, num_parts=3, resume=False)
    predict(tmp_path, "b")
    assert "4 of 5 cases (missing: d)" in str(unfinished(tmp_path))


@pytest.mark.parametrize(("part", "num_parts"), [(None, 1), (0, 2)])
def test_states_of_another_number_of_parts_are_forgotten(tmp_path: Path, part: int | None, num_parts: int) -> None:
    for old in range(3):
        start_run(tmp_path, ["a"], part=old, num_parts=3, resume=False)
    start_run(tmp_path, ["a"], part=part, num_parts=num_parts, resume=False)
    assert [path.name for path in (tmp_path / "detections").iterdir()] == [
        "run.json" if part is None else "run_part0.json"
    ]
