"""A task of nnDetection: its folder, its description, its cases and their instances.

A task is a folder `Task{number}{suffix}_{Name}` with `dataset.yaml|yml|json` and `raw_splitted/{images,labels}{Tr,Ts}`.
Cases are listed from the JSON files beside the label images: other masks lie beside them too. In the description
classes count from 0 and the background is not listed; "stuff" classes count from 1.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from nnanomaly.dataset.raw_dataset import check_case_id
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import parse_json, read_json, shown
from nnanomaly.volume import Volume

TASK_PATTERN = re.compile(r"Task(\d+)([A-Za-z0-9]*)_(.+)")
RAW_SPLITTED, TASK_PREPROCESSED = "raw_splitted", "preprocessed"
DESCRIPTIONS = ("dataset.yaml", "dataset.yml", "dataset.json")
FILE_ENDING = ".nii.gz"
PARTS = ("Tr", "Ts")
LISTS_OF_LABELS = ("seg2det_things", "seg2det_stuff")
MAX_YAML_CHARACTERS = 2**18
"""Longest description in YAML that is read."""
INSTANCE = re.compile(r"[0-9]{1,9}")
"""Names of instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a task says of itself."""

    folder: Path
    """Its folder in `det_data`."""
    document: dict[str, Any]
    """The whole description."""
    classes: tuple[str, ...]
    """Names of the classes 0, 1 ..."""
    stuff: tuple[str, ...]
    """Names of the stuff classes 1, 2 ..."""
    modalities: tuple[str, ...]
    """Names of the channels."""

    @property
    def number(self) -> int:
        """The number in its name."""
        return int(_match(self.folder.name)[1])

    @property
    def dataset_name(self) -> str:
        """Its name without "Task" and number."""
        _, suffix, name = _match(self.folder.name).groups()
        return f"{suffix}_{name}" if suffix else str(name)

    def images(self, part: str) -> Path:
        """Folder of the images of "Tr" or "Ts"."""
        return self.folder / RAW_SPLITTED / f"images{part}"

    def labels(self, part: str) -> Path:
        """Folder of the labels of "Tr" or "Ts"."""
        return self.folder / RAW_SPLITTED / f"labels{part}"

    def image_files(self, part: str, case: str) -> list[Path]:
        """Image files of a case; a missing one raises `DataError` (DATA-CHANNEL)."""
        files = [self.images(part) / f"{case}_{channel:04d}{FILE_ENDING}" for channel in range(len(self.modalities))]
        for path in files:
            if not path.is_file():
                raise DataError("DATA-CHANNEL", f"{case}: {path} does not exist. Add it, or remove the case.")
        return files


def find_task(root: Path, identifier: str) -> Path:
    """Folder of the task with that name, number or part of a name (if only one has it), or of that path.

    Raises `ConfigurationError` (CFG-TASK) if there is none or there are several.
    """
    if Path(identifier).is_dir() and TASK_PATTERN.fullmatch(Path(identifier).resolve().name):
        return Path(identifier).resolve()
    tasks = sorted(path for path in root.iterdir() if path.is_dir() and TASK_PATTERN.fullmatch(path.name))
    number = int(identifier) if identifier.isdecimal() else None
    for chosen in (
        [path for path in tasks if path.name == identifier],
        [path for path in tasks if int(_match(path.name)[1]) == number],
        [path for path in tasks if identifier in path.name],
    ):
        if len(chosen) == 1:
            return chosen[0]
    names = ", ".join(path.name for path in tasks) or "none"
    raise ConfigurationError("CFG-TASK", f"{identifier!r} is not the name or number of one task in {root}: {names}")


def load_task(folder: Path) -> Task:
    """Read the description of a task; what is missing or wrong raises `DataError` (TASK-JSON)."""
    path = next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), folder / DESCRIPTIONS[-1])
    if path.suffix == ".json" or not path.is_file():
        document = read_json(path)
    else:
        try:
            document = _read_yaml(path)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            text = " ".join(str(error).split())
            raise DataError("TASK-JSON", f"{path} is no valid YAML document: {text}. Correct the file.") from error
    if not isinstance(document, dict):
        raise DataError("TASK-JSON", f"{path} holds {type(document).__name__}, must be an object. Correct the file.")
    for key in LISTS_OF_LABELS:
        if not isinstance(document.get(key) or [], list) or any(type(v) is not int for v in document.get(key) or []):
            raise DataError("TASK-JSON", f"{path}: {key} is {shown(document[key])}, must be a list of labels.")
    if document.get("dim", 3) != 3:
        raise DataError("TASK-JSON", f"{path}: dim is {shown(document['dim'])}, only tasks of 3 dimensions are read.")
    return Task(
        folder=folder,
        document=document,
        classes=_names(document, "labels", path, first=0),
        stuff=_names(document, "labels_stuff", path, first=1) if document.get("labels_stuff") else (),
        modalities=_names(document, "modalities", path, first=0),
    )


def _read_yaml(path: Path) -> Any:
    """A description in YAML, as plain as one in JSON: `ValueError` for aliases, other types and endless depth."""
    text = path.read_text(encoding="utf-8")
    if len(text) > MAX_YAML_CHARACTERS:
        raise ValueError(f"{len(text)} characters, at most {MAX_YAML_CHARACTERS} are read")
    if any(isinstance(event, yaml.events.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
        raise ValueError("aliases are not read, since a few lines of them stand for any number of values")
    document = _with_text_keys(yaml.safe_load(text))
    return parse_json(json.dumps(document, default=str).encode())


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, list) else value


def task_cases(task: Task, part: str) -> list[str]:
    """Ids of the cases of "Tr" or "Ts", sorted; an id with a dot, where nnDetection cuts it, raises `DataError`."""
    folder = task.labels(part)
    names = [path.name.removesuffix(".json") for path in folder.glob("*.json")] if folder.is_dir() else []
    for name in names:
        check_dotless(name, folder)
    return sorted(names)


def check_dotless(case: str, source: Path) -> None:
    """Refuse a case id that nnDetection cannot handle: `DataError` TASK-ID or CASE-ID."""
    if "." in case:
        raise DataError(
            "TASK-ID", f"{source}: the case id {case!r} has a dot, where nnDetection would cut it. Rename it."
        )
    check_case_id(case, source)


def read_instances(task: Task, part: str, case: str) -> tuple[Volume, dict[int, int]]:
    """Label image with instances 1 ... N, and their classes.

    Raises what the reader raises, and `DataError` (TASK-INSTANCES) if image and JSON name different instances or
    classes that the description lacks.
    """
    image, listing = task.labels(part) / f"{case}{FILE_ENDING}", task.labels(part) / f"{case}.json"
    volume, document = reader_writer_for(image).read_labels(image), read_json(listing)
    instances = document.get("instances") if isinstance(document, dict) else None
    sound = isinstance(instances, dict) and all(
        INSTANCE.fullmatch(key) and type(value) is int and 0 <= value < len(task.classes)
        for key, value in instances.items()
    )
    if not sound:
        raise DataError(
            "TASK-INSTANCES", f'{listing} must hold {{"instances": {{"1": class}}}} with classes of {task.classes}.'
        )
    classes = {int(key): value for key, value in (instances or {}).items()}
    present = set(np.unique(volume.array).tolist()) - {0}
    if present != set(classes):
        raise DataError(
            "TASK-INSTANCES",
            f"{image} has the instances {sorted(present)}, {listing.name} {sorted(classes)}. Mend one.",
        )
    return volume, classes


def _names(document: dict[str, Any], key: str, path: Path, *, first: int) -> tuple[str, ...]:
    """The names of `{"0": name, ...}` in the order of the numbers, which must be contiguous."""
    given = document.get(key)
    entries = {str(number): name for number, name in given.items()} if isinstance(given, dict) else {}
    wanted = [str(number) for number in range(first, first + len(entries))]
    named = all(isinstance(name, (str, int, float)) for name in entries.values())
    if not entries or sorted(entries) != sorted(wanted) or not named:
        raise DataError(
            "TASK-JSON", f'{path}: {key} is {shown(given)}, must be {{"{first}": name, ...}}. Correct the file.'
        )
    return tuple(str(entries[number]) for number in wanted)


def _match(name: str) -> re.Match[str]:
    match = TASK_PATTERN.fullmatch(name)
    assert match is not None, name
    return match
