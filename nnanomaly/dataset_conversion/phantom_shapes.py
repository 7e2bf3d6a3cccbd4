"""Shapes and random fields in world space, and the canvas that they are painted on.

Points are arrays `[3, ...]` of world coordinates (z, y, x) in mm, float32. A shape is a function of points that gives
the signed distance to its surface in mm, negative inside; ellipsoids and what is built from them give it to first
order, `f / |grad f|`, which is exact on the surface. Nothing here knows a voxel but the canvas, so that a patient looks
the same on every grid, whatever its spacing and the order of its axes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Grid, Triple

Array = NDArray[np.float32]
Shape3D = Callable[[Array], Array]
Window = tuple[slice, slice, slice]

_IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ellipsoid:
    """An ellipsoid in world space; a semi-axis of `inf` makes it a cylinder."""

    center_mm: Triple
    """World position (z, y, x) of the centre."""
    semi_axes_mm: Triple
    """Half its length along each of its own axes."""
    axes: tuple[Triple, Triple, Triple] = _IDENTITY
    """Unit vectors (rows) of its own axes in the world."""

    def local(self, points: Array) -> Array:
        """World points -> coordinates along its own axes."""
        return rotate(points - column(self.center_mm, points.ndim), self.axes)

    def distance(self, points: Array) -> Array:
        """Signed distance to the surface, to first order."""
        return ellipsoid_distance(self.local(points), self.semi_axes_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tube:
    """A straight vessel between two points, with rounded ends."""

    start_mm: Triple
    """World position of one end."""
    stop_mm: Triple
    """World position of the other end."""
    radius_mm: float
    """Radius."""

    def distance(self, points: Array) -> Array:
        """Signed distance to the surface."""
        start, stop = np.asarray(self.start_mm, np.float32), np.asarray(self.stop_mm, np.float32)
        along = stop - start
        offset = points - column(self.start_mm, points.ndim)
        share = np.clip(np.tensordot(along, offset, axes=1) / np.dot(along, along), 0, 1)
        nearest = along.reshape(-1, *[1] * (points.ndim - 1)) * share
        return np.sqrt(np.sum((offset - nearest) ** 2, axis=0)) - np.float32(self.radius_mm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waves:
    """A smooth random field: the normalised sum of plane waves of random direction, about N(0, 1) everywhere."""

    wave_vectors: tuple[Triple, ...]
    """Direction and frequency of every wave in rad/mm."""
    phases: tuple[float, ...]
    """Phase of every wave."""

    def __call__(self, points: Array) -> Array:
        """Value of the field at `points`."""
        total = np.zeros(points.shape[1:], np.float32)
        for vector, phase in zip(self.wave_vectors, self.phases, strict=True):
            total += np.cos(np.tensordot(np.asarray(vector, np.float32), points, axes=1) + np.float32(phase))
        return total * np.float32(np.sqrt(2 / len(self.phases)))


def draw_waves(rng: np.random.Generator, wavelength_mm: tuple[float, float], *, count: int = 8) -> Waves:
    """A random field whose structures are of the size `wavelength_mm` (shortest, longest)."""
    directions = rng.normal(size=(count, 3))
    lengths = rng.uniform(*wavelength_mm, size=(count, 1))
    vectors = 2 * np.pi * directions / np.linalg.norm(directions, axis=1, keepdims=True) / lengths
    return Waves(
        wave_vectors=tuple((float(z), float(y), float(x)) for z, y, x in vectors),
        phases=tuple(float(phase) for phase in rng.uniform(0, 2 * np.pi, count)),
    )


def column(values: Triple, ndim: int) -> Array:
    """A vector (z, y, x) in the shape that is added to points of `ndim` dimensions."""
    return np.asarray(values, np.float32).reshape(3, *[1] * (ndim - 1))


def rotate(offsets: Array, axes: Sequence[Triple]) -> Array:
    """Coordinates of `offsets` along the unit vectors `axes` (rows)."""
    result: Array = np.tensordot(np.asarray(axes, np.float32), offsets, axes=1)
    return result


def ellipsoid_distance(local: Array, semi_axes_mm: Triple) -> Array:
    """Signed distance of `local` points to an ellipsoid at the origin: `(r - 1) r / |x / a^2|` with `r = |x / a|`."""
    scaled = local / column(semi_axes_mm, local.ndim)
    radius = np.sqrt(np.sum(scaled**2, axis=0))
    slope = np.sqrt(np.sum((scaled / column(semi_axes_mm, local.ndim)) ** 2, axis=0))
    return (radius - 1) * radius / np.maximum(slope, 1e-6)


class Canvas:
    """An image in HU on a grid; shapes are painted one over the other, with partial volumes at their edges."""

    def __init__(self, grid: Grid, *, background: float) -> None:
        """An image of `background` on `grid`."""
        index = np.moveaxis(np.indices(grid.shape, dtype=np.float64), 0, -1)
        self.grid = grid
        self.points: Array = np.ascontiguousarray(np.moveaxis(grid.to_world(index), -1, 0), dtype=np.float32)
        self.image: Array = np.full(grid.shape, background, np.float32)
        self.edge_mm = float(np.mean(grid.spacing_mm))

    @property
    def everywhere(self) -> Window:
        """The window of all voxels."""
        return slice(None), slice(None), slice(None)

    def window(self, center_mm: Triple, reach_mm: Triple) -> Window:
        """The voxels of the smallest box that holds the world box `center_mm` +- `reach_mm`, as far as they exist."""
        corners = np.asarray(center_mm) + np.asarray(reach_mm) * np.array(np.meshgrid(*[(-1, 1)] * 3)).reshape(3, 8).T
        index = self.grid.to_index(corners)
        start, stop = np.floor(index.min(axis=0)), np.ceil(index.max(axis=0)) + 1
        first, second, third = (
            slice(int(np.clip(low, 0, size)), int(np.clip(high, 0, size)))
            for low, high, size in zip(start, stop, self.grid.shape, strict=True)
        )
        return first, second, third

    def points_in(self, window: Window) -> Array:
        """World points `[3, ...]` of a window."""
        return self.points[(slice(None), *window)]

    def occupancy(self, distance: Array) -> Array:
        """Share of a voxel that lies inside a surface at signed `distance` from its centre."""
        return np.clip(np.float32(0.5) - distance / np.float32(self.edge_mm), 0, 1)

    def paint(self, window: Window, occupancy: Array, value: Array | float) -> None:
        """Replace the share `occupancy` of the voxels of a window by `value`."""
        view = self.image[window]
        view += occupancy * (np.asarray(value, np.float32) - view)

    def paint_ellipsoid(self, shape: Ellipsoid, value: float, *, inside: Shape3D | None = None) -> None:
        """Paint an ellipsoid of uniform HU, cut off at the surface of `inside` if given."""
        reach = float(min(max(shape.semi_axes_mm), 1e4)) + 2 * self.edge_mm
        window = self.window(shape.center_mm, (reach, reach, reach))
        points = self.points_in(window)
        distance = shape.distance(points)
        self.paint(window, self.occupancy(distance if inside is None else np.maximum(distance, inside(points))), value)

    def paint_tube(self, shape: Tube, value: float) -> None:
        """Paint a vessel of uniform HU."""
        ends = np.array([shape.start_mm, shape.stop_mm])
        middle, reach = ends.mean(axis=0), np.ptp(ends, axis=0) / 2 + shape.radius_mm + 2 * self.edge_mm
        window = self.window(_triple(middle), _triple(reach))
        self.paint(window, self.occupancy(shape.distance(self.points_in(window))), value)


def _triple(values: NDArray[np.float64]) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
