"""The layout of the Medical Segmentation Decathlon: a task folder whose `dataset.json` lists images and label maps."""

from pathlib import Path
from typing import TypedDict

from nnanomaly.dataset.raw_dataset import LABEL_PATTERN, check_case_id
from nnanomaly.dataset_conversion.labelled_cases import FILE_ENDING, LabelledCase, LabelScheme
from nnanomaly.paths import DATASET_JSON
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import read_document, shown


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
    """Training cases, then test cases, as the description lists them."""
    cases = []
    for entry in document["training"]:
        cases.append(_case(folder, "Tr", entry["image"], entry["label"]))
    return cases + [_case(folder, "Ts", image, None) for image in document.get("test", [])]


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
    """A file of the task; a name that leaves its folder is refused."""
    path = folder / str(name)
    if not path.resolve().is_relative_to(folder.resolve()) or not path.name.endswith(FILE_ENDING):
        raise DataError(
            "CONVERT-JSON", f"{folder / DATASET_JSON} names {name!r}, which is no {FILE_ENDING} of the task."
        )
    return path
