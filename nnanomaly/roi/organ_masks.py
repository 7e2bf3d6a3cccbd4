"""The masks of the organs: read, checked against the image's grid, one organ at a time."""

from pathlib import Path

import numpy as np

from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import SAME_GRID_MM, Grid, Volume


def load_organ_mask(path: Path, label: int | None, *, grid: Grid, image: Path) -> Volume:
    """Mask `[1, Z, Y, X]` (uint8, 0 or 1) of an organ, on the grid of `image`.

    `label` is the organ's value in a map of several organs; without one every voxel that is not 0 belongs to it. A mask
    on another grid raises `DataError`.
    """
    mask = reader_writer_for(path).read_labels(path)
    distance = grid.largest_corner_distance_mm(mask.grid)
    if mask.grid.shape != grid.shape or distance > SAME_GRID_MM:
        raise DataError(
            "GEO-PAIR",
            f"{path} (shape {mask.grid.shape}) does not lie on the grid of {image} (shape {grid.shape}): "
            f"corners up to {distance:.4g} mm apart. Make the mask from this image, or resample it onto its grid.",
        )
    organ = mask.array != 0 if label is None else mask.array == label
    return Volume(organ.astype(np.uint8), grid)
