"""The volumes of one case, read and checked, all turned to canonical axes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnanomaly.evaluation.evaluate_case import check_geometry, read_mask, read_prediction, read_scores
from nnanomaly.evaluation.evaluate_folder import candidates_file
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.paths import MAPS, RECONSTRUCTIONS
from nnanomaly.report.findings import Scores
from nnanomaly.report.orientation import nearest_canonical_grid, to_nearest_canonical
from nnanomaly.roi.components import Component
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Box, Grid, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """Where the files of all cases lie."""

    predictions: Path
    """Folder of the predictor."""
    images: Path
    """Folder of the images."""
    references: Path | None
    """Folder of the reference label maps, if there is one."""
    labels: LesionLabels | None
    """Which labels are lesions; None without references."""
    file_ending: str
    """Ending of all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseVolumes:
    """The volumes of a case `[1, Z, Y, X]` on one canonical grid."""

    image: Volume
    """CT in HU."""
    reconstruction: Volume
    """Healthy reconstruction in HU."""
    anomaly: Volume
    """Anomaly map."""
    candidates: Volume
    """Predicted mask."""
    reference: Volume | None
    """Mask of the drawn lesions; None where the case has no reference."""
    stored: Grid
    """Grid of the image as its file stores it."""


def read_volumes(folders: Folders, case: str) -> CaseVolumes:
    """Read a case. Raises what the readers raise, and `DataError`: GEO-PAIR, LABEL-VALUE, RPT-IMAGE."""
    name = f"{case}{folders.file_ending}"
    image_path = folders.images / f"{case}_0000{folders.file_ending}"
    if not image_path.is_file():
        raise DataError("RPT-IMAGE", f"{image_path} does not exist. Name the folder of the images with -i.")
    image = reader_writer_for(image_path).read_volume(image_path)
    maps = []
    for folder in (RECONSTRUCTIONS, MAPS):
        path = folders.predictions / folder / name
        maps.append(_on_grid_of(image, image_path, reader_writer_for(path).read_volume(path), path))
    return CaseVolumes(
        image=to_nearest_canonical(image),
        reconstruction=to_nearest_canonical(maps[0]),
        anomaly=to_nearest_canonical(maps[1]),
        candidates=to_nearest_canonical(_prediction(folders, folders.predictions / name, image, image_path)),
        reference=_reference(folders, name, image, image_path),
        stored=image.grid,
    )


def scores_of(folders: Folders, case: str, stored: Grid) -> Scores:
    """Score of a component of the canonical mask, from the candidates file, whose boxes are those of the stored mask.

    `stored` is the grid that the files store; None for a component that the file does not list.
    """
    lookup = read_scores(candidates_file(folders.predictions, case))
    canonical = nearest_canonical_grid(stored)

    def score(component: Component) -> float | None:
        return lookup(Component(_box_on(stored, component.box, canonical), component.mask))

    return score


def _box_on(grid: Grid, box: Box, source: Grid) -> Box:
    """The same voxels as a box on a grid that differs in the order and direction of its axes alone."""
    ends = source.to_world(np.array([box.start, np.asarray(box.stop) - 1], dtype=float))
    index = np.rint(grid.to_index(ends)).astype(int)
    start, stop = index.min(axis=0), index.max(axis=0) + 1
    return Box((int(start[0]), int(start[1]), int(start[2])), (int(stop[0]), int(stop[1]), int(stop[2])))


def _prediction(folders: Folders, path: Path, image: Volume, image_path: Path) -> Volume:
    """Predicted mask; without known labels every label is a candidate."""
    if folders.labels is not None:
        mask = read_prediction(path, folders.labels)[0]
    else:
        stored = reader_writer_for(path).read_labels(path)
        mask = Volume(stored.array != 0, stored.grid)
    return _on_grid_of(image, image_path, mask, path)


def _reference(folders: Folders, name: str, image: Volume, image_path: Path) -> Volume | None:
    if folders.references is None or folders.labels is None:
        return None
    path = folders.references / name
    if not path.is_file():
        return None
    return to_nearest_canonical(_on_grid_of(image, image_path, read_mask(path, folders.labels.reference), path))


def _on_grid_of(image: Volume, image_path: Path, volume: Volume, path: Path) -> Volume:
    """A volume with exactly the grid of the image, which its own must be but for rounding."""
    check_geometry(path, volume.grid, image_path, image.grid)
    return Volume(volume.array, image.grid)
