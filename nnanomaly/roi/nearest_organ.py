"""Which organ a candidate or lesion belongs to: the one whose patches have their middle nearest to it.

The same rule for a prediction, its evaluation and its report; it needs no mask, so that it can be asked of a finished
prediction. World positions are (z, y, x) in mm.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Grid


def patch_centers(patches: Iterable[tuple[str, Grid]]) -> dict[str, tuple[float, ...]]:
    """Middle of all patches of every organ, from (organ, grid of a patch)."""
    corners: dict[str, list[NDArray[np.float64]]] = {}
    for organ, grid in patches:
        corners.setdefault(organ, []).append(grid.corners_mm())
    return {organ: tuple(np.concatenate(found).mean(axis=0).tolist()) for organ, found in corners.items()}


def nearest_organ(center_mm: Sequence[float], centers: Mapping[str, Sequence[float]]) -> str:
    """The organ whose middle is nearest to a world position; `centers` must name one."""
    return min(centers, key=lambda organ: math.dist(centers[organ], center_mm))
