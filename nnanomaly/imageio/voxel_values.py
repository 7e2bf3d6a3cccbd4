"""What voxel values are refused, and in which words: the same for files and for images in memory."""

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
LABEL_TOLERANCE = 1e-3
NUM_LISTED = 5


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
