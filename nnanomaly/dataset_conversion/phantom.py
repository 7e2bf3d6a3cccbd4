"""One case of the phantom: rendered CT with two kidneys, their masks, and lesions whose outline is known.

It is a toy: geometry and noise look like CT, but no number measured on it says anything about patients. Its purpose
is to run the whole program in minutes and to test it where the truth is known. Healthy kidneys hold dark things too
(sinus fat, urine, pyramids), and masks have the faults of a fast segmentation network: blocks of 3 mm, an outline that
is a little off, large lesions left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nnanomaly.dataset_conversion.phantom_anatomy import (
    AIR_HU,
    ORGANS,
    Patient,
    draw_patient,
    paint_kidney,
    paint_torso,
)
from nnanomaly.dataset_conversion.phantom_kidney import Kidney
from nnanomaly.dataset_conversion.phantom_lesions import CYST, Lesion, draw_lesions, lesion_window, paint_lesion
from nnanomaly.dataset_conversion.phantom_shapes import Canvas, Waves, draw_waves
from nnanomaly.volume import Grid, Triple, Volume

LABELS = {"background": 0, "kidney": 1, "tumor": 2, "cyst": 3}
LESION_LABELS = ("tumor", "cyst")
HU_RANGE = (-1024, 3071)
_MASK_BLOCK_MM = 3.0
_MASK_ERROR_MM = 0.8
_LEFT_OUT_FROM_MM = 15.0
_LEFT_OUT_DEPTH_MM = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomSettings:
    """What the cases of a phantom have in common."""

    spacing_mm: Triple = (3.0, 3.0, 3.0)
    """Voxel size (z, y, x) of the scans."""
    field_of_view_mm: Triple = (150.0, 186.0, 252.0)
    """Extent (z, y, x) of the scans."""
    noise_hu: float = 9.0
    """Standard deviation of the noise."""
    noise_width: float = 0.6
    """Width of the noise's correlation (standard deviation of a Gaussian) in voxels."""
    cortex_hu: tuple[float, float] = (160.0, 195.0)
    """Range of the patients' cortical enhancement."""
    medulla_contrast_hu: tuple[float, float] = (15.0, 50.0)
    """Range of the difference between cortex and pyramids."""
    lesion_diameter_mm: tuple[float, float] = (8.0, 40.0)
    """Range of the lesions' largest diameters; every part of it is met equally often."""
    unhealthy_share: float = 0.4
    """Share of the organs with lesions."""
    second_lesion_share: float = 0.25
    """Share of the unhealthy organs with a second lesion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomCase:
    """One rendered scan and everything that is known about it, all on one grid."""

    image: Volume
    """int16, HU."""
    labels: Volume
    """uint8 with the values of `LABELS`."""
    organ_masks: dict[str, Volume]
    """uint8, 0 and 1: what a fast segmentation network would give."""
    patient: Patient
    """The anatomy."""
    lesions: tuple[Lesion, ...]
    """All lesions."""

    @property
    def organ_labels(self) -> dict[str, str]:
        """`healthy` or `unhealthy` for every organ."""
        unhealthy = {lesion.organ for lesion in self.lesions}
        return {organ: "unhealthy" if organ in unhealthy else "healthy" for organ in self.organ_masks}


def render_case(
    rng: np.random.Generator, settings: PhantomSettings, *, grid: Grid, diameters_mm: Mapping[str, Sequence[float]]
) -> PhantomCase:
    """A random patient with lesions of the given diameters in the organs named, seen on `grid`.

    The same generator state gives the same patient on every grid; only the noise differs from voxel to voxel.
    """
    patient = draw_patient(rng, cortex_hu=settings.cortex_hu, medulla_contrast_hu=settings.medulla_contrast_hu)
    lesions = [
        lesion
        for kidney in patient.kidneys
        for lesion in draw_lesions(rng, patient, kidney, diameters_mm=diameters_mm.get(kidney.organ, ()))
    ]
    outlines = {organ: draw_waves(rng, (20.0, 50.0)) for organ in ORGANS}
    canvas = Canvas(grid, background=AIR_HU)
    paint_torso(canvas, patient)
    for kidney in patient.kidneys:
        paint_kidney(canvas, kidney, blood_hu=patient.blood_hu)
        for lesion in lesions:
            if lesion.organ == kidney.organ:
                paint_lesion(canvas, lesion, kidney)
    noisy = canvas.image + _noise(rng, settings, grid)
    image = np.clip(np.rint(noisy), *HU_RANGE).astype(np.int16)
    masks = {kidney.organ: _organ_mask(canvas, kidney, lesions, outlines[kidney.organ]) for kidney in patient.kidneys}
    return PhantomCase(
        image=Volume(image[None], grid),
        labels=Volume(_label_map(canvas, patient, lesions)[None], grid),
        organ_masks={organ: Volume(mask[None], grid) for organ, mask in masks.items()},
        patient=patient,
        lesions=tuple(lesions),
    )


def _noise(rng: np.random.Generator, settings: PhantomSettings, grid: Grid) -> NDArray[np.float32]:
    """Correlated Gaussian noise of standard deviation `noise_hu`."""
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    smooth = gaussian_filter(white, settings.noise_width)
    return (smooth * np.float32(settings.noise_hu / max(float(smooth.std()), 1e-6))).astype(np.float32)


def _label_map(canvas: Canvas, patient: Patient, lesions: Sequence[Lesion]) -> NDArray[np.uint8]:
    """Voxels whose centre lies in parenchyma, tumour or cyst."""
    labels = np.zeros(canvas.grid.shape, np.uint8)
    for kidney in patient.kidneys:
        window = canvas.window(kidney.frame.center_mm, _reach(kidney))
        envelope, sinus, _, _ = kidney.tissue(canvas.points_in(window))
        labels[window][(envelope < 0) & (sinus > 0)] = LABELS["kidney"]
    for lesion in lesions:
        window = lesion_window(canvas, lesion)
        value = LABELS["cyst" if lesion.kind == CYST else "tumor"]
        labels[window][lesion.distance(canvas.points_in(window)) < 0] = value
    return labels


def _organ_mask(canvas: Canvas, kidney: Kidney, lesions: Sequence[Lesion], outline: Waves) -> NDArray[np.uint8]:
    """The parenchyma as a fast segmentation network sees it."""
    mask = np.zeros(canvas.grid.shape, np.uint8)
    window = canvas.window(kidney.frame.center_mm, _reach(kidney))
    points = canvas.points_in(window)
    envelope, sinus, _, _ = kidney.tissue(points)
    mask[window] = (envelope + np.float32(_MASK_ERROR_MM) * outline(points) < 0) & (sinus > 0)
    for lesion in lesions:
        if lesion.organ == kidney.organ and lesion.diameter_mm > _LEFT_OUT_FROM_MM:
            around = lesion_window(canvas, lesion)
            mask[around][lesion.distance(canvas.points_in(around)) < -_LEFT_OUT_DEPTH_MM] = 0
    return mask[
        np.ix_(
            *(_block_centers(size, spacing) for size, spacing in zip(mask.shape, canvas.grid.spacing_mm, strict=True))
        )
    ]


def _block_centers(size: int, spacing_mm: float) -> NDArray[np.intp]:
    """For every index along an axis, the index nearest to the middle of its 3 mm block."""
    length = max(1, round(_MASK_BLOCK_MM / spacing_mm))
    return np.minimum(np.arange(size) // length * length + length // 2, size - 1)


def _reach(kidney: Kidney) -> Triple:
    reach = max(kidney.frame.semi_axes_mm) + kidney.bend_mm + 6 * kidney.lobulation_mm
    return reach, reach, reach
