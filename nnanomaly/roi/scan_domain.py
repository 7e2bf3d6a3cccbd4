"""Whether a scan is one of those a model knows: its scale (HU or not), and its organs beside those of the training.

Two things are physics and need no model: HU of a body span hundreds of units, and no soft tissue has 700 HU while
nothing lies below 0. The rest compares with `OrganDomain`, what planning saw of the training organs. What cannot be HU
is refused; what is unusual is said, and predicted all the same. Images are `[1, Z, Y, X]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.voxel_values import PADDING_BELOW_HU, find_padding, measured_values
from nnanomaly.plans import OrganDomain
from nnanomaly.roi.organ_instances import OrganInstance
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

"""Values outside are fill, not tissue: air is about -1000."""
SURROUNDINGS_MM = 20.0
MOST_VOXELS = 2_000_000
"""The scale of a scan is seen on so many of its voxels, evenly spread."""
SMALLEST_SPAN = 20.0
"""Between the 0.5 and 99.5 % of the values: noise alone spans more in HU."""
FAT_BELOW_HU = -50.0
SMALLEST_SHARE_OF_FAT = 1e-3
"""Of a scan whose training scans have fat around the organ; skin, bowel gas and air count as well."""
SOFT_BELOW_HU = 700.0
FAR_HU = 400.0
"""From the nearest training organ: no contrast phase reaches so far, another unit does (raw values lie 1024 away)."""
MARGIN_HU = 15.0
VOLUME_FACTOR = 2.0
EXTENT_FACTOR, EXTENT_LIMIT = 1.3, 2.0
"""Beyond the largest training organ on an axis: said, and refused."""
MOST_PATCHES = 100
"""Of one organ where nothing is known of the training organs."""
MARKED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseWarning:
    """Something about a case that its reader must know."""

    organ: str
    """Organ name."""
    code: str
    """Such as "DOMAIN-HU"."""
    message: str
    """One sentence."""

    def __str__(self) -> str:
        """As it stands in tables."""
        return f"[NNA-{self.code}] {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanScale:
    """What the values of a scan look like, padding left out."""

    span: float
    """Between the 0.5 and 99.5 % of the values."""
    lowest: float
    """0.5 % of the values lie below."""
    share_of_fat: float
    """Share below -50 HU: fat and air."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganIntensity:
    """What the values of an organ look like, padding left out."""

    median_hu: float
    """Median in its mask."""
    around_low_hu: float
    """0.5 % of the values in its box, widened by 20 mm, lie below."""


def scan_scale(image: Volume) -> ScanScale:
    """The scale of a scan, on voxels evenly spread."""
    step = max(1, round((image.array.size / MOST_VOXELS) ** (1 / 3)))
    values = _tissue(np.asarray(image.array[0, ::step, ::step, ::step], dtype=np.float32))
    if not values.size:
        return ScanScale(span=0.0, lowest=PADDING_BELOW_HU, share_of_fat=1.0)
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    return ScanScale(span=high - low, lowest=low, share_of_fat=float(np.mean(values < FAT_BELOW_HU)))


def organ_intensity(image: Volume, mask: Volume, instance: OrganInstance) -> OrganIntensity:
    """The values of an organ, whose mask lies on the grid of the image."""
    inside = _tissue(np.asarray(image.array[0][mask.array[0] != 0], dtype=np.float32))
    around = surroundings(image, instance)
    return OrganIntensity(
        median_hu=float(np.median(inside)) if inside.size else PADDING_BELOW_HU,
        around_low_hu=float(np.percentile(around, 0.5)) if around.size else PADDING_BELOW_HU,
    )


def surroundings(image: Volume, organ: OrganInstance) -> NDArray[np.float32]:
    """Values `[voxels]` of the first channel in the box of the organ widened by 20 mm, without padding."""
    low, high = np.subtract(organ.low_mm, SURROUNDINGS_MM), np.add(organ.high_mm, SURROUNDINGS_MM)
    values = np.asarray(image.array[0][_voxels_within(image.grid, low, high)], dtype=np.float32)
    return measured_values(values)


def check_scale(
    scale: ScanScale, organs: Mapping[str, OrganIntensity], expected: Mapping[str, OrganDomain], *, source: str
) -> None:
    """Refuse a scan that cannot be in HU: `DataError` (INT-UNITS); `expected` may lack organs, or be empty."""
    fault = scale_fault(scale, organs, expected)
    if fault is not None:
        raise DataError("INT-UNITS", f"{source} cannot be a CT in HU: {fault}. {REMEDY}")


REMEDY = "Store the scan in HU (air -1000, water 0), with slope and intercept of its header applied."


def scale_fault(
    scale: ScanScale, organs: Mapping[str, OrganIntensity], expected: Mapping[str, OrganDomain]
) -> str | None:
    """Why values cannot be HU; None where they can."""
    if scale.span < SMALLEST_SPAN:
        return f"99 % of its values lie within {scale.span:.3g} of each other, where a body spans hundreds of HU"
    for name, organ in organs.items():
        known = expected.get(name)
        if known is None:
            if scale.lowest >= 0 and organ.median_hu > SOFT_BELOW_HU:
                return f"nothing lies below 0, and {name} has {organ.median_hu:.0f}"
            continue
        if _beyond(organ.median_hu, known) > FAR_HU:
            return f"{name} has {organ.median_hu:.0f}, {_training(known)}"
        if scale.share_of_fat < SMALLEST_SHARE_OF_FAT and known.around_low_hu < FAT_BELOW_HU < organ.around_low_hu:
            return (
                f"it holds neither fat nor air, nothing around {name} below {organ.around_low_hu:.0f}, where the "
                f"training scans have {known.around_low_hu:.0f} and less"
            )
    return None


def unusual(name: str, organ: OrganIntensity, instance: OrganInstance, known: OrganDomain | None) -> list[CaseWarning]:
    """What sets an organ apart from those of the training scans; nothing where these are not known."""
    if known is None:
        return []
    found = []
    if _beyond(organ.median_hu, known) > MARGIN_HU:
        text = f"{name} has {organ.median_hu:.0f} HU, {_training(known)}: another contrast phase, or another organ?"
        found.append(CaseWarning(organ=name, code="DOMAIN-HU", message=text))
    low, high = known.volume_ml
    if not low / VOLUME_FACTOR <= instance.volume_ml <= high * VOLUME_FACTOR:
        text = f"{name} has {instance.volume_ml:.0f} ml, the training organs {low:.0f} to {high:.0f} ml"
        found.append(CaseWarning(organ=name, code="DOMAIN-VOLUME", message=text))
    if any(size > EXTENT_FACTOR * most for size, most in zip(instance.extent_mm, known.extent_mm, strict=True)):
        text = f"{name} measures {_size(instance.extent_mm)} mm, the training organs at most {_size(known.extent_mm)}"
        found.append(CaseWarning(organ=name, code="DOMAIN-EXTENT", message=text))
    return found


def check_extent(name: str, instance: OrganInstance, known: OrganDomain | None, *, num_patches: int) -> None:
    """Refuse a mask of more than an organ before its patches are cut: `DataError` (ROI-EXTENT)."""
    if known is None:
        too_large, beside = num_patches > MOST_PATCHES, f"at most {MOST_PATCHES} are taken where nothing is known of it"
    else:
        sides = zip(instance.extent_mm, known.extent_mm, strict=True)
        too_large = num_patches > 1 and any(size > EXTENT_LIMIT * most for size, most in sides)
        beside = f"the training organs measure at most {_size(known.extent_mm)} mm"
    if too_large:
        raise DataError(
            "ROI-EXTENT",
            f"the mask of {name} measures {_size(instance.extent_mm)} mm and would need {num_patches} patches; "
            f"{beside}. Check the mask: it holds more than the organ.",
        )


def marked(name: str, share: float, organ: OrganIntensity | None, known: OrganDomain | None) -> CaseWarning | None:
    """Say that half of an organ or more is marked; such a result speaks of the scan, not of a lesion."""
    if share < MARKED_SHARE:
        return None
    beside = "" if organ is None or known is None else f"; it has {organ.median_hu:.0f} HU, {_training(known)}"
    text = f"{share:.0%} of {name} is marked as lesion{beside}: is the scan of the kind that the model was trained on?"
    return CaseWarning(organ=name, code="DOMAIN-MARKED", message=text)


def _training(known: OrganDomain) -> str:
    low, middle, high = known.median_hu
    return f"those of {known.num_organs} training scans {low:.0f} to {high:.0f} (median {middle:.0f})"


def _beyond(value: float, known: OrganDomain) -> float:
    """How far a median lies outside those of the training organs."""
    low, _, high = known.median_hu
    return max(low - value, value - high, 0.0)


def _size(extent_mm: tuple[float, float, float]) -> str:
    return " x ".join(f"{size:.0f}" for size in extent_mm)


def _tissue(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values[~find_padding(values)]


def _voxels_within(grid: Grid, low_mm: NDArray[np.float64], high_mm: NDArray[np.float64]) -> tuple[slice, slice, slice]:
    """The voxels of the grid whose indices lie in the smallest index box around a world box."""
    corners = np.array(np.meshgrid(*zip(low_mm, high_mm, strict=True), indexing="ij")).reshape(3, 8).T
    index = grid.to_index(corners)
    start = np.clip(np.ceil(index.min(axis=0) - 1e-6), 0, grid.shape).astype(int)
    stop = np.clip(np.floor(index.max(axis=0) + 1e-6) + 1, start, grid.shape).astype(int)
    z, y, x = (slice(int(lo), int(hi)) for lo, hi in zip(start, stop, strict=True))
    return z, y, x
