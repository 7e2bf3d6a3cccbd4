"""Scores of the components of nnU-Net's masks, from the probabilities that it saves on request.

`{case}.npz` holds "probabilities" `[labels, Z, Y, X]` on the original grid. A component's score is the largest (or the
mean, median, 95th percentile) sum of the lesion labels' probabilities in it, as in nnDetection's own conversion.
"""

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnanomaly.reordering import Reordering
from nnanomaly.roi.components import Component
from nnanomaly.utilities.errors import DataError

AGGREGATES: dict[str, Callable[[NDArray[np.floating]], float]] = {
    "max": lambda values: float(values.max()),
    "mean": lambda values: float(values.mean()),
    "median": lambda values: float(np.median(values)),
    "percentile95": lambda values: float(np.percentile(values, 95)),
}

MAX_LABELS = 1000
"""Most labels that probabilities are read of."""


def _stored_shape(path: Path) -> tuple[int, ...]:
    """Shape that the header of the probabilities tells; `ValueError` for an array of anything but floats."""
    with zipfile.ZipFile(path) as archive, archive.open("probabilities.npy") as member:
        major = np.lib.format.read_magic(member)[0]
        read_header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(member)
    if dtype.kind != "f" or not shape:
        raise ValueError(f"they are {dtype} of the shape {shape}")
    return tuple(shape)


def read_probability_scores(
    path: Path, values: tuple[int, ...], order: Reordering, *, aggregate: str = "max"
) -> Callable[[Component], float | None]:
    """The score of a component of the mask with the label `values`; `order` is how that mask was reordered.

    Raises `DataError`: PROB-FORM (no such array, another shape), PROB-RANGE (NaN, or outside [0, 1]).
    """
    try:
        shape = _stored_shape(path)
        if shape[1:] != order.shape or shape[0] > MAX_LABELS:  # before anything of that size is read
            raise ValueError(f"the shape is {shape}, must be (labels, *{order.shape})")
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            probabilities = archive["probabilities"]
    except (KeyError, ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            "PROB-FORM", f"{path} has no readable array of probabilities ({error}). Predict with nnU-Net v2 again."
        ) from error
    if probabilities.ndim != 4 or probabilities.shape[1:] != order.shape or probabilities.shape[0] <= max(values):
        raise DataError(
            "PROB-FORM",
            f"{path}: probabilities have the shape {probabilities.shape}, must be (labels, *{order.shape}) with the "
            f"labels {values}. Predict again.",
        )
    chosen = order.array(probabilities[list(values)])
    if not np.isfinite(chosen).all() or chosen.min() < 0 or chosen.max() > 1 + 1e-3:
        raise DataError("PROB-RANGE", f"{path}: probabilities must lie in [0, 1]. Were logits stored?")
    lesion = np.minimum(chosen.sum(axis=0, dtype=np.float64), 1.0)
    return lambda component: AGGREGATES[aggregate](lesion[component.box.slices][component.mask])
