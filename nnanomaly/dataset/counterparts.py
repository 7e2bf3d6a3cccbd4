"""What a dataset holds that belongs to nothing, and what lacks its counterpart: cases, drawings, masks, labels, folds.

Everything here is a remark, a code and a line: such a dataset works, but not with all that somebody put into it.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from nnanomaly.dataset.organ_labels import OrganLabels, repeated_rows
from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.dataset.splits import load_splits, split_remarks, validate_splits
from nnanomaly.imageio.reader_writer import without_ending
from nnanomaly.paths import (
    IMAGES_TR,
    IMAGES_TS,
    LABELS_TR,
    LABELS_TS,
    ORGAN_LABELS_CSV,
    ORGAN_MASKS_CSV,
    ORGAN_MASKS_TR,
    ORGAN_MASKS_TS,
    SPLITS_JSON,
)
from nnanomaly.utilities.matching import partners, some_of

Remark = tuple[str, str]
"""Code and message."""
_OF_IMAGES = {IMAGES_TR: (LABELS_TR, ORGAN_MASKS_TR), IMAGES_TS: (LABELS_TS, ORGAN_MASKS_TS)}
_CODED = re.compile(r"\[NNA-([A-Z-]+)\] (.*)", flags=re.DOTALL)


def counterpart_remarks(
    folder: Path, cases: Mapping[str, list[str]], labels: OrganLabels, description: DatasetDescription
) -> Iterator[Remark]:
    """Remarks about all but the folds; `cases`: those of `imagesTr` and, where it is checked, of `imagesTs`."""
    for images, of_part in cases.items():
        if not of_part:  # an error of its own
            continue
        drawn, masks = (folder / name for name in _OF_IMAGES[images])
        yield from _label_maps(drawn, of_part, description)
        yield from _masks(masks, of_part, description)
    both = sorted(set(cases.get(IMAGES_TR, ())) & set(cases.get(IMAGES_TS, ())))
    if both:
        yield "CASE-ID", f"{some_of(both)}: in {IMAGES_TR} and in {IMAGES_TS}, with one row for both in the labels"
    yield from _labels(folder / ORGAN_LABELS_CSV, cases[IMAGES_TR], labels, description)


def _label_maps(folder: Path, cases: list[str], description: DatasetDescription) -> Iterator[Remark]:
    expected = {f"{case}{description.file_ending}" for case in cases}
    for name in partners(expected, _names(folder)).surplus:
        case = without_ending(name)
        wrong = f"does not end in {description.file_ending}, so that it is not read" if case in cases else "has no case"
        yield "DATA-NAME", f"{folder / name} {wrong}"


def _masks(folder: Path, cases: list[str], description: DatasetDescription) -> Iterator[Remark]:
    """Folders and files of masks that no case or organ of the dataset looks for."""
    organs = "|".join(map(re.escape, (*description.organs, "left", "right")))
    for name in _names(folder):
        stem = without_ending(name)
        owner = re.fullmatch(rf"(.+?)_({organs})", stem)
        if name != ORGAN_MASKS_CSV and stem not in cases and (owner is None or owner[1] not in cases):
            yield "DATA-NAME", f"{folder / name} belongs to no case"


def _labels(table: Path, cases: list[str], labels: OrganLabels, description: DatasetDescription) -> Iterator[Remark]:
    for repeated in repeated_rows(table.parent) if labels else ():
        yield "LABELS-ROWS", f"{table}, {repeated}"
    labelled = {case for case, _ in labels}
    unlabelled = [case for case in cases if case not in labelled]
    if labels and unlabelled:
        yield "LABELS-MISSING", f"{table} has no row for {len(unlabelled)} cases: {some_of(unlabelled)}"
    organs = [f"{c} {o}" for c in cases if c in labelled for o in description.organs if (c, o) not in labels]
    if organs:
        yield "LABELS-MISSING", f"{table} has rows for some organs of a case only; without: {some_of(organs)}"


def fold_remarks(folder: Path, cases: list[str]) -> Iterator[Remark]:
    """Remarks about the folds that a dataset brings. Raises what reading them raises (JSON, SPLIT-*)."""
    path = folder / SPLITS_JSON
    if os.path.lexists(path):
        splits = load_splits(path)
        validate_splits(splits, cases, source=path)
        for remark in split_remarks(splits, cases, source=path):
            match = _CODED.fullmatch(remark)
            assert match is not None, remark
            yield match[1], match[2]


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    data = {name for name in names if name.endswith((".raw", ".zraw")) and f"{name.rpartition('.')[0]}.mhd" in names}
    return sorted(names - data)
