"""What voxel values mean, and which are refused, and in which words: the same for files and for images in memory."""

import math
from collections.abc import Set
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Shape

WRITTEN_DTYPES = ("uint8", "uint16", "int16", "int32", "float32")
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""From the world of ITK and DICOM to that of NIfTI, and back."""
AIR_HU = -1024.0
"""Air. Here 12 bits end: darker air, and what lies outside of many a field of view, have exactly this value."""
PADDING_BELOW_HU = -1100.0
"""Air is about -1000; what lies below fills what the scanner did not see (-2000, -3024 and the like)."""
PADDING_ABOVE_HU = 31_000.0
"""The largest HU of the extended scale is 30 710; padding that was stored unsigned lies above: 62 512, 31 743."""
LABEL_TOLERANCE = 1e-3
NUM_LISTED = 5


def find_padding(hu: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Which voxels of a CT are no measurement but fill what the scanner did not see; the same shape."""
    values = np.asarray(hu, np.float32)
    return np.asarray((values < PADDING_BELOW_HU) | (values > PADDING_ABOVE_HU))


def padding_as_air(hu: NDArray[np.generic]) -> NDArray[np.float32]:
    """The same values with air in place of padding; the array itself where there is none."""
    values = np.asarray(hu, np.float32)
    padding = find_padding(values)
    return np.where(padding, np.float32(AIR_HU), values) if padding.any() else values


def measured_values(hu: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values `[voxels]` that a statistic of a CT may count: no padding, and nothing at the end of 12 bits."""
    return hu[~find_padding(hu) & (hu != AIR_HU)]


def refuse_value(source: Path, shape: Shape, fault: tuple[int, float], count: int) -> NoReturn:
    """Raise `DataError` (INT-NONFINITE, INT-RANGE) for the first of `count` wrong voxels: (flat index, value)."""
    index, value = fault
    place = tuple(int(i) for i in np.unravel_index(index, shape))
    code, meaning = ("INT-RANGE", "too large for float32") if math.isfinite(value) else ("INT-NONFINITE", "not finite")
    raise DataError(
        code, f"{source} has {count} voxels that are {meaning}, the first is {value} at [z, y, x] = {place}."
    )


def refuse_unwritable(array: NDArray[np.generic], path: Path) -> None:
    """Raise `DataError` (IO-DTYPE, INT-NONFINITE) for an array that could not be read again."""
    if array.dtype.name not in WRITTEN_DTYPES:
        raise DataError("IO-DTYPE", f"{path}: cannot write {array.dtype.name}, only {', '.join(WRITTEN_DTYPES)}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError("INT-NONFINITE", f"{path}: the array to be written holds values that are not finite")


def whole_numbers(values: NDArray[np.floating]) -> tuple[NDArray[np.int32], Set[float]]:
    """Values within 0.001 of a whole number, rounded; 0 in place of the others, and some of these."""
    rounded = np.rint(values)
    fits = (np.abs(values - rounded) <= LABEL_TOLERANCE) & (np.abs(rounded) <= np.iinfo(np.int32).max)
    others = {float(value) for value in np.unique(values[~fits])[:NUM_LISTED]}
    return np.where(fits, rounded, 0).astype(np.int32), others


def refuse_labels(source: Path, others: Set[float]) -> None:
    """Raise `DataError` (INT-LABELS) if there are values that are no labels."""
    if others:
        listed = ", ".join(f"{value:.6g}" for value in sorted(others)[:NUM_LISTED])
        raise DataError("INT-LABELS", f"{source} holds values that are no labels: {listed}. Store whole numbers.")
