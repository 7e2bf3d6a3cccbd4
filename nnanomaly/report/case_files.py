"""The volumes of one case, read and checked."""

from dataclasses import dataclass, replace
from pathlib import Path

from nnanomaly.evaluation.evaluate_case import GEOMETRY_TOLERANCE_MM, order_of, read_mask, read_prediction
from nnanomaly.evaluation.lesion_labels import LesionLabels
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.imageio.voxel_values import padding_as_air
from nnanomaly.paths import AUTOENCODED, MAPS, RECONSTRUCTIONS
from nnanomaly.reordering import Reordering, require_on_grid
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Volume


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
    """The volumes of a case `[1, Z, Y, X]` on one grid, that of the image."""

    image: Volume
    """CT in HU."""
    reconstruction: Volume
    """Healthy reconstruction in HU."""
    autoencoded: Volume | None
    """The image after encoding and decoding alone, in HU; None where the predictor was not asked to save it."""
    anomaly: Volume
    """Anomaly map."""
    candidates: Volume
    """Predicted mask."""
    order: Reordering
    """How the predicted mask was reordered to lie on the grid of the image."""
    reference: Volume | None
    """Mask of the drawn lesions; None where the case has no reference."""


def read_volumes(folders: Folders, case: str) -> CaseVolumes:
    """Read a case. Raises what the readers raise, and `DataError`: GEO-PAIR, LABEL-VALUE, RPT-IMAGE."""
    name = f"{case}{folders.file_ending}"
    image_path = folders.images / f"{case}_0000{folders.file_ending}"
    if not image_path.is_file():
        raise DataError("RPT-IMAGE", f"{image_path} does not exist. Name the folder of the images with -i.")
    image = reader_writer_for(image_path).read_volume(image_path)
    image = replace(image, array=padding_as_air(image.array))

    def stored(folder: str) -> Volume:
        path = folders.predictions / folder / name
        return _on_grid_of(image, image_path, reader_writer_for(path).read_volume(path), path)

    path = folders.predictions / name
    predicted = _prediction(folders, path)
    order = order_of(predicted.grid, path, reference=image.grid, reference_path=image_path)
    return CaseVolumes(
        image=image,
        reconstruction=stored(RECONSTRUCTIONS),
        autoencoded=stored(AUTOENCODED) if (folders.predictions / AUTOENCODED / name).is_file() else None,
        anomaly=stored(MAPS),
        candidates=Volume(order.array(predicted.array), image.grid),
        order=order,
        reference=_reference(folders, name, image, image_path),
    )


def _prediction(folders: Folders, path: Path) -> Volume:
    """Predicted mask as it is stored; without known labels every label is a candidate."""
    if folders.labels is not None:
        return read_prediction(path, folders.labels)[0]
    stored = reader_writer_for(path).read_labels(path)
    return Volume(stored.array != 0, stored.grid)


def _reference(folders: Folders, name: str, image: Volume, image_path: Path) -> Volume | None:
    if folders.references is None or folders.labels is None:
        return None
    path = folders.references / name
    if not path.is_file():
        return None
    return _on_grid_of(image, image_path, read_mask(path, folders.labels.reference), path)


def _on_grid_of(image: Volume, image_path: Path, volume: Volume, path: Path) -> Volume:
    """A volume on exactly the grid of the image, whose voxels its own must be but for rounding."""
    return require_on_grid(volume, path, grid=image.grid, image=image_path, tolerance_mm=GEOMETRY_TOLERANCE_MM)
