"""The layout of the Medical Segmentation Decathlon: a task folder whose `dataset.json` lists images and label maps."""

import logging
import os
from pathlib import Path
from typing import TypedDict

from nnanomaly.dataset.raw_dataset import LABEL_PATTERN, check_case_id
from nnanomaly.dataset_conversion.labelled_cases import FILE_ENDING, LabelledCase, LabelScheme
from nnanomaly.paths import DATASET_JSON
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_document, shown
from nnanomaly.utilities.matching import partners, some_of

logger = logging.getLogger(__name__)


class TaskEntry(TypedDict):
    """One training case."""

    image: str
    """Its scan, relative to the folder of the task."""
    label: str
    """Its label map."""


class _Always(TypedDict):
    modality: dict[str, str]
    labels: dict[str, str]
    training: list[TaskEntry]


class TaskDocument(_Always, total=False):
    """What is read of the `dataset.json` of a task."""

    test: list[str]
    """Scans without label maps."""


def read_task(folder: Path) -> TaskDocument:
    """The description of a task; `DataError` (CONVERT-JSON) if it is none, or not one of CT with a single channel."""
    path = folder / DATASET_JSON
    if not path.is_file():
        raise DataError("CONVERT-FOLDER", f"{path} does not exist. Name the folder of a task, such as Task03_Liver.")
    try:
        document = read_document(path, TaskDocument, remedy="Is it a task of the Decathlon?")
    except DataError as error:
        raise DataError("CONVERT-JSON", error.message) from error
    values = list(document["labels"])
    if not all(value.isdecimal() and len(value) < 10 for value in values) or len(set(map(int, values))) < len(values):
        raise DataError("CONVERT-JSON", f"{path}: labels are {shown(values)}, must be whole numbers. Correct the file.")
    strange = [name for name in document["labels"].values() if not LABEL_PATTERN.fullmatch(name)]
    if strange:
        raise DataError("CONVERT-JSON", f"{path}: labels hold {shown(strange[0])}, not one line of text. Correct it.")
    if list(document["modality"].values()) != ["CT"]:
        modality = shown(document["modality"])
        raise DataError("CONVERT-JSON", f"{path}: the modality is {modality}, must be one channel of CT.")
    return document


def find_task_cases(folder: Path, document: TaskDocument) -> list[LabelledCase]:
    """Training cases, then test cases, as the description lists them; what lies beside them unlisted is named."""
    cases: list[LabelledCase] = []
    for entry in document["training"]:
        cases.append(_case(folder, "Tr", entry["image"], entry["label"]))
    cases += [_case(folder, "Ts", image, None) for image in document.get("test", [])]
    _name_unlisted(folder, document, cases)
    return cases


def _name_unlisted(folder: Path, document: TaskDocument, cases: list[LabelledCase]) -> None:
    """Warn of numbers of cases that are not those of the lists, and of scans and label maps in no list."""
    for key, part in (("numTraining", "Tr"), ("numTest", "Ts")):
        number, given = sum(case.part == part for case in cases), document.get(key)
        if given is not None and given != number:
            logger.warning("%s: %s is %s, but %d cases are listed", folder / DATASET_JSON, key, given, number)
    listed = {path for case in cases for path in (case.image, case.label_map) if path is not None}
    places = {path.parent for path in listed if path.parent != folder}
    present = [path for place in places for path in place.glob(f"*{FILE_ENDING}") if not path.name.startswith(".")]
    unlisted = partners(map(str, listed), map(str, present)).surplus
    if unlisted:
        logger.warning("%s lists %d files of its folders not: %s", DATASET_JSON, len(unlisted), some_of(unlisted))


def task_scheme(folder: Path, document: TaskDocument, organ: str, lesions: tuple[str, ...]) -> LabelScheme:
    """What the labels mean: one of them is the organ, the lesions (default: all others) belong to it."""
    labels = {str(name): int(value) for value, name in sorted(document["labels"].items())}
    foreground = [name for name in labels if labels[name] != 0]
    unknown = [name for name in (organ, *lesions) if name not in foreground]
    if unknown:
        raise ConfigurationError(
            "CFG-ORGANS", f"{folder.name} has no label {unknown[0]!r}, only {', '.join(foreground)}. Correct the flag."
        )
    chosen = lesions or tuple(name for name in foreground if name != organ)
    return LabelScheme(
        name=folder.resolve().name,
        labels={"background": 0, **{name: labels[name] for name in foreground}},
        organs=(organ,),
        organ_values=(labels[organ], *(labels[name] for name in chosen)),
        lesions=chosen,
    )


def _case(folder: Path, part: str, image: str, label: str | None) -> LabelledCase:
    path = _inside(folder, image)
    case = path.name.removesuffix(FILE_ENDING).removesuffix("_0000")
    check_case_id(case, folder / DATASET_JSON)
    return LabelledCase(case=case, part=part, image=path, label_map=None if label is None else _inside(folder, label))


def _inside(folder: Path, name: str) -> Path:
    """A file of the task, which may be a link; a name that leaves its folder is refused."""
    path = Path(os.path.normpath(folder / str(name)))
    fault = None
    if Path(os.path.normpath(folder)) not in path.parents:
        fault = "leaves the folder of the task"
    elif not path.name.endswith(FILE_ENDING):
        fault = f"does not end in {FILE_ENDING}"
    if fault:
        raise DataError("CONVERT-JSON", f"{folder / DATASET_JSON} names {name!r}, which {fault}. Correct the name.")
    return path
