"""Lesions of the phantom's kidneys: cysts, solid and hyperdense masses, inside, across or outside the surface.

A lesion is a lobulated ellipsoid. Its place is drawn around the surface of the kidney away from the hilum, so that it
never floats free of the organ, and is drawn again when it would leave the abdominal cavity or meet another lesion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.dataset_conversion.phantom_anatomy import FAT_HU, Patient
from nnanomaly.dataset_conversion.phantom_kidney import Kidney
from nnanomaly.dataset_conversion.phantom_shapes import Array, Canvas, Ellipsoid, Waves, draw_waves
from nnanomaly.volume import Triple

CYST, SOLID, HYPERDENSE = "cyst", "solid", "hyperdense"
KINDS, KIND_SHARES = (CYST, SOLID, HYPERDENSE), (0.45, 0.42, 0.13)
PLACES = {"endophytic": (-0.9, -0.5), "straddling": (-0.3, 0.15), "exophytic": (0.3, 0.55)}
"""Range of the distance of the centre outside the kidney's surface, in radii."""
_FAT_RIM_MM = 4.0
_ATTEMPTS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesion:
    """One lesion in world space."""

    organ: str
    """Organ that it grows from."""
    kind: str
    """`cyst`, `solid` or `hyperdense`."""
    place: str
    """`endophytic`, `straddling` or `exophytic`."""
    shape: Ellipsoid
    """Centre, semi-axes and own axes."""
    hu: float
    """Mean enhancement."""
    heterogeneity_hu: float
    """Standard deviation of its inner texture."""
    necrosis: bool
    """Whether its middle is necrotic."""
    texture: Waves
    """Inner texture; also shapes the surface a little."""

    @property
    def diameter_mm(self) -> float:
        """Largest diameter."""
        return 2 * max(self.shape.semi_axes_mm)

    def distance(self, points: Array) -> Array:
        """Signed distance to the surface."""
        uneven = 0.0 if self.kind == CYST else 0.05 * self.diameter_mm / 2
        return self.shape.distance(points) + np.float32(uneven) * self.texture(points)


def draw_lesions(
    rng: np.random.Generator, patient: Patient, kidney: Kidney, *, diameters_mm: Sequence[float]
) -> list[Lesion]:
    """One lesion of each diameter in `kidney`, apart from each other."""
    lesions: list[Lesion] = []
    for diameter in sorted(diameters_mm, reverse=True):
        lesions.append(_draw_lesion(rng, patient, kidney, diameter=diameter, others=tuple(lesions)))
    return lesions


def paint_lesion(canvas: Canvas, lesion: Lesion, kidney: Kidney) -> None:
    """Paint a lesion; where it leaves `kidney`, a rim of fat parts it from its neighbours."""
    window = lesion_window(canvas, lesion)
    points = canvas.points_in(window)
    distance = lesion.distance(points)
    rim = np.maximum(distance - np.float32(_FAT_RIM_MM), -kidney.envelope_distance(points))
    canvas.paint(window, canvas.occupancy(rim), FAT_HU)
    hu = lesion.hu + lesion.heterogeneity_hu * lesion.texture(points)
    if lesion.necrosis:
        hu = np.where(distance < -0.5 * lesion.diameter_mm / 2, 25, hu)
    canvas.paint(window, canvas.occupancy(distance), hu.astype(np.float32))


def lesion_window(canvas: Canvas, lesion: Lesion) -> tuple[slice, slice, slice]:
    """The voxels that a lesion can touch."""
    reach = 0.6 * lesion.diameter_mm + _FAT_RIM_MM + 2 * canvas.edge_mm
    return canvas.window(lesion.shape.center_mm, (reach, reach, reach))


def _draw_lesion(
    rng: np.random.Generator, patient: Patient, kidney: Kidney, *, diameter: float, others: tuple[Lesion, ...]
) -> Lesion:
    kind = str(rng.choice(KINDS, p=KIND_SHARES))
    place = str(rng.choice(list(PLACES)))
    parenchyma = (kidney.cortex_hu + kidney.medulla_hu) / 2
    hu = {
        CYST: rng.uniform(2, 18),
        SOLID: parenchyma - rng.uniform(40, 90),
        HYPERDENSE: parenchyma + rng.uniform(45, 80),
    }
    longest = diameter / 2
    semi_axes = (longest, longest * rng.uniform(0.85, 1), longest * rng.uniform(0.85, 1))
    return Lesion(
        organ=kidney.organ,
        kind=kind,
        place=place,
        shape=Ellipsoid(
            center_mm=_draw_center(rng, patient, kidney, radius=longest, place=place, others=others),
            semi_axes_mm=semi_axes,
            axes=kidney.frame.axes,
        ),
        hu=hu[kind],
        heterogeneity_hu=1.0 if kind == CYST else rng.uniform(4, 10),
        necrosis=kind == SOLID and diameter > 24 and bool(rng.random() < 0.5),
        texture=draw_waves(rng, (0.35 * diameter + 3, diameter + 6)),
    )


def _draw_center(
    rng: np.random.Generator, patient: Patient, kidney: Kidney, *, radius: float, place: str, others: tuple[Lesion, ...]
) -> Triple:
    """The first of some random places with room for the lesion, else the one with most room."""
    best, most_room = kidney.frame.center_mm, -np.inf
    for _ in range(_ATTEMPTS):
        center = _place_on_kidney(rng, kidney, offset=radius * rng.uniform(*PLACES[place]))
        point = np.asarray(center, np.float32).reshape(3, 1)
        room = -float(patient.cavity_distance(point)[0]) - radius
        for other in others:
            room = min(
                room, float(np.linalg.norm(np.subtract(center, other.shape.center_mm))) - radius - other.diameter_mm / 2
            )
        if room > most_room:
            best, most_room = center, room
        if room >= 3:
            break
    return best


def _place_on_kidney(rng: np.random.Generator, kidney: Kidney, *, offset: float) -> Triple:
    """A random point `offset` mm outside the kidney's surface, on the side away from the hilum."""
    height, angle = rng.uniform(-0.9, 0.9), np.deg2rad(rng.uniform(-105, 105))
    ring = np.sqrt(1 - height**2)
    unit = np.array([height, -ring * np.cos(angle), ring * np.sin(angle)])
    semi_axes = np.asarray(kidney.frame.semi_axes_mm)
    normal = unit / semi_axes
    u, v, w = unit * semi_axes + offset * normal / np.linalg.norm(normal)
    return kidney.to_world((float(u), float(v), float(w)))
