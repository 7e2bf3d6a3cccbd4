"""A raw dataset from a table of paths, for scans that lie anywhere.

Columns: `case` and `image`; and where they are known `split` (train or test), `patient`, `label_map` (drawn lesions),
`organ_masks` (a folder of structures, or one label map), `mask_{organ}` (a file), `label_{organ}` (healthy, ...). Paths
are relative to the table. Files become the same files under other names; the organs follow from the columns.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnanomaly.dataset.new_dataset import LabelRow, new_folder, write_organ_labels
from nnanomaly.dataset.organ_labels import LABELS
from nnanomaly.dataset.raw_dataset import CASE_PATTERN
from nnanomaly.imageio.reader_writer import READER_WRITERS
from nnanomaly.paths import DATASET_JSON
from nnanomaly.plans import ORGAN_PATTERN
from nnanomaly.utilities.csv_table import Row, read_table, refuse_rows
from nnanomaly.utilities.files import link_or_copy
from nnanomaly.utilities.json_io import write_json
from nnanomaly.utilities.matching import same_names

PARTS = {"": "Tr", "train": "Tr", "test": "Ts"}
MASK, LABEL = "mask_", "label_"
FIXED = ("case", "image", "split", "patient", "label_map", "organ_masks")
CODES = ("CONVERT-CSV", "CONVERT-ROWS")
EXAMPLE = "case,image,mask_kidney_left,label_kidney_left / a1,scans/a1.nii.gz,masks/a1_left.nii.gz,healthy"


def convert_table(path: Path, target: Path, *, organs: tuple[str, ...], lesions: dict[str, int]) -> int:
    """Write the dataset folder `target` and return its number of cases; nothing is written where a row has a fault.

    `organs`: in addition to those that columns name; `lesions`: values of the lesion labels by name. Raises
    `FileNotFoundError` and `DataError`: CONVERT-CSV (no such table), CONVERT-ROWS (all faults of all rows).
    """
    if not path.is_file():
        raise FileNotFoundError(f"[NNA-IO-MISSING] {path} does not exist")
    rows = read_table(path, required=FIXED[:2], optional=FIXED[2:], codes=CODES, example=EXAMPLE)
    columns = list(rows[0].values) if rows else []
    named = [column.removeprefix(prefix) for column in columns for prefix in (MASK, LABEL) if column.startswith(prefix)]
    organs = tuple(dict.fromkeys((*organs, *(name for name in named if name != "map"))))
    faults = [fault for row in rows for fault in _row_faults(row, path.parent, organs)]
    faults = [*_table_faults(rows, columns, organs), *_files_named_twice(rows, path.parent), *faults]
    refuse_rows(path, faults, code=CODES[1])
    with new_folder(target) as work:
        labels: list[LabelRow] = []
        for row in rows:
            _link_case(row.values, path.parent, work, organs)
            labels += _labels(row.values, organs, source=path.name)
        write_organ_labels(work, labels)
        write_json(work / DATASET_JSON, _description(rows, organs, lesions))
    return len(rows)


def _table_faults(rows: list[Row], columns: list[str], organs: tuple[str, ...]) -> Iterator[str]:
    if not rows:
        yield "the table has no rows"
    if rows and not organs:
        yield "no organ is named: add columns mask_kidney_left, label_kidney_left, ... or -organs"
    known = {*FIXED, *(prefix + organ for organ in organs for prefix in (MASK, LABEL))}
    for column in columns:
        if column not in known:
            yield f"line 1: unknown column {column!r}; known: {', '.join(FIXED)}, mask_ORGAN, label_ORGAN"
    for organ in organs:
        if not ORGAN_PATTERN.fullmatch(organ):
            yield f"line 1: organ {organ!r} must consist of letters, digits, '-' and single '_'"
    endings = {_ending(name) for row in rows for key in ("image", "label_map") if (name := row.values.get(key))}
    if len(endings) > 1:
        yield f"images and label maps end with {', '.join(sorted(endings))}; a dataset has one ending"
    for clash in same_names((row.values["case"], f"line {row.line}") for row in rows):
        yield f"{len(clash.sources)} rows for the case {clash.names[-1]!r}: {', '.join(clash.sources)}"


def _files_named_twice(rows: list[Row], root: Path) -> Iterator[str]:
    """One scan as two cases would stand on both sides of a split; one mask as two organs is a slip of the pen."""
    columns = [column for column in (rows[0].values if rows else ()) if column == "image" or column.startswith(MASK)]
    named = [
        (os.path.realpath(root / name), f"line {row.line}, {column}")
        for row in rows
        for column in columns
        if (name := row.values[column])
    ]
    for path, places in itertools.groupby(sorted(named), key=lambda item: item[0]):
        several = [place for _, place in places]
        if len(several) > 1:
            yield f"{path} is named {len(several)} times: {'; '.join(several)}"


def _row_faults(row: Row, root: Path, organs: tuple[str, ...]) -> Iterator[str]:
    values, start = row.values, f"line {row.line}: "
    yield from (start + fault for fault in _file_faults(values, root))
    if not CASE_PATTERN.fullmatch(values["case"]) or ".." in values["case"]:
        yield f"{start}case {values['case']!r} is no valid case id (letters, digits, '.', '_', '-')"
    if values.get("split", "").lower() not in PARTS:
        yield f"{start}split {values['split']!r} is neither train nor test"
    for organ in organs:
        label = values.get(LABEL + organ, "")
        if label and label.lower() not in LABELS:
            yield f"{start}label_{organ} {label!r} is not one of {', '.join(LABELS)}"


def _file_faults(values: dict[str, str], root: Path) -> Iterator[str]:
    if not values["image"]:
        yield "no image"
    if values.get("organ_masks"):
        masks = root / values["organ_masks"]
        if not masks.exists():
            yield f"organ_masks {values['organ_masks']!r} does not exist"
        for path in sorted(masks.glob("*")) if masks.is_dir() else []:
            if _ending(path.name) in READER_WRITERS and not path.is_file():
                yield f"organ_masks: {path} is {_what_is_there(path)}"
    for column, name in values.items():
        if name and (column in ("image", "label_map") or column.startswith(MASK)):
            if not (root / name).is_file():
                yield f"{column} {name!r} is {_what_is_there(root / name)}"
            elif _ending(name) not in READER_WRITERS:
                yield f"{column} {name!r} ends with none of {', '.join(READER_WRITERS)}"


def _what_is_there(path: Path) -> str:
    """What stands where a file is wanted."""
    if path.is_dir():
        return "a folder, not a file"
    return f"a link to {path.readlink()}, which is no file" if path.is_symlink() else "no file"


def _ending(name: str) -> str:
    return next((ending for ending in READER_WRITERS if name.endswith(ending)), Path(name).suffix)


def _link_case(values: dict[str, str], root: Path, work: Path, organs: tuple[str, ...]) -> None:
    """The files of one row under their names in the dataset."""
    case, part, ending = values["case"], PARTS[values.get("split", "").lower()], _ending(values["image"])
    masks = work / f"organMasks{part}"
    link_or_copy(root / values["image"], work / f"images{part}" / f"{case}_0000{ending}")
    if values.get("label_map"):
        link_or_copy(root / values["label_map"], work / f"labels{part}" / f"{case}{_ending(values['label_map'])}")
    if values.get("organ_masks"):
        source = root / values["organ_masks"]
        if source.is_file():
            link_or_copy(source, masks / f"{case}{_ending(source.name)}")
        for path in sorted(source.glob("*")) if source.is_dir() else []:
            organ = path.name.removesuffix(_ending(path.name))
            if organ in organs and not values.get(MASK + organ):  # the file that is named counts
                link_or_copy(path, masks / case / path.name)
    for organ in organs:
        name = values.get(MASK + organ)
        if name:
            link_or_copy(root / name, masks / case / f"{organ}{_ending(name)}")


def _labels(values: dict[str, str], organs: tuple[str, ...], *, source: str) -> list[LabelRow]:
    """Rows of one case; those without a label, which reports may give later, keep its patient."""
    patient = values.get("patient", "")
    return [
        LabelRow(values["case"], organ, label, source if label else "", patient)
        for organ in organs
        if (label := values.get(LABEL + organ, "").lower()) or patient
    ]


def _description(rows: list[Row], organs: tuple[str, ...], lesions: dict[str, int]) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, **lesions},
        "numTraining": sum(PARTS[row.values.get("split", "").lower()] == "Tr" for row in rows),
        "file_ending": _ending(rows[0].values["image"]),
        "nnanomaly": {"organs": list(organs), "lesion_labels": list(lesions)},
    }
