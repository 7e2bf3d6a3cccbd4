"""The tilt of a gantry taken out: slices that lie sheared upon each other are shifted onto straight ones."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nnanomaly.dicom.padding import PADDING_HU
from nnanomaly.volume import Grid

LEAST_WEIGHT = 1e-4
"""Share of padding in an interpolated value from which on it is padding: less is rounding, worth 0.3 HU at most."""


def straighten(
    array: NDArray[np.generic], grid: Grid, drift_mm: tuple[float, float]
) -> tuple[NDArray[np.float32], Grid]:
    """Shift slice k of `[Z, Y, X]` (HU) by k times the drift (y, x) and return it with its grid, which is larger.

    Values are interpolated linearly within the slices; where no slice reaches lies padding. So does it where a value
    would be a mixture of scan and padding. The new grid holds all of every slice, and its voxels in the first slice
    are the old ones.
    """
    drift = np.asarray(drift_mm) / grid.spacing_mm[1:]
    total = drift * (array.shape[0] - 1)
    before = [math.ceil(max(0.0, -value)) for value in total]
    after = [math.ceil(max(0.0, value)) for value in total]
    shape = tuple(size + low + high for size, low, high in zip(array.shape[1:], before, after, strict=True))
    straight = np.empty((array.shape[0], *shape), np.float32)
    for number, plane in enumerate(array):
        straight[number] = _shifted(plane.astype(np.float32), -np.asarray(before) - number * drift, shape)
    origin = grid.to_world(np.array([0.0, -before[0], -before[1]]))
    return straight, Grid(
        (straight.shape[0], straight.shape[1], straight.shape[2]),
        grid.spacing_mm,
        (float(origin[0]), float(origin[1]), float(origin[2])),
        grid.direction,
    )


def _shifted(plane: NDArray[np.float32], offset: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`[Y, X]` read at its indices plus `offset`, padding kept apart from the scan."""
    shifted = np.empty(shape, np.float32)
    ndimage.affine_transform(plane, np.eye(2), offset, output=shifted, order=1, cval=PADDING_HU)
    padding = plane == PADDING_HU
    if padding.any():
        share = np.empty(shape, np.float32)
        ndimage.affine_transform(padding.astype(np.float32), np.eye(2), offset, output=share, order=1, cval=1.0)
        shifted[share > LEAST_WEIGHT] = PADDING_HU
    return shifted
