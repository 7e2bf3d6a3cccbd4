"""From the headers of a stack to one regular grid, or to the reason why there is none.

Readers that take a series as it comes fill a missing slice by stretching the others, take 1 mm where no spacing is
stored, and lose the tilt of the gantry. Here each of these is a `DataError`. Positions p_k of sorted slices must be
p_0 + k (a n + t): n the normal of the slices, a their distance, t the drift within the plane, which only a tilted
gantry has.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.dicom.split import SAME_POSITION_MM
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Triple

FEWEST_SLICES = 16
GAP_TOLERANCE_MM, GAP_TOLERANCE = 0.05, 0.01
LARGEST_TILT_DEGREES = 0.1
THIN = 0.1
"""By what part of their distance slices may be thinner without a word."""
ORTHONORMAL_TOLERANCE = 1e-3
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.05, 20.0

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class StackGeometry:
    """Where the slices of a stack lie."""

    headers: tuple[SliceHeader, ...]
    """One file a slice, sorted along the normal."""
    copies: tuple[tuple[int, SliceHeader], ...]
    """Files at the position of a slice that is there already: number of that slice, and the file."""
    grid: Grid
    """Grid of the slices; with a tilt, of the first slice and slices straight above it."""
    drift_mm: tuple[float, float]
    """How far each slice lies from straight above the one before it, along columns (y) and rows (x)."""
    tilt_degrees: float
    """Angle between the normal and the line through the slices; 0 below the tolerance."""


def stack_geometry(headers: Sequence[SliceHeader]) -> StackGeometry:
    """Sort the slices and check that they lie regularly.

    Raises `DataError`: DCM-GEOMETRY (no position, no orthonormal orientation), DCM-SPACING (none, impossible or
    several), DCM-SHORT, DCM-MIXED (two scans in one), DCM-POSITION (all at one place), DCM-MISSING (gaps of several
    steps, or only every second slice), DCM-INCREMENT (irregular gaps, or slices beside the line).
    """
    axes = _axes(headers[0])
    spacing_mm = _pixel_spacing(headers)
    if any(header.position_mm is None for header in headers):
        raise DataError("DCM-GEOMETRY", "a slice does not say where it lies (no Image Position). Export it again.")
    along = np.array([np.dot(axes[0], header.position_mm or ()) for header in headers])
    order = sorted(range(len(headers)), key=lambda index: along[index])
    kept: list[int] = []
    copies: list[tuple[int, SliceHeader]] = []
    for index in order:
        if kept and along[index] - along[kept[-1]] < SAME_POSITION_MM:
            copies.append((len(kept) - 1, headers[index]))
        else:
            kept.append(index)
    _check_number(len(kept), len(headers))
    _check_instance_numbers([headers[index] for index in kept])
    positions = np.array([headers[index].position_mm for index in kept])
    step_mm = _check_gaps(along[kept])
    _check_step(step_mm, [headers[index] for index in kept])
    drift = _drift(positions, axes, step_mm)
    tilt = math.degrees(math.atan2(float(np.linalg.norm(drift)), step_mm))
    tilted = tilt > LARGEST_TILT_DEGREES
    rows, columns = headers[0].shape
    return StackGeometry(
        headers=tuple(headers[index] for index in kept),
        copies=tuple(copies),
        grid=Grid((len(kept), rows, columns), (step_mm, *spacing_mm), _triple(positions[0][::-1]), _directions(axes)),
        drift_mm=(float(drift[0]), float(drift[1])) if tilted else (0.0, 0.0),
        tilt_degrees=tilt if tilted else 0.0,
    )


def _axes(header: SliceHeader) -> Matrix:
    """Rows: world directions (x, y, z) of the array axes slice, row number, column number."""
    if header.orientation is None:
        raise DataError("DCM-GEOMETRY", "the slices do not say how they lie (no Image Orientation). Export them again.")
    x, y = np.array(header.orientation).reshape(2, 3)
    lengths = np.array([np.linalg.norm(x), np.linalg.norm(y)])
    if abs(lengths - 1).max() > ORTHONORMAL_TOLERANCE or abs(np.dot(x, y)) > ORTHONORMAL_TOLERANCE:
        raise DataError("DCM-GEOMETRY", f"rows and columns are not at right angles: {header.orientation}.")
    x = x / lengths[0]
    y = y - np.dot(x, y) * x
    y = y / np.linalg.norm(y)
    return np.array([np.cross(x, y), y, x])


def _pixel_spacing(headers: Sequence[SliceHeader]) -> tuple[float, float]:
    found = {header.pixel_spacing_mm for header in headers}
    spacing = headers[0].pixel_spacing_mm
    if spacing is None or None in found:
        raise DataError("DCM-SPACING", "a slice has no Pixel Spacing, so that sizes are unknown. Export it again.")
    if len(found) > 1:
        raise DataError("DCM-SPACING", f"the slices have {len(found)} different values of Pixel Spacing.")
    if min(spacing) < SMALLEST_SPACING_MM or max(spacing) > LARGEST_SPACING_MM:
        raise DataError("DCM-SPACING", f"Pixel Spacing is {spacing} mm, which no CT has.")
    return spacing[0], spacing[1]


def _check_number(num_positions: int, num_files: int) -> None:
    if num_positions == 1 < num_files:
        raise DataError("DCM-POSITION", f"all {num_files} slices lie at the same position.")
    if num_positions < FEWEST_SLICES:
        raise DataError("DCM-SHORT", f"{num_positions} slices, but {FEWEST_SLICES} are needed for a volume.")


def _check_instance_numbers(headers: Sequence[SliceHeader]) -> None:
    """Refuse slices at different places of which every number is there twice."""
    numbers = [header.instance_number for header in headers]
    if None not in numbers and 1 < len(set(numbers)) <= len(numbers) / 2:
        raise DataError(
            "DCM-MIXED",
            f"{len(numbers)} slices have only {len(set(numbers))} instance numbers: two scans in one series, which "
            "nothing else tells apart. Export each by itself.",
        )


def _check_step(step_mm: float, headers: Sequence[SliceHeader]) -> None:
    """Refuse every second slice of a scan: its Spacing Between Slices and its instance numbers both say so."""
    stated = {header.step_mm for header in headers}
    numbers = [header.instance_number for header in headers]
    (stated_mm,) = stated if len(stated) == 1 else (None,)
    if not stated_mm or None in numbers:
        return
    steps = set(np.abs(np.diff(np.array(numbers, int))).tolist())
    ratio = round(step_mm / stated_mm)
    if ratio >= 2 and abs(step_mm - ratio * stated_mm) <= GAP_TOLERANCE_MM and steps == {ratio}:
        raise DataError(
            "DCM-MISSING",
            f"slices lie {step_mm:.4g} mm apart, but their spacing is {stated_mm:.4g} mm and their numbers go up by "
            f"{ratio}: only one in {ratio} is there. Export all.",
        )


def distance_warnings(geometry: StackGeometry) -> list[str]:
    """What the headers say of the distance of slices, where their positions say otherwise. Positions hold."""
    step_mm, first = geometry.grid.spacing_mm[0], geometry.headers[0]
    found = []
    if first.step_mm and abs(first.step_mm - step_mm) > max(GAP_TOLERANCE_MM, GAP_TOLERANCE * step_mm):
        found.append(f"Spacing Between Slices says {first.step_mm:.4g} mm, the positions {step_mm:.4g} mm")
    if first.thickness_mm and first.thickness_mm < (1 - THIN) * step_mm:
        found.append(f"slices of {first.thickness_mm:.4g} mm lie {step_mm:.4g} mm apart: between them nothing was seen")
    return found


def _check_gaps(along_mm: Matrix) -> float:
    """Distance of neighbours in mm, if it is one and the same."""
    gaps = np.diff(along_mm)
    usual = float(np.median(gaps))
    tolerance = max(GAP_TOLERANCE_MM, GAP_TOLERANCE * usual)
    wrong = np.flatnonzero(abs(gaps - usual) > tolerance)
    if wrong.size:
        steps = np.rint(gaps[wrong] / usual)
        whole = (abs(gaps[wrong] - steps * usual) <= tolerance * steps) & (steps >= 2)
        place = (
            f"between slices {wrong[0] + 1} and {wrong[0] + 2} lie {gaps[wrong[0]]:.4g} mm, elsewhere {usual:.4g} mm"
        )
        if whole.all():
            raise DataError("DCM-MISSING", f"{int((steps - 1).sum())} slices are missing: {place}. Export them again.")
        raise DataError("DCM-INCREMENT", f"slices lie at irregular distances: {place}.")
    step = float((along_mm[-1] - along_mm[0]) / gaps.size)
    regular = along_mm[0] + step * np.arange(along_mm.size)
    if abs(along_mm - regular).max() > tolerance:
        raise DataError("DCM-INCREMENT", f"the distance of slices changes slowly, by up to {np.ptp(gaps):.4g} mm.")
    if not SMALLEST_SPACING_MM <= step <= LARGEST_SPACING_MM:
        raise DataError("DCM-SPACING", f"slices lie {step:.4g} mm apart, which is no volume.")
    return step


def _drift(positions: Matrix, axes: Matrix, step_mm: float) -> Matrix:
    """Drift per slice (y, x) in mm; slices that leave the straight line raise."""
    within = (positions - positions[0]) @ axes[1:].T
    drift = within[-1] / (len(positions) - 1)
    beside = abs(within - np.arange(len(positions))[:, None] * drift).max()
    if beside > max(GAP_TOLERANCE_MM, GAP_TOLERANCE * step_mm):
        raise DataError(
            "DCM-INCREMENT", f"slices are shifted against each other within their plane by {beside:.4g} mm."
        )
    return np.asarray(drift)


def _directions(axes: Matrix) -> tuple[Triple, Triple, Triple]:
    """Rows of the matrix whose columns are the axes, in the world order (z, y, x) of a `Grid`."""
    matrix = axes[:, ::-1].T + 0.0
    return _triple(matrix[0]), _triple(matrix[1]), _triple(matrix[2])


def _triple(values: Matrix) -> Triple:
    return float(values[0]), float(values[1]), float(values[2])
