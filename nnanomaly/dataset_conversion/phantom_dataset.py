"""A raw dataset of phantom cases, as a user would bring it: images, weak labels, masks, reports and drawn lesions."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset_conversion.phantom import LABELS, LESION_LABELS, PhantomCase, PhantomSettings, render_case
from nnanomaly.dataset_conversion.phantom_anatomy import ORGANS
from nnanomaly.imageio.nifti import write_volume
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
from nnanomaly.utilities.csv_table import write_table
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.files import write_text
from nnanomaly.utilities.json_io import write_json
from nnanomaly.volume import Grid, Triple

REPORTS_TR, REPORTS_TS = "reportsTr", "reportsTs"
ORIENTATIONS = ("LPS", "RAS", "LAS", "IPL", "PIR")
"""Where the file axes of the cases point to, in turn (nibabel's letters)."""
_TILTED_EVERY, _TILT_DEGREES = 6, 5.0
_SPACING_SPREAD = 0.05
_LETTERS = {"S": (1, 0, 0), "I": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "L": (0, 0, 1), "R": (0, 0, -1)}
_ENDING = ".nii.gz"


def write_phantom_dataset(
    folder: Path, *, num_training: int, num_test: int, seed: int, settings: PhantomSettings | None = None
) -> None:
    """Write a raw dataset of `num_training` + `num_test` cases to `folder`; the same arguments give the same voxels.

    The share of unhealthy organs and the distribution of the lesion sizes hold exactly in both parts. File axes change
    from case to case, every sixth scan is tilted, and voxel sizes vary by a few per cent. Lesions are drawn for the
    test cases and for the training cases alike (`labelsTr`), for evaluation only. A folder with anything in it raises
    `ConfigurationError`, since cases of another phantom would mix with the new ones.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError("CFG-OUTPUT", f"{folder} is not empty. Name another folder, or empty it.")
    settings = settings or PhantomSettings()
    rows: list[tuple[str, str, str, str]] = []
    parts = (
        (num_training, IMAGES_TR, LABELS_TR, ORGAN_MASKS_TR, REPORTS_TR),
        (num_test, IMAGES_TS, LABELS_TS, ORGAN_MASKS_TS, REPORTS_TS),
    )
    first = 0
    for part, (count, *subfolders) in enumerate(parts):
        rng = np.random.default_rng([seed, 1, part])
        for offset, diameters in enumerate(draw_diameters(rng, settings, num_cases=count)):
            number = first + offset
            case_rng = np.random.default_rng([seed, 2, number])
            grid = draw_grid(case_rng, settings, number=number)
            case = render_case(case_rng, settings, grid=grid, diameters_mm=diameters)
            name = f"phantom_{number:03d}"
            _write_case([folder / subfolder for subfolder in subfolders], name, case)
            rows += [(name, organ, label, "phantom") for organ, label in case.organ_labels.items()]
        first += count
    write_table(folder / ORGAN_LABELS_CSV, ("case", "organ", "label", "source"), rows)
    write_json(folder / DATASET_JSON, _description(num_training))


def draw_diameters(
    rng: np.random.Generator, settings: PhantomSettings, *, num_cases: int
) -> list[dict[str, tuple[float, ...]]]:
    """For every case, the diameters of the lesions of its unhealthy organs; every size is met equally often."""
    num_organs = num_cases * len(ORGANS)
    num_unhealthy = round(settings.unhealthy_share * num_organs)
    num_second = round(settings.second_lesion_share * num_unhealthy)
    unhealthy = rng.permutation(num_organs)[:num_unhealthy]
    hosts = [*unhealthy, *unhealthy[:num_second]]
    shares = (rng.permutation(len(hosts)) + rng.uniform(0, 1, len(hosts))) / max(1, len(hosts))
    low, high = settings.lesion_diameter_mm
    cases: list[dict[str, tuple[float, ...]]] = [{} for _ in range(num_cases)]
    for host, share in zip(hosts, shares, strict=True):
        case, organ = cases[host // len(ORGANS)], ORGANS[host % len(ORGANS)]
        case[organ] = (*case.get(organ, ()), float(low + (high - low) * share))
    return cases


def draw_grid(rng: np.random.Generator, settings: PhantomSettings, *, number: int) -> Grid:
    """The grid of the scan of case `number`: file axes in turn, every sixth tilted about the left-right axis."""
    stretch = rng.uniform(1 - _SPACING_SPREAD, 1 + _SPACING_SPREAD)
    z, y, x = settings.spacing_mm
    tilt = _TILT_DEGREES if number % _TILTED_EVERY == _TILTED_EVERY - 1 else 0.0
    varied = replace(settings, spacing_mm=(z, y * stretch, x * stretch))
    return oriented_grid(varied, ORIENTATIONS[number % len(ORIENTATIONS)], tilt_degrees=tilt)


def oriented_grid(settings: PhantomSettings, orientation: str, *, tilt_degrees: float = 0.0) -> Grid:
    """The field of view around the world origin, its file axes pointing as `orientation` says (such as `RAS`).

    A file's first axis is the last one of the array.
    """
    columns = np.array([_LETTERS[letter] for letter in reversed(orientation)], float).T
    world_axes = np.abs(columns).argmax(axis=0)
    spacing = np.array(settings.spacing_mm)[world_axes]
    shape = np.round(np.array(settings.field_of_view_mm)[world_axes] / spacing).astype(int)
    angle = np.deg2rad(tilt_degrees)
    tilt = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    direction = tilt @ columns
    origin = -direction @ (spacing * (shape - 1) / 2)
    rows = (_triple(row) for row in direction)
    return Grid(
        (int(shape[0]), int(shape[1]), int(shape[2])),
        _triple(spacing),
        _triple(origin),
        (next(rows), next(rows), next(rows)),
    )


def report_text(case: PhantomCase) -> str:
    """What a radiologist would write: one sentence per organ."""
    return "".join(f"{_sentence(case, organ)}\n" for organ in case.organ_masks)


def _sentence(case: PhantomCase, organ: str) -> str:
    name = " ".join(reversed(organ.split("_"))).capitalize()
    lesions = [lesion for lesion in case.lesions if lesion.organ == organ]
    if not lesions:
        return f"{name}: normal."
    found = (f"{'cyst' if lesion.kind == 'cyst' else 'mass'} of {lesion.diameter_mm:.0f} mm" for lesion in lesions)
    return f"{name}: {' and '.join(found)}."


def _write_case(folders: Sequence[Path], name: str, case: PhantomCase) -> None:
    images, labels, masks, reports = folders
    for folder in (images, labels, masks / name, reports):
        folder.mkdir(parents=True, exist_ok=True)
    write_volume(images / f"{name}_0000{_ENDING}", case.image)
    write_volume(labels / f"{name}{_ENDING}", case.labels)
    for organ, mask in case.organ_masks.items():
        write_volume(masks / name / f"{organ}{_ENDING}", mask)
    write_text(reports / f"{name}.txt", report_text(case))


def _description(num_training: int) -> dict[str, object]:
    return {
        "channel_names": {"0": "CT"},
        "labels": LABELS,
        "numTraining": num_training,
        "file_ending": _ENDING,
        "name": "Phantom",
        "description": "Rendered kidneys for demonstration and tests; says nothing about patients",
        "licence": "Apache-2.0",
        "nnanomaly": {"organs": list(ORGANS), "lesion_labels": list(LESION_LABELS)},
    }


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
