"""The patient of the phantom: a torso around two kidneys, drawn at random and painted onto a canvas.

World origin: the middle of the torso at the height of the kidneys. The anatomy of a patient does not depend on what
is wrong with the kidneys, so that healthy and unhealthy organs have the same surroundings.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from nnanomaly.dataset_conversion.phantom_kidney import SINUS_FAT_HU, Kidney, draw_kidney
from nnanomaly.dataset_conversion.phantom_shapes import Array, Canvas, Ellipsoid, Tube, Waves, draw_waves
from nnanomaly.volume import Triple

ORGANS = ("kidney_left", "kidney_right")
AIR_HU, FAT_HU, MUSCLE_HU = -1000.0, -100.0, 55.0
PERIRENAL_FAT_MM = 7.0
_ENDLESS = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Everything about a patient but the lesions."""

    body: Ellipsoid
    """Skin."""
    rim_mm: float
    """Thickness of the fat under the skin."""
    wall_mm: float
    """Thickness of the muscles under that fat."""
    blood_hu: float
    """Enhancement of the large vessels."""
    liver_hu: float
    """Enhancement of the liver."""
    spleen_hu: float
    """Enhancement of the spleen."""
    shift_mm: Triple
    """Displacement of the upper abdominal organs."""
    bowel: tuple[tuple[Ellipsoid, float], ...]
    """Loops with the HU of their content."""
    disc_phase_mm: float
    """Height of the first intervertebral disc."""
    texture: Waves
    """Slow variation of all soft tissue."""
    folds: Waves
    """Field whose zero lines are small vessels in the liver and in the fat."""
    kidneys: tuple[Kidney, ...]
    """Left, right."""

    def cavity_distance(self, points: Array) -> Array:
        """Signed distance to the inner surface of the abdominal wall."""
        return self.body.distance(points) + np.float32(self.rim_mm + self.wall_mm)


def draw_patient(
    rng: np.random.Generator, *, cortex_hu: tuple[float, float], medulla_contrast_hu: tuple[float, float]
) -> Patient:
    """A patient of random build and contrast phase; ranges are (lowest, highest) of the patients."""
    cortex = rng.uniform(*cortex_hu)
    medulla = cortex - rng.uniform(*medulla_contrast_hu)
    return Patient(
        body=Ellipsoid(center_mm=(0, 0, 0), semi_axes_mm=(_ENDLESS, rng.uniform(80, 86), rng.uniform(113, 119))),
        rim_mm=rng.uniform(6, 11),
        wall_mm=rng.uniform(8, 11),
        blood_hu=cortex + rng.uniform(-35, 5),
        liver_hu=rng.uniform(95, 120),
        spleen_hu=rng.uniform(110, 135),
        shift_mm=(rng.normal(0, 5), rng.normal(0, 2), rng.normal(0, 2)),
        bowel=tuple(_draw_loop(rng) for _ in range(24)),
        disc_phase_mm=rng.uniform(0, 32),
        texture=draw_waves(rng, (14.0, 50.0)),
        folds=draw_waves(rng, (22.0, 55.0)),
        kidneys=tuple(draw_kidney(rng, organ, cortex_hu=cortex, medulla_hu=medulla) for organ in ORGANS),
    )


def _draw_loop(rng: np.random.Generator) -> tuple[Ellipsoid, float]:
    center = (rng.uniform(-80, 20), rng.uniform(-50, -8), rng.uniform(-75, 75))
    semi_axes = (rng.uniform(10, 17), rng.uniform(10, 15), rng.uniform(12, 30))
    return Ellipsoid(center_mm=center, semi_axes_mm=semi_axes), float(rng.choice([25.0, 35.0, -350.0, 190.0]))


def paint_torso(canvas: Canvas, patient: Patient) -> None:
    """Paint everything but the kidneys."""
    window, points = canvas.everywhere, canvas.points
    skin = patient.body.distance(points)
    canvas.paint(window, canvas.occupancy(skin), FAT_HU)
    wall = np.abs(skin + np.float32(patient.rim_mm + patient.wall_mm / 2)) - np.float32(patient.wall_mm / 2)
    canvas.paint(window, canvas.occupancy(wall), MUSCLE_HU)
    canvas.paint(window, canvas.occupancy(_ribs(skin + np.float32(patient.rim_mm + 3), points)), 320)
    _paint_vessels_in_fat(canvas, patient, skin)
    _paint_organs(canvas, patient)
    _paint_back(canvas, patient)
    _paint_great_vessels(canvas, patient)
    soft = (canvas.image > -150) & (canvas.image < 260)
    canvas.image += np.where(soft, 5 * patient.texture(points), 0).astype(np.float32)


def paint_kidney(canvas: Canvas, kidney: Kidney, *, blood_hu: float) -> None:
    """Paint a healthy kidney with the fat around it, its sinus, pelvis and vessels."""
    reach = max(kidney.frame.semi_axes_mm) + kidney.bend_mm + 2 * PERIRENAL_FAT_MM
    window = canvas.window(kidney.frame.center_mm, (reach, reach, reach))
    points = canvas.points_in(window)
    envelope, sinus, pelvis, hu = kidney.tissue(points)
    fat = FAT_HU + 8 * kidney.texture(points)
    canvas.paint(window, canvas.occupancy(envelope - PERIRENAL_FAT_MM), fat)
    _paint_hilum(canvas, kidney, blood_hu)
    canvas.paint(window, canvas.occupancy(envelope), hu)
    canvas.paint(window, canvas.occupancy(np.maximum(sinus, envelope - 2)), SINUS_FAT_HU)
    canvas.paint(window, canvas.occupancy(np.maximum(pelvis, envelope - 3)), kidney.pelvis_hu)
    for along in (-0.2, 0.2):  # segmental vessels cross the sinus
        length, width, _ = kidney.frame.semi_axes_mm
        inner = kidney.to_world((along * length, 0.25 * width, 0))
        canvas.paint_tube(Tube(start_mm=kidney.hilum_mm(), stop_mm=inner, radius_mm=2.2), blood_hu)


def _paint_hilum(canvas: Canvas, kidney: Kidney, blood_hu: float) -> None:
    """Renal artery and vein, towards the great vessels."""
    hilum = kidney.hilum_mm()
    side = 1.0 if kidney.organ == "kidney_left" else -1.0
    for radius, height in ((4.5, 3.0), (3.0, -5.0)):
        target = (hilum[0] + height + 4, hilum[1] - 6, side * 14.0)
        canvas.paint_tube(Tube(start_mm=hilum, stop_mm=target, radius_mm=radius), blood_hu)


def _paint_vessels_in_fat(canvas: Canvas, patient: Patient, skin: Array) -> None:
    """Strands of small vessels in the abdominal fat."""
    cavity = skin + np.float32(patient.rim_mm + patient.wall_mm + 3)
    strands = np.abs(patient.folds(canvas.points)) * 12 - 0.8
    canvas.paint(canvas.everywhere, 0.6 * canvas.occupancy(np.maximum(strands, cavity)), 60)


def _paint_organs(canvas: Canvas, patient: Patient) -> None:
    """Liver, spleen, stomach, bowel and colon, all inside the abdominal wall."""
    inside = patient.cavity_distance
    up, back, left = patient.shift_mm
    liver = Ellipsoid(center_mm=(66 + up, -14 + back, -58 + left), semi_axes_mm=(48, 48, 50))
    spleen = Ellipsoid(center_mm=(68 + up, 20 + back, 80 + left), semi_axes_mm=(34, 26, 18))
    stomach = Ellipsoid(center_mm=(62 + up, -30 + back, 40 + left), semi_axes_mm=(30, 24, 34))
    canvas.paint_ellipsoid(stomach, MUSCLE_HU + 15, inside=inside)
    canvas.paint_ellipsoid(_shrunk(stomach, 4), 20, inside=inside)
    for loop, content in patient.bowel:
        canvas.paint_ellipsoid(loop, MUSCLE_HU + 20, inside=inside)
        canvas.paint_ellipsoid(_shrunk(loop, 3.5), content, inside=inside)
    for side, content in ((1, -60.0), (-1, 15.0)):
        colon = Ellipsoid(center_mm=(-62, 6, side * 84.0), semi_axes_mm=(50, 13, 13))
        canvas.paint_ellipsoid(colon, MUSCLE_HU + 15, inside=inside)
        canvas.paint_ellipsoid(_shrunk(colon, 3.5), content, inside=inside)
    canvas.paint_ellipsoid(spleen, patient.spleen_hu, inside=inside)
    canvas.paint_ellipsoid(liver, patient.liver_hu, inside=inside)
    veins = partial(_liver_veins, patient=patient, liver=liver)
    canvas.paint_ellipsoid(liver, patient.liver_hu + 45, inside=veins)


def _liver_veins(points: Array, *, patient: Patient, liver: Ellipsoid) -> Array:
    deep = np.maximum(patient.cavity_distance(points), liver.distance(points)) + 5
    return np.maximum(np.abs(patient.folds(points)) * 12 - np.float32(1.8), deep)


def _paint_back(canvas: Canvas, patient: Patient) -> None:
    """Psoas and back muscles, vertebrae with discs, spinal canal."""
    for side in (-1, 1):
        psoas = Ellipsoid(center_mm=(0, 37, side * 27.0), semi_axes_mm=(_ENDLESS, 13, 10))
        erector = Ellipsoid(center_mm=(0, 64, side * 24.0), semi_axes_mm=(_ENDLESS, 11, 21))
        canvas.paint_ellipsoid(psoas, MUSCLE_HU)
        canvas.paint_ellipsoid(erector, MUSCLE_HU - 5)
    column = Ellipsoid(center_mm=(0, 44, 0), semi_axes_mm=(_ENDLESS, 14, 19))
    points = canvas.points
    edge = column.distance(points)
    height = np.abs((points[0] - np.float32(patient.disc_phase_mm)) % 32 - 16)  # 16 in the middle of a disc
    disc = height - 12
    canvas.paint(canvas.everywhere, canvas.occupancy(edge), 380)
    canvas.paint(canvas.everywhere, canvas.occupancy(np.maximum(edge + 2.5, disc + 2)), 190)
    canvas.paint(canvas.everywhere, canvas.occupancy(np.maximum(edge, -disc)), 85)
    arch = Ellipsoid(center_mm=(0, 61, 0), semi_axes_mm=(_ENDLESS, 13, 12))
    canvas.paint_ellipsoid(arch, 330)
    canvas.paint_ellipsoid(Ellipsoid(center_mm=(0, 61, 0), semi_axes_mm=(_ENDLESS, 8, 9)), 25)


def _paint_great_vessels(canvas: Canvas, patient: Patient) -> None:
    aorta = Ellipsoid(center_mm=(0, 19, 8), semi_axes_mm=(_ENDLESS, 9, 9))
    cava = Ellipsoid(center_mm=(0, 17, -15), semi_axes_mm=(_ENDLESS, 8, 11))
    canvas.paint_ellipsoid(aorta, patient.blood_hu + 10)
    canvas.paint_ellipsoid(cava, patient.blood_hu - 25)


def _ribs(middle: Array, points: Array) -> Array:
    """Signed distance to slanting ribs in the wall, above the kidneys' lower poles."""
    z, y, x = points
    height = np.abs((z + np.float32(0.45) * np.abs(x) - np.float32(0.35) * y) % 30 - 15)
    return np.maximum(np.maximum(np.abs(middle) - 4, height - 4.5), -30 - z)


def _shrunk(shape: Ellipsoid, wall_mm: float) -> Ellipsoid:
    first, second, third = (axis - wall_mm for axis in shape.semi_axes_mm)
    return Ellipsoid(center_mm=shape.center_mm, semi_axes_mm=(first, second, third), axes=shape.axes)
