"""An organ patch: the part of a scan that the networks look at, on a grid of its own."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nnanomaly.distance import signed_distance_mm
from nnanomaly.volume import Grid

Kind = TypeVar("Kind", bound="Patch")
IMAGE, ORGAN, COVERAGE = 0, 1, 2
"""Channels of a patch."""


@dataclass(frozen=True, kw_only=True, eq=False)  # no slots: what is computed once is kept
class Patch:
    """One organ of one case, or one tile of it."""

    name: str
    """What tables and files call it; unique in a dataset."""
    case: str
    """Case id."""
    organ: str
    """Organ name."""
    array: NDArray[np.floating]
    """`[3, Z, Y, X]`: image in [-1, 1], organ mask in [0, 1], coverage 0 or 1."""
    grid: Grid
    """Where its voxels lie."""

    @property
    def image(self) -> NDArray[np.float32]:
        """`[Z, Y, X]` in [-1, 1]."""
        return np.asarray(self.array[IMAGE], dtype=np.float32)

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """`[Z, Y, X]`, the voxels of the organ."""
        return np.asarray(self.array[ORGAN]) > 0.5

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """`[Z, Y, X]`, where the scan says something."""
        return np.asarray(self.array[COVERAGE]) > 0.5

    @cached_property
    def distance_mm(self) -> NDArray[np.float32]:
        """`[Z, Y, X]`, signed distance to the surface of the organ, negative inside."""
        return signed_distance_mm(self.inside, self.grid.spacing_mm)

    def with_array(self: Kind, array: NDArray[np.floating]) -> Kind:
        """The same place with other voxels."""
        return replace(self, array=array)
