"""The quick check of a raw dataset: files and headers, not voxels. All faults of all cases are collected first.

The check of every voxel is `nnanomaly.experiment_planning.verification`.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from nnanomaly.dataset.counterparts import Remark, counterpart_remarks, fold_remarks
from nnanomaly.dataset.image_folder import why_no_case
from nnanomaly.dataset.organ_labels import EXCLUDED, HEALTHY, OrganLabels, load_organ_labels
from nnanomaly.dataset.organ_mask_files import require_organ_mask
from nnanomaly.dataset.raw_dataset import (
    OUR_KEYS,
    DatasetDescription,
    find_cases,
    image_files,
    load_description,
)
from nnanomaly.imageio.reader_writer import check_thickness, reader_writer_for
from nnanomaly.paths import (
    DATASET_JSON,
    IMAGES_TR,
    IMAGES_TS,
    LABELS_TR,
    LABELS_TS,
    ORGAN_LABELS_CSV,
    ORGAN_MASKS_TR,
    ORGAN_MASKS_TS,
)
from nnanomaly.reordering import require_same_voxels
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.utilities.errors import DataError, UserError
from nnanomaly.utilities.json_io import read_json
from nnanomaly.utilities.matching import one_a_line, same_names
from nnanomaly.volume import Grid

THEIR_NIFTI_READERS = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")
"""Readers of nnU-Net that take a NIfTI file for what we take it for."""
ERROR, WARNING = "ERROR", "WARNING"

TRAINING, TEST = "Tr", "Ts"
FOLDERS = {TRAINING: (IMAGES_TR, LABELS_TR, ORGAN_MASKS_TR), TEST: (IMAGES_TS, LABELS_TS, ORGAN_MASKS_TS)}
"""Images, drawn lesions and organ masks of either part."""

Result = TypeVar("Result")
Default = TypeVar("Default")


class Finding(NamedTuple):
    """One fault of a dataset."""

    level: str
    """`ERROR` (would break or falsify) or `WARNING` (suspicious)."""
    code: str
    """Such as "GEO-PAIR"."""
    message: str
    """One line with the case, the value and the file."""
    case: str = ""
    """Case id, where the fault is that of one case."""


def verify_dataset_integrity(folder: Path) -> list[Finding]:
    """Check counts, channels, headers, masks, label maps and weak labels of a dataset folder.

    Returns the warnings; if there is any error, one `DataError` names the first errors and counts the rest.
    """
    findings = find_faults(folder)
    errors = [finding for finding in findings if finding.level == ERROR]
    if errors:
        shown = one_a_line([f"[{finding.code}] {finding.message}" for finding in errors])
        raise DataError(
            "VERIFY",
            f"{folder} has {len(errors)} errors. Correct them; --verify_dataset_integrity reads every file and lists "
            f"all.{shown}",
        )
    return findings


def find_faults(folder: Path, *, parts: Sequence[str] = (TRAINING,)) -> list[Finding]:
    """All faults of a dataset folder, errors first; a `dataset.json` that cannot be read raises at once.

    `parts`: `TEST` checks the files of the test cases as well; masks that they lack are warnings.
    """
    description = load_description(folder)
    findings: list[Finding] = []
    no_cases: list[str] = []
    cases = _collected(findings, lambda: find_cases(folder / IMAGES_TR, description.file_ending), default=no_cases)
    no_labels: OrganLabels = {}
    labels = _collected(findings, lambda: load_organ_labels(folder), default=no_labels)
    findings += _unknown_keys(folder)
    findings += _file_name_faults(folder, cases, description)
    findings += _label_faults(folder, labels)
    of_images: dict[str, list[str]] = {IMAGES_TR: cases}
    remarks: list[Remark] = []
    for case in cases:
        findings += _case_faults(folder, TRAINING, case, labels, description=description)
    if TEST in parts:
        images = folder / IMAGES_TS
        tested = _collected(findings, lambda: find_cases(images, description.file_ending), default=no_cases)
        of_images[IMAGES_TS] = tested
        findings += [finding._replace(level=WARNING) for finding in _misnamed(images, tested, description)]
        for case in tested:
            findings += _case_faults(folder, TEST, case, labels, description=description)
        remarks = _collected(findings, lambda: list(fold_remarks(folder, cases)), default=remarks)
    remarks += counterpart_remarks(folder, of_images, labels, description)
    findings += [Finding(WARNING, code, message) for code, message in remarks]
    return sorted(findings, key=lambda finding: finding.level != ERROR)


def _collected(findings: list[Finding], read: Callable[[], Result], *, default: Default) -> Result | Default:
    try:
        return read()
    except Exception as error:  # noqa: BLE001 (the boundary around one fault of a dataset)
        fault = case_fault(error)
        record("the dataset", fault.reason, fault.traceback)
        findings.append(finding_of(fault.error))
        return default


def finding_of(error: UserError) -> Finding:
    """An error that was met as a finding."""
    return Finding(ERROR, error.code, error.message)


def _unknown_keys(folder: Path) -> Iterator[Finding]:
    """Keys of ours that are misspelt, and those of nnU-Net that say what the other keys or our reader contradict."""
    document = read_json(folder / DATASET_JSON)
    reader = document.get("overwrite_image_reader_writer")
    if reader not in (None, "None", *THEIR_NIFTI_READERS):
        message = f"overwrite_image_reader_writer is {reader!r}, but images are read as NIfTI, as SimpleITKIO does"
        yield Finding(WARNING, "DATA-JSON", f"{folder / DATASET_JSON}: {message}")
    names, modality = document.get("channel_names"), document.get("modality")
    if names is not None and modality is not None and names != modality:
        message = f"channel_names {names} and modality {modality} differ; the former counts"
        yield Finding(WARNING, "DATA-JSON", f"{folder / DATASET_JSON}: {message}")
    for key in sorted(set(document["nnanomaly"]) - set(OUR_KEYS)):
        message = f'{folder / DATASET_JSON}: "nnanomaly" has the unknown key {key!r}; known: {", ".join(OUR_KEYS)}'
        yield Finding(WARNING, "DATA-JSON", message)


def _file_name_faults(folder: Path, cases: list[str], description: DatasetDescription) -> Iterator[Finding]:
    images, ending = folder / IMAGES_TR, description.file_ending
    if not cases:
        holds = why_no_case(images, ending) if images.is_dir() else "nothing: it does not exist"
        yield Finding(ERROR, "DATA-CASES", f"no case in {images}: it holds {holds}")
    if len(cases) != description.num_training:
        message = (
            f"{folder / DATASET_JSON}: numTraining is {description.num_training}, but {images} has {len(cases)} cases"
        )
        yield Finding(ERROR, "DATA-COUNT", message)
    for clash in same_names((case, case) for case in cases):
        yield Finding(
            ERROR, "CASE-ID", f"cases in {images} differ in upper and lower case only: {', '.join(clash.names)}"
        )
    yield from _misnamed(images, cases, description)
    if len(description.channel_names) > 1:
        yield Finding(WARNING, "DATA-CHANNEL", f"only the first channel, {description.channel_names[0]!r}, is used")


def _misnamed(images: Path, cases: list[str], description: DatasetDescription) -> Iterator[Finding]:
    """Files of a folder of images that are no channel of a case."""
    channels = len(description.channel_names)
    expected = {f"{case}_{n:04d}{description.file_ending}" for case in cases for n in range(channels)}
    present = {path.name for path in images.iterdir() if not path.name.startswith(".")} if images.is_dir() else set()
    for name in sorted(present - expected):
        fault = f"{images / name} fits neither file_ending {description.file_ending!r} nor {channels} channels"
        yield Finding(ERROR, "DATA-NAME", f"{fault}: images are named like case_0000{description.file_ending}")


def _label_faults(folder: Path, labels: OrganLabels) -> Iterator[Finding]:
    table = folder / ORGAN_LABELS_CSV
    if not table.is_file():
        yield Finding(ERROR, "LABELS-HEALTHY", f"{table} does not exist; without healthy organs nothing can be learnt")
    elif HEALTHY not in labels.values():
        yield Finding(
            ERROR, "LABELS-HEALTHY", f"{table} calls no organ {HEALTHY}; nothing can be learnt ({len(labels)} labels)"
        )


def _case_faults(
    folder: Path, part: str, case: str, labels: OrganLabels, *, description: DatasetDescription
) -> list[Finding]:
    images, drawn, masks = (folder / name for name in FOLDERS[part])
    findings: list[Finding] = []
    no_files: list[Path] = []
    files = _collected(findings, lambda: image_files(images, case, description), default=no_files)
    if files:
        image, *others = files
        grid = _collected(findings, lambda: reader_writer_for(image).read_grid(image), default=None)
        label_map = drawn / f"{case}{description.file_ending}"
        organs = [organ for organ in description.organs if labels.get((case, organ)) != EXCLUDED]
        found, faults = _mask_files(masks, case, organs, description=description)
        findings += [fault._replace(level=WARNING) for fault in faults] if part == TEST else faults
        others += [*([label_map] if label_map.exists() else []), *found]
        if grid is not None:
            _collected(findings, functools.partial(check_thickness, grid, image), default=None)
            for path in others:
                _collected(findings, functools.partial(_check_pair, image, grid, path), default=None)
    return [finding._replace(case=case) for finding in findings]


def _mask_files(
    masks: Path, case: str, organs: list[str], *, description: DatasetDescription
) -> tuple[list[Path], list[Finding]]:
    """Files that hold the masks of some organs, each once, and the faults met in looking for them."""
    faults: list[Finding] = []
    paths: list[Path] = []
    for organ in organs:
        find = functools.partial(require_organ_mask, masks, case, organ, description=description)
        mask = _collected(faults, find, default=None)
        if mask is not None:
            paths.append(mask.path)
    return list(dict.fromkeys(paths)), faults


def _check_pair(image: Path, grid: Grid, path: Path) -> None:
    other = reader_writer_for(path).read_grid(path)
    require_same_voxels(other, path, grid=grid, image=image)
