"""From an anomaly map to a mask and scored candidates (METHOD 5.3 to 5.5)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold, threshold_otsu

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.plans import InferencePlan
from nnanomaly.roi.components import Component, find_components
from nnanomaly.roi.lesion_size import axial_diameter_mm, equivalent_diameter_mm
from nnanomaly.volume import Box, Grid, Shape, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One connected component of the mask."""

    box: Box
    """Bounding box in voxels."""
    center_mm: Triple
    """World position (z, y, x) of the centroid."""
    num_voxels: int
    """Voxels."""
    volume_mm3: float
    """Volume."""
    equivalent_diameter_mm: float
    """Diameter of the sphere of that volume."""
    axial_diameter_mm: float
    """Greatest diameter in an axial slice, as one reads it on a scan and as the evaluation bins sizes."""
    score: float
    """95th percentile of the anomaly map in the component, or its probability where the plan reduces candidates."""
    score_max: float
    """Maximum of the anomaly map in the component."""
    score_mean: float
    """Mean of the anomaly map in the component."""
    score_spread: float | None = None
    """Standard deviation, over the samples of the noise, of the 95th percentile of the map that each alone gives;
    None where the reconstruction is one sample."""
    organ: str | None = None
    """The organ whose patches have their middle nearest; None before patches are composed."""


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate and its voxels."""

    candidate: Candidate
    """What is told of it."""
    component: Component
    """Where it is."""


def otsu_threshold(anomaly: FloatArray, coverage: BoolArray) -> float:
    """Otsu's threshold over the covered voxels only: the zero background outside would move it (METHOD 5.4)."""
    values = anomaly[coverage]
    if values.size == 0 or values.min() == values.max():
        return float("inf")
    return float(threshold_otsu(values, nbins=256))


def threshold_mask(anomaly: FloatArray, threshold: float, plan: InferencePlan) -> BoolArray:
    """Voxels above the threshold, and those above `plan.hysteresis * threshold` that touch them (METHOD 5.3)."""
    return np.asarray(apply_hysteresis_threshold(anomaly, plan.hysteresis * threshold, threshold))


def clean_mask(mask: BoolArray, spacing_mm: Triple) -> BoolArray:
    """Opening, closing (radius 1 mm, at least one voxel along the finest axes) and hole filling."""
    ball = _ball(spacing_mm)
    opened = ndimage.binary_opening(mask, ball)
    closed = ndimage.binary_closing(np.pad(opened, 2), ball)[2:-2, 2:-2, 2:-2]
    return np.asarray(ndimage.binary_fill_holes(closed), dtype=bool)


def _ball(spacing_mm: Triple) -> BoolArray:
    """6-connected cross over the axes with a spacing not far above the finest: radius 1 in mm, not in thick slices."""
    cross = ndimage.generate_binary_structure(3, 1)
    finest = min(spacing_mm)
    for axis, spacing in enumerate(spacing_mm):
        if spacing > 2 * max(finest, 1.0):
            cross = cross & np.moveaxis(np.array([False, True, False])[:, None, None], 0, axis)
    return np.asarray(cross, dtype=bool)


def find_candidates(
    anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan
) -> tuple[BoolArray, list[Candidate]]:
    """`find_regions`, as the mask of all regions and their candidates in descending score."""
    regions = find_regions(anomaly, threshold, grid, plan)
    return mask_of(regions, grid.shape), [region.candidate for region in regions]


def mask_of(regions: Sequence[Found], shape: Shape) -> BoolArray:
    """The voxels of all regions."""
    mask = np.zeros(shape, dtype=bool)
    for region in regions:
        mask[region.component.box.slices] |= region.component.mask
    return mask


def find_regions(anomaly: FloatArray, threshold: float, grid: Grid, plan: InferencePlan) -> list[Found]:
    """Threshold (strictly above), grow, clean, split into 26-connected components, drop small ones, score the rest.

    Returns what is left in descending score.
    """
    mask = threshold_mask(anomaly, threshold, plan)
    if plan.morphology and mask.any():
        mask = clean_mask(mask, grid.spacing_mm)
    kept: list[Found] = []
    for component in find_components(mask):
        candidate = _describe(component, anomaly, grid)
        if candidate.num_voxels >= plan.min_voxels and candidate.equivalent_diameter_mm >= plan.min_diameter_mm:
            kept.append(Found(candidate, component))
    return sorted(kept, key=lambda region: -region.candidate.score)


def score_of(values: NDArray[np.floating]) -> float:
    """The score of a candidate from the values of a map in it: their 95th percentile."""
    return float(np.percentile(values, 95))


def _describe(component: Component, anomaly: FloatArray, grid: Grid) -> Candidate:
    values = anomaly[component.box.slices][component.mask]
    volume_mm3 = component.num_voxels * grid.voxel_volume_mm3
    z, y, x = grid.to_world(component.voxel_indices().mean(axis=0)).tolist()
    return Candidate(
        box=component.box,
        center_mm=(z, y, x),
        num_voxels=component.num_voxels,
        volume_mm3=volume_mm3,
        equivalent_diameter_mm=equivalent_diameter_mm(volume_mm3),
        axial_diameter_mm=axial_diameter_mm(component.mask, grid),
        score=score_of(values),
        score_max=float(values.max()),
        score_mean=float(values.mean()),
    )
