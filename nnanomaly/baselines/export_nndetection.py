"""A raw dataset as a task of nnDetection, and mask predictions as its box predictions: `nndet_eval` runs on ours.

Instances are made by the rule of nnDetection's own converter: 26-connected components class by class, those not longer
than `min_size` in both finer axes dropped, numbered on in the order of their first voxels. Beside them lie the original
masks, the organs as "stuff", the folds as a pickle and the boxes that its evaluation reads, so that no preparation of
nnDetection has to run first.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from nnanomaly.baselines.import_nndetection import PROVENANCE
from nnanomaly.baselines.nndetection_boxes import to_nndetection_order
from nnanomaly.baselines.nndetection_splits import SPLITS_PKL, write_splits
from nnanomaly.baselines.nndetection_task import (
    FILE_ENDING,
    PARTS,
    RAW_SPLITTED,
    TASK_PATTERN,
    TASK_PREPROCESSED,
    check_dotless,
)
from nnanomaly.dataset.new_dataset import new_folder
from nnanomaly.dataset.nnunet_labels import IGNORE, foreground
from nnanomaly.dataset.raw_dataset import find_cases
from nnanomaly.dataset.splits import Split
from nnanomaly.evaluation.boxes import boxes_of
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.paths import DATASET_JSON, DATASET_PATTERN
from nnanomaly.roi.components import Component, find_components
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import link_or_copy, refuse_within, write_atomically
from nnanomaly.utilities.json_io import read_document, shown, write_json
from nnanomaly.utilities.matching import one_a_line, refuse_same_names
from nnanomaly.volume import Volume

logger = logging.getLogger(__name__)
Classes = tuple[tuple[str, tuple[int, ...]], ...]
"""Name and label values of each class, in the order of the classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRule:
    """What becomes an instance."""

    classes: Classes
    """Classes, from 0."""
    stuff: Classes
    """Stuff classes, from 1."""
    min_size_mm: float
    """Instances are dropped unless longer than this in both axes that are not the coarsest."""
    min_voxels: int
    """Instances with that many voxels or fewer are dropped."""


class TaskDescription(TypedDict, total=False):
    """What is read of the description of the task that a dataset once was; the rest goes back as it came."""

    labels: dict[str, str]
    """Names of the classes."""
    min_size: float | None
    """Smallest size of an instance in mm."""
    min_vol: int | None
    """Smallest number of its voxels."""


class Origin(TypedDict, total=False):
    """The task that a dataset once was."""

    task: str | None
    """Name of its folder."""
    description: TaskDescription | None
    """Its description."""


class _Always(TypedDict):
    labels: dict[str, int | list[int]]
    channel_names: dict[str, str]


class RawDocument(_Always, total=False):
    """What is read of the `dataset.json` of a raw dataset."""

    nndetection: Origin | None
    """Where it came from."""


def read_raw_document(raw_folder: Path) -> RawDocument:
    """`dataset.json` of a raw dataset. Raises `DataError` (JSON), also for what cannot be the name of a task."""
    path = raw_folder / DATASET_JSON
    document = read_document(path, RawDocument, remedy="Correct the file.")
    name = (document.get("nndetection") or {}).get("task")
    if name and (not TASK_PATTERN.fullmatch(name) or Path(name).name != name):
        raise DataError("JSON", f"{path}: {PROVENANCE}: task is {shown(name)}, must be like Task001_Name. Correct it.")
    return document


def export_rule(document: RawDocument, lesion_values: Sequence[int], *, min_size_mm: float | None) -> ExportRule:
    """The rule for a dataset, from its `dataset.json`.

    A dataset that was a task gets its classes back; else all lesion labels are one class "lesion", as the
    evaluation has it, and the other labels are stuff.
    """
    labels = {name: tuple(np.atleast_1d(value).tolist()) for name, value in document["labels"].items()}
    origin = document.get("nndetection") or {}
    was = origin.get("description") or {}
    given = was.get("min_size") or 0.0 if min_size_mm is None else min_size_mm
    names = list(was.get("labels", {}).values())
    unknown = [name for name in names if name not in labels]
    if unknown:
        raise DataError(
            "JSON", f"{DATASET_JSON}: {PROVENANCE} has the class {shown(unknown[0])}, labels do not. Mend it."
        )
    classes = tuple((name, labels[name]) for name in names) or (("lesion", tuple(lesion_values)),)
    used = {value for _, values in classes for value in values}
    stuff = tuple((name, values) for name, values in foreground(labels).items() if not used & set(values))
    if IGNORE in labels:
        logger.warning("nnDetection has no label %r: what nobody looked at counts as background there", IGNORE)
    return ExportRule(classes=classes, stuff=stuff, min_size_mm=float(given), min_voxels=int(was.get("min_vol") or 0))


def export_dataset(
    raw_folder: Path,
    data_root: Path,
    *,
    rule: ExportRule,
    splits: Sequence[Split],
    num_processes: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Write the dataset as a task and return its folder; nothing is left behind where it fails.

    Raises `ConfigurationError` (CFG-OUTPUT: the task exists) and `DataError`: TASK-ID (a dot in a case id),
    TASK-CASES (a case in training and test, or without labels), TASK-LABELS (a label map that cannot be used).
    """
    document = read_raw_document(raw_folder)
    target = data_root / task_name(raw_folder.name, document)
    if target.exists():
        raise ConfigurationError("CFG-OUTPUT", f"{target} exists already. Delete it or move it away.")
    refuse_within(target, raw_folder)
    cases = {part: _cases(raw_folder, part) for part in PARTS}
    refuse_same_names(
        [(case, str(raw_folder / f"images{part}")) for part in PARTS for case in cases[part]],
        code="TASK-CASES",
        place=raw_folder,
        remedy="Keep each once.",
    )
    items = [(part, case) for part in PARTS for case in cases[part]]
    with new_folder(target) as work:
        export = functools.partial(_export_case, raw_folder=raw_folder, work=work, rule=rule)
        outcomes = run_cases(export, items, num_processes=num_processes, progress=progress)
        faults = [
            f"{case}: {outcome.reason}"
            for (_, case), outcome in zip(items, outcomes, strict=True)
            if isinstance(outcome, CaseFault)
        ]
        if faults:
            raise DataError("TASK-LABELS", f"{len(faults)} of {len(items)} cases cannot be used.{one_a_line(faults)}")
        write_splits(work / TASK_PREPROCESSED / SPLITS_PKL, splits)
        write_json(work / DATASET_JSON, _description(target.name, document, rule, has_test=bool(cases["Ts"])))
    return target


def find_instances(labels: NDArray[np.integer], spacing_mm: Sequence[float], rule: ExportRule) -> list[list[Component]]:
    """Instances of each class in a label map `[Z, Y, X]`, in the order of their first voxels."""
    fine = sorted(range(3), key=lambda axis: spacing_mm[axis])[:2]

    def large(component: Component) -> bool:
        sides_mm = [(component.box.shape[axis] + 1) * spacing_mm[axis] for axis in fine]
        return min(sides_mm) > rule.min_size_mm and component.num_voxels > rule.min_voxels

    return [
        [component for component in find_components(np.isin(labels, values)) if large(component)]
        for _, values in rule.classes
    ]


def boxes_gt(instances: Sequence[Sequence[Component]]) -> dict[str, NDArray[np.generic]]:
    """Boxes and classes as nnDetection's label preparation stores them; none are float arrays of (1, 0) and (0,)."""
    components = [component for of_class in instances for component in of_class]
    if not components:
        return {"boxes": np.zeros((1, 0)), "classes": np.zeros(0)}
    classes = [number for number, of_class in enumerate(instances) for _ in of_class]
    boxes = to_nndetection_order(boxes_of(components)).astype(np.int64)
    return {"boxes": boxes, "classes": np.array(classes, dtype=np.int64)}


def _export_case(item: tuple[str, str], *, raw_folder: Path, work: Path, rule: ExportRule) -> None:
    """Write images, instances, original mask, stuff and boxes of a case."""
    part, case = item
    labels = work / RAW_SPLITTED / f"labels{part}"
    for image in sorted((raw_folder / f"images{part}").glob(f"{case}_[0-9][0-9][0-9][0-9]{FILE_ENDING}")):
        link_or_copy(image, work / RAW_SPLITTED / f"images{part}" / image.name)
    source = raw_folder / f"labels{part}" / f"{case}{FILE_ENDING}"
    volume = reader_writer_for(source).read_labels(source)
    instances = find_instances(volume.array[0], volume.grid.spacing_mm, rule)
    image_of_instances, classes = _number(volume, instances)
    write = reader_writer_for(source).write_like
    write(labels / f"{case}{FILE_ENDING}", image_of_instances, source)
    write_json(labels / f"{case}.json", {"instances": classes})
    link_or_copy(source, labels / f"{case}_orig{FILE_ENDING}")
    if rule.stuff:
        stuff = np.zeros(volume.grid.shape, dtype=np.uint8)
        for number, (_, values) in enumerate(rule.stuff, start=1):
            stuff[np.isin(volume.array[0], values)] = number
        write(labels / f"{case}_stuff{FILE_ENDING}", stuff, source)
    arrays = boxes_gt(instances)
    write_atomically(
        work / TASK_PREPROCESSED / f"labels{part}" / f"{case}_boxes_gt.npz",
        lambda path: np.savez_compressed(path, boxes=arrays["boxes"], classes=arrays["classes"]),
    )


def _number(volume: Volume, instances: Sequence[Sequence[Component]]) -> tuple[NDArray[np.generic], dict[str, int]]:
    """Image of instances 1 ... N `[Z, Y, X]`, and their classes."""
    count = sum(len(of_class) for of_class in instances)
    image = np.zeros(volume.grid.shape, dtype=np.uint8 if count < 256 else np.uint16)
    classes: dict[str, int] = {}
    for number, of_class in enumerate(instances):
        for component in of_class:
            classes[str(len(classes) + 1)] = number
            image[component.box.slices][component.mask] = len(classes)
    return image, classes


def _cases(raw_folder: Path, part: str) -> list[str]:
    """Cases of a part; without a label map they are refused, but a test set without any is left out."""
    images, labels = raw_folder / f"images{part}", raw_folder / f"labels{part}"
    cases = find_cases(images, FILE_ENDING)
    for case in cases:
        check_dotless(case, images)
    missing = [case for case in cases if not (labels / f"{case}{FILE_ENDING}").is_file()]
    if missing and (part == "Tr" or len(missing) < len(cases)):
        raise DataError("TASK-CASES", f"{labels} lacks the label maps of {', '.join(missing)}. nnDetection needs all.")
    return [] if missing else cases


def task_name(dataset: str, document: RawDocument) -> str:
    """Name of the task of a dataset: the one it once had, else one of the same number."""
    origin = document.get("nndetection") or {}
    match = DATASET_PATTERN.match(dataset)
    assert match is not None, dataset
    return str(origin.get("task") or f"Task{match[1]}_{match[2]}")


def _description(name: str, document: RawDocument, rule: ExportRule, *, has_test: bool) -> dict[str, Any]:
    """Content of the task's `dataset.json`: that of the task it once was, or one made from the dataset's."""
    origin = document.get("nndetection") or {}
    description = origin.get("description")
    if description:
        return dict(description)
    return {
        "task": name,
        "name": name.partition("_")[2],
        "dim": 3,
        "target_class": None,
        "test_labels": has_test,
        "labels": {str(number): class_name for number, (class_name, _) in enumerate(rule.classes)},
        "labels_stuff": {str(number): stuff for number, (stuff, _) in enumerate(rule.stuff, start=1)},
        "seg2det_things": [value for _, values in rule.classes for value in values],
        "seg2det_stuff": [value for _, values in rule.stuff for value in values],
        "min_size": rule.min_size_mm,
        "modalities": document["channel_names"],
    }
