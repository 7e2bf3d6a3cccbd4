"""What is odd about the mask of an organ: volume, border contact, fragments, stray pieces, side. Pure.

Nothing here changes a mask or leaves a case out. The findings tell a person which masks to look at before a day of
training; a suspicious mask may well be right (a cut kidney, a large tumour that the segmentation left out).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.roi.components import Component, find_components
from nnanomaly.roi.organ_instances import LARGE_SHARE, NEAR_MM, locate_organ
from nnanomaly.volume import Grid, Triple, Volume

USUAL_KIDNEY_ML = (30.0, 800.0)
"""Of 967 drawn kidneys (KiTS23) the parenchyma had 18 to 659 ml; below 30 ml, or with a tumour above 800 ml, look."""
VOLUME_FACTOR = 4.0
"""Other organs: more than so many times smaller or larger than the middle one of the dataset is suspicious."""
FEWEST_FOR_MEDIAN = 5
MOST_FRAGMENTS = 5
WRONG_SIDE_MM = 20.0
"""How far beyond the middle of the scan an organ lies on the other side, where its partner is not there to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskQuality:
    """Facts of the mask of one organ."""

    case: str
    """Case id."""
    organ: str
    """Organ name."""
    volume_ml: float
    """Volume of the whole mask."""
    num_fragments: int
    """Number of 26-connected pieces."""
    largest_fraction: float
    """Share of the largest piece."""
    second_fraction: float
    """Share of the second largest piece."""
    stray_mm: float
    """Distance of the farthest piece that is not the organ from the box around the organ (0 = all are near)."""
    touches_border: tuple[str, ...]
    """Sides of the scan that cut the organ."""
    centre_mm: Triple | None
    """Middle of the organ (z, y, x); None for an empty mask."""
    off_centre_mm: float
    """How far towards the patient's left of the middle of the scan it lies."""


def measure_mask(mask: Volume, *, case: str, organ: str) -> MaskQuality:
    """Facts of a mask `[1, Z, Y, X]` (not 0 = organ)."""
    instance = locate_organ(mask)
    if instance is None:
        return MaskQuality(
            case=case,
            organ=organ,
            volume_ml=0.0,
            num_fragments=0,
            largest_fraction=0.0,
            second_fraction=0.0,
            stray_mm=0.0,
            touches_border=(),
            centre_mm=None,
            off_centre_mm=0.0,
        )
    pieces = find_components(mask.array[0], connectivity=26)
    sizes = sorted((piece.num_voxels for piece in pieces), reverse=True)
    middle_x = float(mask.grid.corners_mm()[:, 2].mean())
    return MaskQuality(
        case=case,
        organ=organ,
        volume_ml=instance.volume_total_ml,
        num_fragments=len(pieces),
        largest_fraction=sizes[0] / sum(sizes),
        second_fraction=sizes[1] / sum(sizes) if len(sizes) > 1 else 0.0,
        stray_mm=max(_distance_to_box(piece, mask.grid, instance.low_mm, instance.high_mm) for piece in pieces),
        touches_border=instance.touches_border,
        centre_mm=instance.centre_mm,
        off_centre_mm=instance.centre_mm[2] - middle_x,
    )


def _distance_to_box(piece: Component, grid: Grid, low_mm: Triple, high_mm: Triple) -> float:
    """Of the piece's nearest voxel centre from the box, in mm; 0 inside."""
    centres = grid.to_world(piece.voxel_indices().astype(float))
    outside = np.maximum(np.maximum(np.asarray(low_mm) - centres, centres - np.asarray(high_mm)), 0.0)
    return float(np.linalg.norm(outside, axis=1).min())


def suspicions(masks: Sequence[MaskQuality]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """What is odd about each (case, organ), as (code, sentence); organs without a suspicion are left out."""
    usual = {organ: _usual_ml(organ, masks) for organ in {mask.organ for mask in masks}}
    partners = {(mask.case, mask.organ): mask for mask in masks}
    found = {}
    for mask in masks:
        odd = _oddities(mask, usual[mask.organ], partners.get((mask.case, _partner(mask.organ))))
        if odd:
            found[mask.case, mask.organ] = odd
    return found


def _oddities(mask: MaskQuality, usual_ml: tuple[float, float], partner: MaskQuality | None) -> list[tuple[str, str]]:
    if mask.centre_mm is None:
        return [("ROI-ABSENT", "the mask is empty: the organ counts as absent")]
    odd = []
    if not usual_ml[0] <= mask.volume_ml <= usual_ml[1]:
        odd.append(("ROI-VOLUME", f"{mask.volume_ml:.1f} ml, usual are {usual_ml[0]:.0f} to {usual_ml[1]:.0f}"))
    if mask.touches_border:
        odd.append(("ROI-CUT", f"the scan ends inside the organ ({', '.join(mask.touches_border)})"))
    if mask.num_fragments > MOST_FRAGMENTS or mask.second_fraction >= LARGE_SHARE:
        shares = f"{mask.largest_fraction:.1%}, {mask.second_fraction:.1%}"
        odd.append(("ROI-FRAGMENTS", f"{mask.num_fragments} pieces, the two largest hold {shares}"))
    if mask.stray_mm > NEAR_MM:
        odd.append(("ROI-STRAY", f"a piece lies {mask.stray_mm:.0f} mm away from the organ"))
    return odd + _wrong_side(mask, partner)


def _wrong_side(mask: MaskQuality, partner: MaskQuality | None) -> list[tuple[str, str]]:
    """World x grows towards the left of the patient, whatever the order of the stored axes."""
    side = mask.organ.rpartition("_")[2]
    if side not in ("left", "right") or mask.centre_mm is None:
        return []
    towards = 1 if side == "left" else -1
    if partner is not None and partner.centre_mm is not None:
        lead_mm = towards * (mask.centre_mm[2] - partner.centre_mm[2])
        return [("ROI-SIDES", f"lies {-lead_mm:.0f} mm on the wrong side of {partner.organ}")] if lead_mm <= 0 else []
    if towards * mask.off_centre_mm < -WRONG_SIDE_MM:
        return [("ROI-SIDES", f"lies {abs(mask.off_centre_mm):.0f} mm on the other side of the middle of the scan")]
    return []


def _partner(organ: str) -> str:
    """The organ of the other side, by name; without a side the organ itself."""
    stem, _, side = organ.rpartition("_")
    other = {"left": "right", "right": "left"}.get(side)
    return organ if other is None else f"{stem}_{other}"


def _usual_ml(organ: str, masks: Sequence[MaskQuality]) -> tuple[float, float]:
    if organ in ("kidney_left", "kidney_right"):
        return USUAL_KIDNEY_ML
    volumes = [mask.volume_ml for mask in masks if mask.organ == organ and mask.centre_mm is not None]
    if len(volumes) < FEWEST_FOR_MEDIAN:
        return 0.0, np.inf
    middle = float(np.median(volumes))
    return middle / VOLUME_FACTOR, middle * VOLUME_FACTOR
