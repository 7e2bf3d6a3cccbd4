"""A task of nnDetection as a raw dataset: the same images, the same cases, the same folds.

The labels are either the instances (class + 1, stuff classes after them) or, where the user wants it, the semantic
masks that the task was made from (`{case}_orig.nii.gz`), unchanged; never a mixture. The whole description is kept in
`dataset.json`, so that the way back gives the same task.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cc3d
import numpy as np
from numpy.typing import NDArray

from nnanomaly.baselines.nndetection_splits import find_splits, read_splits
from nnanomaly.baselines.nndetection_task import (
    FILE_ENDING,
    PARTS,
    Task,
    check_dotless,
    load_task,
    read_instances,
    task_cases,
)
from nnanomaly.dataset.new_dataset import free_dataset_folder, new_folder
from nnanomaly.dataset.splits import Split, make_splits, save_splits, split_remarks, validate_splits
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.paths import DATASET_JSON, SPLITS_JSON
from nnanomaly.reordering import require_on_grid
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.files import link_or_copy, refuse_within
from nnanomaly.utilities.json_io import write_json
from nnanomaly.utilities.matching import one_a_line, partners, refuse_same_names, some_of

LabelSource = Literal["instances", "original"]
PROVENANCE = "nndetection"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """What the user may choose."""

    labels: LabelSource = "instances"
    """Which masks become the labels."""
    organs: tuple[str, ...] = ()
    """Organs to look at, if known already; planning needs them."""
    number: int | None = None
    """Number of the dataset (default: that of the task)."""
    num_processes: int = 1
    """Worker processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One label image to convert."""

    part: str
    """"Tr" or "Ts"."""
    case: str
    """Case id."""
    target: Path
    """Where the label map goes."""


def import_task(
    task_folder: Path,
    raw_root: Path,
    *,
    model_folders: Sequence[Path] = (),
    options: ImportOptions | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the task as a raw dataset and return its folder; nothing is left behind where it fails.

    Raises `ConfigurationError` (CFG-OUTPUT: the dataset exists) and `DataError`: TASK-*, DATA-CHANNEL, SPLIT-*, and
    what reading the labels raises.
    """
    options = options or ImportOptions()
    task = load_task(task_folder)
    number = task.number if options.number is None else options.number
    target = free_dataset_folder(raw_root, number, task.dataset_name)
    refuse_within(target, task_folder)
    cases = {part: task_cases(task, part) for part in PARTS}
    _check_cases(task, cases)
    splits, source, test = _splits(task, cases["Tr"], model_folders)
    with new_folder(target) as work:
        for part in PARTS:
            for case in cases[part]:
                for path in task.image_files(part, case):
                    link_or_copy(path, work / f"images{part}" / path.name)
        _write_labels(task, cases, work, options=options, progress=progress)
        save_splits(work / SPLITS_JSON, splits)
        write_json(work / DATASET_JSON, _description(task, cases, options, source=source, test=test))
    return target


def _check_cases(task: Task, cases: dict[str, list[str]]) -> None:
    if not cases["Tr"]:
        raise DataError("TASK-CASES", f"{task.labels('Tr')} has no {{case}}.json. Is it a task of nnDetection?")
    refuse_same_names(
        [(case, str(task.labels(part) / f"{case}.json")) for part in PARTS for case in cases[part]],
        code="TASK-CASES",
        place=task.folder,
        remedy="Keep each once.",
    )
    for part in PARTS:
        names = [path.name.removesuffix(FILE_ENDING) for path in task.images(part).glob(f"*{FILE_ENDING}")]
        surplus = partners(cases[part], {name.rpartition("_")[0] for name in names}).surplus
        if surplus:
            logger.warning(
                "%s: images without {case}.json in %s are left out: %s",
                task.images(part),
                task.labels(part),
                some_of(surplus),
            )


def _splits(task: Task, cases: list[str], model_folders: Sequence[Path]) -> tuple[list[Split], Path | None, list[str]]:
    """The folds of the task, the file they come from, and what the first fold keeps for a test."""
    source = find_splits(task.folder, model_folders)
    if source is None:
        return make_splits(cases), None, []
    splits, test = read_splits(source)
    for case in {case for split in splits for side in split.values() for case in side}:
        check_dotless(case, source)
    validate_splits(splits, cases, source=source)
    for remark in split_remarks(splits, set(cases) - set(test), source=source):
        logger.warning("%s", remark)
    if test:
        logger.warning("%s keeps %d cases for a test; they stay in imagesTr, in no fold", source, len(test))
    return splits, source, test


def _write_labels(
    task: Task, cases: dict[str, list[str]], work: Path, *, options: ImportOptions, progress: Progress | None
) -> None:
    items = [
        _Case(part=part, case=case, target=work / f"labels{part}" / f"{case}{FILE_ENDING}")
        for part in PARTS
        for case in cases[part]
    ]
    convert = functools.partial(_convert, task=task, source=options.labels)
    outcomes = run_cases(convert, items, num_processes=options.num_processes, progress=progress)
    faults = [
        f"{item.case}: {outcome.reason}"
        for item, outcome in zip(items, outcomes, strict=True)
        if isinstance(outcome, CaseFault)
    ]
    if faults:
        raise DataError(
            "TASK-LABELS", f"{len(faults)} of {len(items)} label images cannot be used.{one_a_line(faults)}"
        )


def _convert(item: _Case, *, task: Task, source: LabelSource) -> None:
    """Write one label map."""
    if source == "original":
        link_or_copy(task.labels(item.part) / f"{item.case}_orig{FILE_ENDING}", item.target)
        return
    image = task.labels(item.part) / f"{item.case}{FILE_ENDING}"
    reader_writer_for(item.target).write_like(item.target, semantic_labels(task, item.part, item.case), image)


def semantic_labels(task: Task, part: str, case: str) -> NDArray[np.uint8]:
    """Label map `[Z, Y, X]` of a case: class + 1 for instances, then the stuff classes. Raises as `read_instances`."""
    volume, classes = read_instances(task, part, case)
    lookup = np.zeros(max(classes, default=0) + 1, dtype=np.uint8)
    for instance, number in classes.items():
        lookup[instance] = number + 1
    labels = lookup[volume.array[0]]
    _warn_of_merging(labels, classes, case)
    stuff = task.labels(part) / f"{case}_stuff{FILE_ENDING}"
    if task.stuff and stuff.is_file():
        drawn = reader_writer_for(stuff).read_labels(stuff)
        image = task.labels(part) / f"{case}{FILE_ENDING}"
        values = require_on_grid(drawn, stuff, grid=volume.grid, image=image).array[0]
        background = labels == 0
        labels[background & (values > 0)] = values[background & (values > 0)] + len(task.classes)
    return labels


def _warn_of_merging(labels: NDArray[np.uint8], classes: dict[int, int], case: str) -> None:
    for number in set(classes.values()):
        _, components = cc3d.connected_components(labels == number + 1, connectivity=26, return_N=True)
        instances = sum(value == number for value in classes.values())
        if components != instances:
            logger.warning("%s: %d instances of class %d become %d components", case, instances, number, components)


def _description(
    task: Task, cases: dict[str, list[str]], options: ImportOptions, *, source: Path | None, test: list[str]
) -> dict[str, Any]:
    """Content of `dataset.json`: nnU-Net's keys, ours, and where all came from."""
    if options.labels == "original":
        labels = _original_values(task)
    else:
        labels = {name: value for value, name in enumerate((*task.classes, *task.stuff), start=1)}
    ours: dict[str, Any] = {"lesion_labels": list(task.classes)}
    if options.organs:
        ours["organs"] = list(options.organs)
    return {
        "channel_names": {str(number): name for number, name in enumerate(task.modalities)},
        "labels": {"background": 0, **labels},
        "numTraining": len(cases["Tr"]),
        "file_ending": FILE_ENDING,
        "nnanomaly": ours,
        PROVENANCE: {
            "task": task.folder.name,
            "labels": options.labels,
            "splits": "default" if source is None else "/".join(source.parts[-2:]),
            "test_split": test,
            "description": task.document,
        },
    }


def _original_values(task: Task) -> dict[str, int]:
    """Values of the classes in the semantic masks the task was made from."""
    things, stuff = (task.document.get(key) or [] for key in ("seg2det_things", "seg2det_stuff"))
    if len(things) != len(task.classes) or len(stuff) != len(task.stuff):
        raise DataError(
            "TASK-JSON",
            f"{task.folder}: seg2det_things {things} and seg2det_stuff {stuff} do not tell the values of "
            f"{[*task.classes, *task.stuff]} in the original masks. Import the instances.",
        )
    return {name: int(value) for name, value in zip((*task.classes, *task.stuff), (*things, *stuff), strict=True)}
