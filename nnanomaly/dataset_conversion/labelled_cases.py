"""From scans with drawn label maps to a raw dataset: images, drawn lesions, organ masks, weak labels.

KiTS23 and the Medical Segmentation Decathlon differ in where files lie and what values mean; the rest is here. Images
and label maps become the same files under other names. A case that cannot be used is left out and named.
"""

import functools
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnanomaly.dataset.new_dataset import LabelRow, new_folder, write_organ_labels
from nnanomaly.dataset.raw_dataset import check_case_id
from nnanomaly.dataset_conversion.drawn_organs import find_body_middle_mm, organ_label, split_sides
from nnanomaly.imageio.reader_writer import check_thickness, reader_writer_for
from nnanomaly.paths import DATASET_JSON
from nnanomaly.reordering import require_on_grid
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.files import link_or_copy
from nnanomaly.utilities.json_io import write_json
from nnanomaly.utilities.matching import refuse_same_names
from nnanomaly.volume import Grid, Volume

FILE_ENDING = ".nii.gz"
CONVERSION_JSON = "conversion.json"
SAME_REMEDY = "Rename files, or choose the ids yourself in a table (nnanomaly_make_dataset --csv)."


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledCase:
    """One case of the source."""

    case: str
    """Case id."""
    part: str
    """"Tr" or "Ts"."""
    image: Path
    """The scan."""
    label_map: Path | None
    """What was drawn; None for a test case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScheme:
    """What the values of the label maps mean."""

    name: str
    """Where the labels come from, for the column `source`."""
    labels: dict[str, int]
    """Values by name, background included."""
    organs: tuple[str, ...]
    """One organ, or the left and the right one."""
    organ_values: tuple[int, ...]
    """Values that make up the organs, lesions included."""
    lesions: tuple[str, ...]
    """Names of the labels that are lesions."""

    @property
    def lesion_values(self) -> tuple[int, ...]:
        """Values that are lesions."""
        return tuple(self.labels[name] for name in self.lesions)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionReport:
    """What became of the cases."""

    folder: Path
    """The new dataset."""
    num_cases: int
    """Cases in it."""
    label_counts: dict[str, int]
    """Organs of each weak label."""
    failures: dict[str, str]
    """Reason of every case that was left out."""


def convert_cases(
    cases: Sequence[LabelledCase],
    scheme: LabelScheme,
    target: Path,
    *,
    num_processes: int,
    progress: Progress | None = None,
) -> ConversionReport:
    """Write the dataset folder `target`.

    Raises `DataError`: CONVERT-SAME (files that would get one case id, all named), CASE-ID, CONVERT-NOTHING (no
    training case can be used). Sources are only read.
    """
    for case in cases:
        check_case_id(case.case, case.image)
    refuse_same_names(
        [(case.case, str(case.image)) for case in cases], code="CONVERT-SAME", place=scheme.name, remedy=SAME_REMEDY
    )
    with new_folder(target) as work:
        outcomes = run_cases(
            functools.partial(_convert, scheme=scheme, work=work), cases, num_processes=num_processes, progress=progress
        )
        rows: list[LabelRow] = []
        failures: dict[str, str] = {}
        for case, outcome in zip(cases, outcomes, strict=True):
            if isinstance(outcome, CaseFault):
                _remove(case, work)
                failures[case.case] = outcome.reason
            else:
                rows += outcome
        num_training = sum(case.part == "Tr" and case.case not in failures for case in cases)
        if not num_training:
            reason = next(iter(failures.values()), "there is none")
            raise DataError("CONVERT-NOTHING", f"no training case can be used, the first because: {reason}")
        write_organ_labels(work, rows)
        write_json(work / DATASET_JSON, _description(scheme, num_training))
        write_json(work / CONVERSION_JSON, {"source": scheme.name, "left_out": failures})
    labels = [row.label for row in rows]
    return ConversionReport(
        folder=target,
        num_cases=len(cases) - len(failures),
        label_counts={label: labels.count(label) for label in sorted(set(labels))},
        failures=failures,
    )


def _convert(case: LabelledCase, *, scheme: LabelScheme, work: Path) -> list[LabelRow]:
    """Write the files of a case, the image last; its rows of the label table."""
    grid = reader_writer_for(case.image).read_grid(case.image)
    check_thickness(grid, case.image)
    rows: list[LabelRow] = []
    masks, label_map = _outputs(case, work)
    if case.label_map is not None:
        rows = _write_masks(case, case.label_map, grid, scheme=scheme, folder=masks)
        link_or_copy(case.label_map, label_map)
    link_or_copy(case.image, work / f"images{case.part}" / f"{case.case}_0000{FILE_ENDING}")
    return rows


def _outputs(case: LabelledCase, work: Path) -> tuple[Path, Path]:
    """Folder of the masks of a case, and its label map."""
    return work / f"organMasks{case.part}" / case.case, work / f"labels{case.part}" / f"{case.case}{FILE_ENDING}"


def _remove(case: LabelledCase, work: Path) -> None:
    """What was written of a case before it failed; its image is written last and is not there."""
    masks, label_map = _outputs(case, work)
    shutil.rmtree(masks, ignore_errors=True)
    label_map.unlink(missing_ok=True)


def _write_masks(case: LabelledCase, path: Path, grid: Grid, *, scheme: LabelScheme, folder: Path) -> list[LabelRow]:
    drawn = require_on_grid(reader_writer_for(path).read_labels(path), path, grid=grid, image=case.image)
    lesions = np.isin(drawn.array[0], scheme.lesion_values)
    organs = Volume(np.isin(drawn.array, scheme.organ_values).astype(np.uint8), grid)
    if len(scheme.organs) == 1:
        masks = {scheme.organs[0]: organs}
    else:
        left, right = split_sides(organs, functools.partial(_body_middle_mm, case.image))
        masks = {organ: left if organ.endswith("_left") else right for organ in scheme.organs}
    for organ, mask in masks.items():
        target = folder / f"{organ}{FILE_ENDING}"
        reader_writer_for(target).write_like(target, mask.array[0], case.image)
    return [LabelRow(case.case, organ, organ_label(mask, lesions), scheme.name) for organ, mask in masks.items()]


def _body_middle_mm(image: Path) -> float:
    return find_body_middle_mm(reader_writer_for(image).read_volume(image))


def _description(scheme: LabelScheme, num_training: int) -> dict[str, Any]:
    return {
        "channel_names": {"0": "CT"},
        "labels": scheme.labels,
        "numTraining": num_training,
        "file_ending": FILE_ENDING,
        "nnanomaly": {"organs": list(scheme.organs), "lesion_labels": list(scheme.lesions)},
    }
