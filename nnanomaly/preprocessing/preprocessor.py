"""From a scan and its organ masks to organ patches, for one case (pure) and for a dataset (files and processes).

A patch has three channels on its own canonical grid: the image, clipped to the window and mapped to [-1, 1]; the organ
mask in [0, 1]; and the coverage, 1 where the scan says something. Voxels outside the scan and the padding that
scanners write outside their circular field of view are not covered; their image value is -1.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly import __version__
from nnanomaly.dataset.organ_labels import EXCLUDED, load_organ_labels
from nnanomaly.dataset.organ_mask_files import OrganMaskFile, require_organ_mask
from nnanomaly.dataset.patch_store import load_patch, patch_name, patches_of, remove_patches, save_patch
from nnanomaly.dataset.raw_dataset import DatasetDescription, image_files, list_cases
from nnanomaly.imageio.reader_writer import check_content, check_thickness, reader_writer_for
from nnanomaly.imageio.voxel_values import AIR_HU, find_padding
from nnanomaly.patch import COVERAGE, Patch
from nnanomaly.paths import IMAGES_TR, ORGAN_MASKS_TR
from nnanomaly.plans import PreprocessingPlan
from nnanomaly.preprocessing.cropping import mirrored, organ_patches
from nnanomaly.preprocessing.normalization import normalise
from nnanomaly.preprocessing.report import CaseFailure, PreprocessingReport, merge_reports
from nnanomaly.preprocessing.resampling import sample_on_grid
from nnanomaly.roi.organ_instances import OrganInstance, locate_organ
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.utilities.case_faults import CaseFault, case_fault, record
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import UserError
from nnanomaly.utilities.json_io import document_hash, to_document
from nnanomaly.utilities.leftovers import remove_leftovers
from nnanomaly.volume import Box, Grid, Volume

SPLINE_REACH = 16  # voxels; the influence of a cubic spline's samples has fallen below 1e-8 there


@dataclass(frozen=True, kw_only=True, eq=False)
class OrganPatch(Patch):
    """A patch as it was cut out of a scan."""

    tile: int
    """Number of the tile, from 0."""
    num_tiles: int
    """Tiles of this organ."""
    instance: OrganInstance
    """Box, volume and border contact of the organ."""
    organ_fraction_outside: float
    """Share of the organ mask (stray parts included) outside all patches of the organ."""
    covered_fraction: float
    """Share of the patch that the scan covers."""

    @property
    def touches_border(self) -> tuple[str, ...]:
        """Sides of the scan that cut the organ, such as "inferior"."""
        return self.instance.touches_border


def preprocess_case(image: Volume, mask: Volume, plan: PreprocessingPlan, *, case: str, organ: str) -> list[OrganPatch]:
    """All patches of an organ; none if its mask is empty.

    `image`: HU `[1, Z, Y, X]`; `mask`: `[1, Z, Y, X]`, not 0 = organ; each on a grid of its own.
    """
    instance = locate_organ(mask)
    if instance is None:
        return []
    grids = organ_patches(instance, plan)
    if organ in plan.mirrored_organs:
        grids = [mirrored(grid) for grid in grids]
    outside = _fraction_outside(mask, grids)
    scan, padding = _without_padding(_surroundings(image, grids, plan))
    patches = []
    for tile, grid in enumerate(grids):
        array = _sample(scan, padding, mask, grid=grid, plan=plan)
        patch = OrganPatch(
            name=patch_name(case, organ, tile=tile, num_tiles=len(grids)),
            case=case,
            organ=organ,
            tile=tile,
            num_tiles=len(grids),
            array=array,
            grid=grid,
            instance=instance,
            organ_fraction_outside=outside,
            covered_fraction=float(array[COVERAGE].mean(dtype=np.float64)),
        )
        patches.append(patch)
    return patches


def cut_patch(image: Volume, mask: Volume, grid: Grid, plan: PreprocessingPlan) -> NDArray[np.float16]:
    """The array of one patch `[3, *grid.shape]` on a grid that the caller chose."""
    scan, padding = _without_padding(_surroundings(image, [grid], plan))
    return _sample(scan, padding, mask, grid=grid, plan=plan)


def _surroundings(image: Volume, grids: list[Grid], plan: PreprocessingPlan) -> Volume:
    """The part of the scan that the patches are interpolated from, as far as a spline and its smoothing reach."""
    corners = image.grid.to_index(np.concatenate([grid.corners_mm() for grid in grids]))
    reach = SPLINE_REACH + 4 * np.ceil(max(plan.spacing_mm) / np.asarray(image.grid.spacing_mm))
    start = np.clip(np.floor(corners.min(axis=0) - reach), 0, np.asarray(image.grid.shape) - 1).astype(int)
    stop = np.clip(np.ceil(corners.max(axis=0) + reach), start + 1, image.grid.shape).astype(int)
    (z0, y0, x0), (z1, y1, x1) = start.tolist(), stop.tolist()
    box = Box((z0, y0, x0), (z1, y1, x1))
    return Volume(image.array[(slice(None), *box.slices)], image.grid.crop(box))


def _without_padding(image: Volume) -> tuple[Volume, Volume | None]:
    """The scan with its padding set to air, so that no edge rings into the body, and the map of it (None without)."""
    hu: NDArray[np.float32] = image.array.astype(np.float32, copy=False)
    padding = find_padding(hu)
    if not padding.any():
        return image, None
    air = np.where(padding, np.float32(AIR_HU), hu)
    return replace(image, array=air), replace(image, array=padding.astype(np.float32))


def _sample(
    scan: Volume, padding: Volume | None, mask: Volume, *, grid: Grid, plan: PreprocessingPlan
) -> NDArray[np.float16]:
    low_hu = plan.window_hu[0]
    hu, covered = sample_on_grid(
        scan, grid, order=plan.interpolation_order, antialiasing=plan.antialiasing, fill=low_hu
    )
    if padding is not None:
        padded, _ = sample_on_grid(padding, grid, order=0, antialiasing=False, fill=0.0)
        covered = covered & (padded[0] < 0.5)
    organ, _ = sample_on_grid(mask, grid, order=1, antialiasing=plan.antialiasing, fill=0.0)
    intensity = np.where(covered, normalise(hu[0], plan.window_hu), -1.0)
    return np.stack([intensity, np.clip(organ[0], 0.0, 1.0) * covered, covered]).astype(np.float16)


def _fraction_outside(mask: Volume, grids: list[Grid]) -> float:
    """Share of the mask's voxels whose centre lies in none of the patches."""
    centres = mask.grid.to_world(np.argwhere(mask.array[0] != 0).astype(float))
    inside = np.zeros(len(centres), dtype=bool)
    for grid in grids:
        index = grid.to_index(centres)
        inside |= ((index >= -0.5) & (index <= np.asarray(grid.shape) - 0.5)).all(axis=1)
    return float(1 - inside.mean())


def read_organ_mask(
    mask_root: Path, case: str, organ: str, *, image: Path, description: DatasetDescription
) -> tuple[Volume, OrganMaskFile]:
    """The mask `[1, Z, Y, X]` of an organ on the grid of its image file, and where it came from.

    Raises `DataError`: ROI-MISSING, GEO-PAIR, GEO-THIN (of the image) and what the reader raises.
    """
    found = require_organ_mask(mask_root, case, organ, description=description)
    grid = reader_writer_for(image).read_grid(image)
    check_thickness(grid, image)
    return load_organ_mask(found.path, found.label, grid=grid, image=image), found


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseTask:
    raw_folder: Path
    case: str
    organs: tuple[str, ...]
    description: DatasetDescription
    plan: PreprocessingPlan
    out_dir: Path


def preprocess_dataset(
    raw_folder: Path,
    description: DatasetDescription,
    plan: PreprocessingPlan,
    *,
    out_dir: Path,
    num_processes: int,
    progress: Progress | None = None,
) -> PreprocessingReport:
    """Store the patches of all organs of all training cases in `out_dir`.

    Organs that are stored already, from the same files with the same settings and intact, are skipped, so a run that
    was broken off goes on. A fault ends in the report and costs only its organ. `progress` is called per case.
    EnvironmentFault (IO-WRITE) when the disk takes no more.
    """
    remove_leftovers(out_dir, out_dir.parent)
    labels = load_organ_labels(raw_folder)
    cases = list_cases(raw_folder / IMAGES_TR, description.file_ending)
    organs = {case: [organ for organ in description.organs if labels.get((case, organ)) != EXCLUDED] for case in cases}
    tasks = [
        _CaseTask(
            raw_folder=raw_folder,
            case=case,
            organs=tuple(organs[case]),
            description=description,
            plan=plan,
            out_dir=out_dir,
        )
        for case in cases
    ]
    outcomes = run_cases(_preprocess_files, tasks, num_processes=num_processes, progress=progress)
    excluded = tuple((case, organ) for case in cases for organ in description.organs if organ not in organs[case])
    reports = [
        _without_all(task, outcome) if isinstance(outcome, CaseFault) else outcome
        for task, outcome in zip(tasks, outcomes, strict=True)
    ]
    report = merge_reports([PreprocessingReport(excluded=excluded), *reports])
    for failure in report.failures:
        record(f"{failure.case} {failure.organ}", failure.reason, failure.traceback)
    return report


def _without_all(task: _CaseTask, fault: CaseFault) -> PreprocessingReport:
    return PreprocessingReport(failures=tuple(CaseFailure(task.case, organ, fault.reason) for organ in task.organs))


def _preprocess_files(task: _CaseTask) -> PreprocessingReport:
    """All organs of one case; the image is read once, and not at all if every organ is stored already."""
    read_image = functools.cache(_read_image)
    reports = []
    for organ in task.organs:
        try:
            reports.append(_preprocess_organ(task, organ, read_image=read_image))
        except Exception as error:  # noqa: BLE001 (the boundary around one organ of one case)
            fault = case_fault(error)
            failure = CaseFailure(task.case, organ, fault.reason, fault.traceback)
            reports.append(PreprocessingReport(failures=(failure,)))
    return merge_reports(reports)


def _read_image(path: Path) -> Volume:
    image = reader_writer_for(path).read_volume(path)
    check_content(image, path)
    return image


def _preprocess_organ(task: _CaseTask, organ: str, *, read_image: Callable[[Path], Volume]) -> PreprocessingReport:
    key = ((task.case, organ),)
    image_path = image_files(task.raw_folder / IMAGES_TR, task.case, task.description)[0]
    mask_root = task.raw_folder / ORGAN_MASKS_TR
    found = require_organ_mask(mask_root, task.case, organ, description=task.description)
    provenance = _provenance(task.plan, image_path, found)
    if _is_stored(task.out_dir, task.case, organ, provenance=provenance):
        return PreprocessingReport(skipped=key)
    mask, _ = read_organ_mask(mask_root, task.case, organ, image=image_path, description=task.description)
    remove_patches(task.out_dir, task.case, organ)  # of another plan, or of files that have changed
    if not mask.array.any():
        return PreprocessingReport(absent=key)
    for patch in preprocess_case(read_image(image_path), mask, task.plan, case=task.case, organ=organ):
        save_patch(task.out_dir, patch.name, patch.array, metadata=_metadata(patch, provenance))
    return PreprocessingReport(stored=key)


def _provenance(plan: PreprocessingPlan, image: Path, mask: OrganMaskFile) -> dict[str, Any]:
    """Settings and files a patch follows from; it is stale when one of them has changed."""
    sources = {"image": image, "mask": mask.path}
    files = {key: [path.name, path.stat().st_size, path.stat().st_mtime_ns] for key, path in sources.items()}
    return {"preprocessing": document_hash(to_document(plan)), **files, "mask_label": mask.label}


def _metadata(patch: OrganPatch, provenance: dict[str, Any]) -> dict[str, Any]:
    facts = {field.name: getattr(patch, field.name) for field in fields(patch) if field.name not in ("array", "name")}
    document = {name: to_document(fact) for name, fact in facts.items()}
    return {**document, "provenance": provenance, "nnanomaly_version": __version__}


def _is_stored(folder: Path, case: str, organ: str, *, provenance: dict[str, Any]) -> bool:
    """Whether all patches of an organ are there, intact and not stale."""
    names = patches_of(folder, case, organ)
    try:
        documents = [load_patch(folder, name, verify=True).metadata for name in names]
        return len(names) > 0 and all(
            document["provenance"] == provenance and document["num_tiles"] == len(names) for document in documents
        )
    except (UserError, OSError, KeyError):
        return False
