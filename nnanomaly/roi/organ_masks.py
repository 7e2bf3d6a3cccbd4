"""The masks of the organs: read, checked against the image's grid, one organ at a time."""

from pathlib import Path

import numpy as np

from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.reordering import require_on_grid
from nnanomaly.volume import Grid, Volume


def load_organ_mask(path: Path, label: int | None, *, grid: Grid, image: Path) -> Volume:
    """Mask `[1, Z, Y, X]` (uint8, 0 or 1) of an organ, on the grid of `image`.

    `label` is the organ's value in a map of several organs; without one every voxel that is not 0 belongs to it. A mask
    of the same voxels may be stored in another order; one of others raises `DataError` (GEO-PAIR).
    """
    return organ_on_grid(reader_writer_for(path).read_labels(path), path, label, grid=grid, image=image)


def organ_on_grid(mask: Volume, source: Path, label: int | None, *, grid: Grid, image: Path) -> Volume:
    """`load_organ_mask` for a label map that is read; `source` and `image` are what an error calls the two."""
    array = require_on_grid(mask, source, grid=grid, image=image).array
    organ = array != 0 if label is None else array == label
    return Volume(organ.astype(np.uint8), grid)
