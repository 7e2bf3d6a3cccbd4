"""The kidney of the phantom: a bent, lobulated ellipsoid with cortex, pyramids, sinus fat, renal pelvis and vessels.

Own coordinates (u, v, w) in mm: u along the organ towards its upper pole, v towards the hilum, w across. Left and right
kidneys are mirror images of each other by distribution, never by value.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset_conversion.phantom_shapes import Array, Ellipsoid, Waves, draw_waves, ellipsoid_distance
from nnanomaly.volume import Triple

SINUS_FAT_HU = -75.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kidney:
    """One kidney in world space."""

    organ: str
    """`kidney_left` or `kidney_right`."""
    frame: Ellipsoid
    """Centre, semi-axes and own axes (u, v, w) of the ellipsoid before it is bent."""
    bend_mm: float
    """How far the poles lean towards the hilum."""
    surface: Waves
    """Lobulation of the surface, in units of `lobulation_mm`."""
    lobulation_mm: float
    """Standard deviation of the lobulation."""
    cortex_mm: float
    """Thickness of the cortex."""
    cortex_hu: float
    """Enhancement of the cortex."""
    medulla_hu: float
    """Enhancement of the pyramids."""
    num_pyramids: int
    """Pyramids around the sinus in a coronal section."""
    pyramid_phase: float
    """Where the first pyramid lies, in radians."""
    sinus_scale: float
    """Size of the sinus, 1 on average."""
    pelvis_hu: float
    """Urine in the renal pelvis: water, as dark as a cyst."""
    texture: Waves
    """Slow variation of the enhancement."""

    def local(self, points: Array) -> Array:
        """World points -> (u, v, w), straightened."""
        local = self.frame.local(points)
        local[1] -= np.float32(self.bend_mm) * (
            (local[0] / np.float32(self.frame.semi_axes_mm[0])) ** 2 - np.float32(0.3)
        )
        return local

    def envelope_distance(self, points: Array) -> Array:
        """Signed distance to the outer surface; the hilum is closed."""
        return self._envelope(self.local(points), points)

    def hilum_mm(self) -> Triple:
        """World position where the vessels enter."""
        return self.to_world((0.0, 0.75 * self.frame.semi_axes_mm[1], 0.0))

    def to_world(self, local: Triple) -> Triple:
        """(u, v, w) -> world position (z, y, x)."""
        u, v, w = local
        bent = (u, v + self.bend_mm * ((u / self.frame.semi_axes_mm[0]) ** 2 - 0.3), w)
        world = np.asarray(bent) @ np.asarray(self.frame.axes) + np.asarray(self.frame.center_mm)
        return float(world[0]), float(world[1]), float(world[2])

    def tissue(self, points: Array) -> tuple[Array, Array, Array, Array]:
        """Envelope distance, sinus distance, pelvis distance and parenchyma HU at `points`."""
        local = self.local(points)
        length, width, thickness = self.frame.semi_axes_mm
        envelope = self._envelope(local, points)
        scale = self.sinus_scale
        sinus = _offset_ellipsoid(
            local, 0.8 * width, (0.5 * length * scale, 0.75 * width * scale, 0.42 * thickness * scale)
        )
        pelvis = _offset_ellipsoid(
            local, 0.7 * width, (0.2 * length * scale, 0.4 * width * scale, 0.26 * thickness * scale)
        )
        depth = _smooth_step((-envelope - self.cortex_mm) / 3)
        angle: Array = np.arctan2(local[0] / length, (0.8 * width - local[1]) / (1.8 * width))
        columns = _smooth_step(1.5 * np.cos(2 * self.num_pyramids * angle + self.pyramid_phase) + 0.6)
        hu = self.cortex_hu + (self.medulla_hu - self.cortex_hu) * depth * columns + 5 * self.texture(points)
        return envelope, sinus, pelvis, hu.astype(np.float32)

    def _envelope(self, local: Array, points: Array) -> Array:
        return ellipsoid_distance(local, self.frame.semi_axes_mm) + np.float32(self.lobulation_mm) * self.surface(
            points
        )


def draw_kidney(rng: np.random.Generator, organ: str, *, cortex_hu: float, medulla_hu: float) -> Kidney:
    """A healthy kidney of random size, position, rotation and lobulation; the enhancement is the patient's."""
    mirror = 1.0 if organ == "kidney_left" else -1.0
    size = rng.normal(1, 0.06)
    height = 4.0 if mirror > 0 else -6.0
    center = (height + rng.normal(0, 5), 20 + rng.normal(0, 2.5), mirror * (60 + rng.normal(0, 2.5)))
    semi_axes = tuple(float(axis * size * rng.normal(1, 0.05)) for axis in (46.0, 25.0, 21.0))
    return Kidney(
        organ=organ,
        frame=Ellipsoid(
            center_mm=center, semi_axes_mm=(semi_axes[0], semi_axes[1], semi_axes[2]), axes=_axes(rng, mirror)
        ),
        bend_mm=rng.uniform(5, 10),
        surface=draw_waves(rng, (28.0, 60.0)),
        lobulation_mm=rng.uniform(0.4, 1.1),
        cortex_mm=rng.uniform(5.0, 7.0),
        cortex_hu=cortex_hu + rng.normal(0, 4),
        medulla_hu=medulla_hu + rng.normal(0, 4),
        num_pyramids=int(rng.integers(4, 7)),
        pyramid_phase=rng.uniform(0, 2 * np.pi),
        sinus_scale=rng.normal(1, 0.07),
        pelvis_hu=rng.uniform(5, 25),
        texture=draw_waves(rng, (15.0, 45.0)),
    )


def _axes(rng: np.random.Generator, mirror: float) -> tuple[Triple, Triple, Triple]:
    """Own axes of a kidney: upper pole medial and posterior, hilum medial and anterior."""
    turn, tilt, lean = np.deg2rad([rng.normal(32, 6), rng.normal(12, 3), rng.normal(8, 3)])
    u = np.array([np.cos(tilt) * np.cos(lean), np.sin(lean), -np.sin(tilt)])
    toward_hilum = np.array([0.0, -np.sin(turn), -np.cos(turn)])
    u /= np.linalg.norm(u)
    v = toward_hilum - u * np.dot(u, toward_hilum)
    v /= np.linalg.norm(v)
    rows: NDArray[np.float64] = np.stack([u, v, np.cross(u, v)]) * np.array([1, 1, mirror])
    first, second, third = ((float(z), float(y), float(x)) for z, y, x in rows)
    return first, second, third


def _offset_ellipsoid(local: Array, toward_hilum_mm: float, semi_axes_mm: Triple) -> Array:
    shifted = local - np.array([0, toward_hilum_mm, 0], np.float32).reshape(3, *[1] * (local.ndim - 1))
    return ellipsoid_distance(shifted, semi_axes_mm)


def _smooth_step(value: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """0 below 0, 1 above 1, without a kink between."""
    share = np.clip(value, 0, 1)
    return share * share * (3 - 2 * share)
