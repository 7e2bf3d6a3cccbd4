"""Tasks of nnDetection: found, read, and refused where something is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.baselines.nndetection_task import find_task, load_task, read_instances, task_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError


def test_a_task_is_found_by_name_number_part_of_its_name_and_path(tmp_path: Path) -> None:
    for name in ("Task019FG_ADAM", "Task501_Kidney", "Task502_KidneyBig"):
        (tmp_path / name).mkdir()
    found = {key: find_task(tmp_path, key).name for key in ("Task501_Kidney", "19", "501", "Big", "ADAM")}
    assert found == {
        "Task501_Kidney": "Task501_Kidney",
        "19": "Task019FG_ADAM",
        "501": "Task501_Kidney",
        "Big": "Task502_KidneyBig",
        "ADAM": "Task019FG_ADAM",
    }
    assert find_task(tmp_path, str(tmp_path / "Task501_Kidney")) == (tmp_path / "Task501_Kidney").resolve()
    for several_or_none in ("Kidney", "7"):
        with pytest.raises(ConfigurationError, match=r"CFG-TASK.*Task501_Kidney, Task502_KidneyBig"):
            find_task(tmp_path, several_or_none)


@pytest.mark.parametrize("name", ["dataset.yaml", "dataset.yml", "dataset.json"])
def test_the_description_may_be_yaml_or_json(name: str, task_folder: Callable[..., Path]) -> None:
    folder = task_folder()
    text = (folder / "dataset.json").read_text()  # JSON is YAML
    (folder / "dataset.json").unlink()
    (folder / name).write_text(text)
    task = load_task(folder)
    assert (task.classes, task.stuff, task.modalities) == (("tumor", "cyst"), ("kidney",), ("CT",))
    assert (task.number, task.dataset_name) == (501, "Kidney")


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("labels: [", "no valid YAML"),
        ("!!python/object/apply:os.system ['true']", "no valid YAML"),
        ("- 1", "holds list"),
        ('labels: {"1": tumor}\nmodalities: {"0": CT}', "labels is"),
        ('labels: {"0": tumor}', "modalities is None"),
        ('dim: 2\nlabels: {"0": tumor}\nmodalities: {"0": CT}', "dim is 2"),
    ],
)
def test_a_wrong_description_is_named(text: str, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(DataError, match=rf"TASK-JSON.*{fragment}"):
        load_task(tmp_path)


def test_cases_are_listed_from_the_json_files_alone(task_folder: Callable[..., Path]) -> None:
    task = load_task(task_folder())
    assert len(list(task.labels("Tr").glob("*.nii.gz"))) == 15
    assert task_cases(task, "Tr") == ["a0", "a1", "a2", "a3", "a4"]
    assert task_cases(task, "Ts") == ["t0"]


def test_an_id_with_a_dot_is_refused(task_folder: Callable[..., Path]) -> None:
    task = load_task(task_folder())
    (task.labels("Tr") / "a.0.json").write_text('{"instances": {}}')
    with pytest.raises(DataError, match=r"TASK-ID.*'a\.0' has a dot"):
        task_cases(task, "Tr")


def test_instances_have_their_classes(task_folder: Callable[..., Path]) -> None:
    volume, classes = read_instances(load_task(task_folder()), "Tr", "a0")
    assert classes == {1: 0, 2: 1}
    assert np.unique(volume.array).tolist() == [0, 1, 2]


@pytest.mark.parametrize("instances", [{"1": 0}, {"1": 0, "2": 1, "3": 0}, {"1": 0, "2": 7}, {"x": 0}, [1], {"1": "0"}])
def test_image_and_json_must_agree(instances: object, task_folder: Callable[..., Path]) -> None:
    task = load_task(task_folder())
    (task.labels("Tr") / "a0.json").write_text(json.dumps({"instances": instances}))
    with pytest.raises(DataError, match=r"TASK-INSTANCES.*a0"):
        read_instances(task, "Tr", "a0")
