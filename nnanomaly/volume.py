"""Volumes in space: an array, and the grid that says where its voxels lie.

Axis order, stated once for the whole package. Arrays are `[C, Z, Y, X]`; a grid describes the last three axes. World
coordinates are millimetres in the order (z, y, x) = (towards superior, towards posterior, towards left), which is
ITK's LPS reversed. On a *canonical* grid (`direction` = identity) array axis 0 therefore runs from inferior to
superior, axis 1 from anterior to posterior and axis 2 from right to left. Files may store their axes in any order
and direction; only `direction` says which, never the position of an axis.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import Between

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Rows = tuple[Triple, Triple, Triple]


@dataclass(frozen=True, slots=True)
class Orthonormal:
    """Rows of a matrix must be of length one and perpendicular, as far as headers store that."""

    def fault(self, value: Rows) -> str | None:
        """What the rows must be, if they are not."""
        matrix = np.asarray(value)
        sound = np.abs(matrix).max() < 2 and np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3)
        return None if sound else "must be the rows of an orthonormal matrix"


Count = Annotated[int, Between(1, 100_000)]
Spacing = Annotated[float, Between(1e-3, 1e3)]
Position = Annotated[float, Between(-1e6, 1e6)]
GridShape = tuple[Count, Count, Count]
GridSpacing = tuple[Spacing, Spacing, Spacing]
GridOrigin = tuple[Position, Position, Position]
GridDirection = Annotated[Rows, Orthonormal()]
"""The four fields of a grid as documents may give them."""
SAME_GRID_MM = 0.01  # headers store float32, so that equal grids differ by some 1e-4 mm


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular grid of voxels: `world = origin_mm + direction @ (spacing_mm * index)`."""

    shape: GridShape
    """Number of voxels along each array axis."""
    spacing_mm: GridSpacing
    """Distance between voxel centres along each array axis."""
    origin_mm: GridOrigin
    """World position (z, y, x) of the centre of voxel (0, 0, 0)."""
    direction: GridDirection = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    """Rows of the orthonormal matrix whose column k is the world direction of array axis k."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4 matrix from homogeneous array index to world (z, y, x) in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin_mm
        return matrix

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    def to_world(self, index: NDArray[np.float64]) -> NDArray[np.float64]:
        """Array indices `[..., 3]` -> world positions `[..., 3]` in mm."""
        return np.asarray(np.asarray(index, dtype=float) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_index(self, world_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """World positions `[..., 3]` in mm -> (fractional) array indices `[..., 3]`."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(np.asarray(world_mm, dtype=float) @ inverse[:3, :3].T + inverse[:3, 3])

    def axis_of(self, world_axis: int) -> int:
        """Array axis that runs most nearly along world axis 0 (z), 1 (y) or 2 (x)."""
        return int(np.argmax(np.abs(np.asarray(self.direction)[world_axis])))

    def crop(self, box: "Box") -> "Grid":
        """Grid of the sub-array `array[box.slices]`; the box may reach beyond the grid."""
        origin = self.to_world(np.asarray(box.start, dtype=float))
        return Grid(box.shape, self.spacing_mm, _triple(origin), self.direction)

    def corners_mm(self) -> NDArray[np.float64]:
        """World positions `[8, 3]` of the outer corners of the corner voxels (half a voxel outside their centres)."""
        ends = [(-0.5, size - 0.5) for size in self.shape]
        return self.to_world(np.array(np.meshgrid(*ends, indexing="ij")).reshape(3, 8).T)

    def largest_corner_distance_mm(self, other: "Grid") -> float:
        """How far apart the corresponding corners of two grids lie at most."""
        return float(np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1).max())


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open ranges of voxel indices: `start <= index < stop` on each array axis."""

    start: Shape
    """First voxel."""
    stop: Shape
    """One behind the last voxel."""

    @property
    def shape(self) -> Shape:
        """Number of voxels along each axis."""
        size = np.subtract(self.stop, self.start)
        return int(size[0]), int(size[1]), int(size[2])

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Slices for the last three axes; only meaningful for a box inside its array."""
        return tuple(slice(lo, hi) for lo, hi in zip(self.start, self.stop, strict=True))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Volume:
    """An array `[C, Z, Y, X]` on a grid."""

    array: NDArray[np.generic]
    grid: Grid

    def __post_init__(self) -> None:
        """Refuse an array that does not fit its grid."""
        if self.array.ndim != 4 or self.array.shape[1:] != self.grid.shape:
            raise DataError(
                "GEO-SHAPE", f"array of shape {self.array.shape} does not lie on a grid of {self.grid.shape}"
            )


def canonical_grid(center_mm: Triple, shape: Shape, spacing_mm: Triple) -> Grid:
    """Grid along the world axes whose middle (between its outer faces) lies at `center_mm`."""
    origin = np.asarray(center_mm) - (np.asarray(shape) - 1) / 2 * np.asarray(spacing_mm)
    return Grid(shape, spacing_mm, _triple(origin))


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
