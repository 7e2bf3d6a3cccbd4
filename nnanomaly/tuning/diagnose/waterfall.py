"""At which step a known lesion is lost on its way from the scan to a candidate. Arrays in, numbers out.

Arrays are `[Z, Y, X]` on one grid. The contrast of a lesion is its mean HU less the mean HU of a shell around it. A
residual shows a lesion by the contrast that the healthy reconstruction takes away; what it keeps is lost for the map.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.evaluation.lesion_matching import LesionRecord
from nnanomaly.evaluation.metrics import SIZE_BINS_MM, size_bin
from nnanomaly.volume import Triple

SHELL_MM = (2.0, 8.0)
"""How far from the lesion its shell begins and ends: the gap keeps the partial volume of its edge out."""
MIN_SHELL_VOXELS = 20
STEPS = ("patch", "gate", "image", "autoencoder", "reconstruction", "map", "threshold", "cleaning", "matching")
"""In the order of the method."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criteria:
    """From where on a lesion is lost at a step."""

    min_share: float = 0.2
    """Smallest IoU of a match; and smallest share of its voxels in patches, in the gate, over the threshold and after
    cleaning, since with less of it no candidate can reach that IoU."""
    min_contrast_hu: float = 10.0
    """Smallest contrast in the image."""
    min_contrast_share: float = 0.5
    """Smallest share of that contrast in the image that the map compares with, and in its residual."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """A part of a scan at every step."""

    image_hu: FloatArray
    """The patches' image."""
    autoencoded_hu: FloatArray
    """The same through the autoencoder alone."""
    healthy_hu: FloatArray
    """The healthy reconstruction."""
    reference_hu: FloatArray
    """What the healthy reconstruction is compared with: image or autoencoded image."""
    gate: FloatArray
    """Weight of the organ gate in [0, 1]."""
    anomaly: FloatArray
    """The map."""
    organ: BoolArray
    """The organ."""
    covered: BoolArray
    """Where any patch says something; nothing else is looked at."""
    grown: BoolArray
    """What is over the threshold, hysteresis included."""
    cleaned: BoolArray
    """What is left of it in candidates."""
    threshold: float
    """On the map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionTrace:
    """What became of a lesion: a row of the table. Contrasts are None where there is no shell or no covered voxel."""

    scene: str
    """Patch or case."""
    lesion: int
    """Number of the lesion in it."""
    size: str
    """Size bin."""
    axial_diameter_mm: float
    """Axial diameter."""
    num_voxels: int
    """On the grid it was measured on."""
    outside_patches: float
    """Share in no patch."""
    outside_gate: float
    """Share whose gate is under one half, or that no patch covers."""
    image_hu: float | None
    """Contrast in the image."""
    autoencoded_hu: float | None
    """Contrast after the autoencoder alone."""
    reference_hu: float | None
    """Contrast in what the map compares with."""
    healthy_hu: float | None
    """Contrast left in the healthy reconstruction: ideally 0."""
    autoencoder_keeps: float | None
    """Share of the image's contrast after the autoencoder: ideally 1."""
    healthy_keeps: float | None
    """Share of it in the healthy reconstruction: ideally 0."""
    residual_shows: float | None
    """|reference - healthy| over |image|: ideally 1."""
    map_mean: float | None
    """Mean of the map in the lesion."""
    map_p95: float | None
    """95th percentile of the map in the lesion."""
    threshold: float | None
    """On the map; None where Otsu finds none, since the map is the same everywhere."""
    above_threshold: float
    """Share of its voxels strictly above it."""
    grown: float
    """Share of its voxels with hysteresis."""
    cleaned: float
    """Share of its voxels in candidates."""
    best_iou: float
    """IoU with its candidate, or the largest with any."""
    found: bool
    """Whether a candidate matches it."""
    lost_at: str | None
    """First step whose criterion it fails; None if it was found, whatever it failed on the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BinSummary:
    """The waterfall of a size bin. Medians are over the lesions with a contrast; None without any."""

    size: str
    """Size bin, or `all`."""
    num_lesions: int
    """Lesions."""
    alive: dict[str, int]
    """How many are not yet lost after each step; after the last: how many are found."""
    lost: dict[str, int]
    """How many are lost at each step."""
    autoencoder_keeps: float | None
    """Median."""
    healthy_keeps: float | None
    """Median."""
    residual_shows: float | None
    """Median."""
    map_over_threshold: float | None
    """Median of the map's 95th percentile, in units of the threshold."""
    above_threshold: float | None
    """Median."""
    best_iou: float | None
    """Median."""


def shell_around(lesion: BoolArray, allowed: BoolArray, organ: BoolArray, spacing_mm: Triple) -> BoolArray:
    """Allowed voxels at `SHELL_MM` from a lesion; those in the organ alone, if it has `MIN_SHELL_VOXELS` of them.

    Beside fat, a lesion that bulges out of the organ would have the contrast of the organ's own border.
    """
    if not lesion.any():
        return np.zeros_like(lesion)
    distance = ndimage.distance_transform_edt(~lesion, sampling=spacing_mm)
    shell = allowed & (distance > SHELL_MM[0]) & (distance <= SHELL_MM[1])
    in_organ = shell & organ
    return in_organ if np.count_nonzero(in_organ) >= MIN_SHELL_VOXELS else shell


def contrast_hu(image_hu: FloatArray, lesion: BoolArray, shell: BoolArray) -> float | None:
    """Mean in the lesion less mean in the shell; None where one of them is empty."""
    if not lesion.any() or not shell.any():
        return None
    return float(image_hu[lesion].mean(dtype=np.float64) - image_hu[shell].mean(dtype=np.float64))


def trace_lesion(
    record: LesionRecord,
    lesion: BoolArray,
    others: BoolArray,
    views: Views,
    *,
    spacing_mm: Triple,
    criteria: Criteria,
    gated: bool,
) -> LesionTrace:
    """Follow a lesion through all steps.

    `record`: what the matching made of it; `lesion` and `others`: its voxels and those of other lesions, as far as the
    views reach (its share outside them counts as in no patch); `gated`: whether the gate acts on the map.
    """
    region = record.lesion
    assert region is not None, record
    seen = lesion & views.covered
    shell = shell_around(lesion, views.covered & ~others & ~lesion, views.organ, spacing_mm)
    numbers = {**_contrasts(views, seen, shell), **_map_values(views, seen)}
    total = region.num_voxels
    shares = {
        "outside_patches": region.outside_roi_fraction or 0.0,
        "outside_gate": 1 - np.count_nonzero(seen & (views.gate >= 0.5)) / total if gated else 0.0,
        "above_threshold": np.count_nonzero(seen & (views.anomaly > views.threshold)) / total,
        "grown": np.count_nonzero(seen & views.grown) / total,
        "cleaned": np.count_nonzero(seen & views.cleaned) / total,
    }
    found = record.kind == "TP"
    failed = None if found else _first_failure(numbers, shares, views.threshold, criteria)
    return LesionTrace(
        scene=record.case,
        lesion=region.id,
        size=size_bin(region.axial_diameter_mm),
        axial_diameter_mm=region.axial_diameter_mm,
        num_voxels=total,
        threshold=views.threshold if np.isfinite(views.threshold) else None,
        best_iou=record.iou,
        found=found,
        lost_at=failed,
        **numbers,
        **shares,
    )


def summarise(traces: Sequence[LesionTrace]) -> list[BinSummary]:
    """The waterfall of every size bin that has lesions, and of all."""
    groups = {size: [t for t in traces if t.size == size] for size in SIZE_BINS_MM}
    return [_summary(size, group) for size, group in {**groups, "all": list(traces)}.items() if group]


def _contrasts(views: Views, seen: BoolArray, shell: BoolArray) -> dict[str, Any]:
    """The contrasts of a lesion, and what of the image's contrast they are."""
    names = ("image_hu", "autoencoded_hu", "reference_hu", "healthy_hu")
    image, autoencoded, reference, healthy = (contrast_hu(getattr(views, name), seen, shell) for name in names)
    shown = None if reference is None or healthy is None else abs(reference - healthy)
    return {
        **dict(zip(names, (image, autoencoded, reference, healthy), strict=True)),
        "autoencoder_keeps": _ratio(autoencoded, image),
        "healthy_keeps": _ratio(healthy, image),
        "residual_shows": _ratio(shown, None if image is None else abs(image)),
    }


def _map_values(views: Views, seen: BoolArray) -> dict[str, Any]:
    values = views.anomaly[seen]
    if not values.size:
        return {"map_mean": None, "map_p95": None}
    return {"map_mean": float(values.mean()), "map_p95": float(np.percentile(values, 95))}


def _ratio(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _first_failure(numbers: dict[str, Any], shares: dict[str, float], threshold: float, criteria: Criteria) -> str:
    """The first step that a lesion fails; what cannot be measured fails nothing, and the last step always fails."""
    original = numbers["image_hu"]
    ok = {
        "patch": 1 - shares["outside_patches"] >= criteria.min_share,
        "gate": 1 - shares["outside_gate"] >= criteria.min_share,
        "image": original is None or abs(original) >= criteria.min_contrast_hu,
        "autoencoder": _reaches(_ratio(numbers["reference_hu"], original), criteria.min_contrast_share),
        "reconstruction": _reaches(numbers["residual_shows"], criteria.min_contrast_share),
        "map": numbers["map_p95"] is None or numbers["map_p95"] > threshold,
        "threshold": shares["grown"] >= criteria.min_share,
        "cleaning": shares["cleaned"] >= criteria.min_share,
        "matching": False,
    }
    return next(step for step in STEPS if not ok[step])


def _reaches(value: float | None, least: float) -> bool:
    return value is None or value >= least


def _summary(size: str, traces: list[LesionTrace]) -> BinSummary:
    lost = {step: sum(trace.lost_at == step for trace in traces) for step in STEPS}
    gone = np.cumsum(list(lost.values())).tolist()
    return BinSummary(
        size=size,
        num_lesions=len(traces),
        alive={step: len(traces) - n for step, n in zip(STEPS, gone, strict=True)},
        lost=lost,
        autoencoder_keeps=_median([t.autoencoder_keeps for t in traces]),
        healthy_keeps=_median([t.healthy_keeps for t in traces]),
        residual_shows=_median([t.residual_shows for t in traces]),
        map_over_threshold=_median([_ratio(t.map_p95, t.threshold) for t in traces]),
        above_threshold=_median([t.above_threshold for t in traces]),
        best_iou=_median([t.best_iou for t in traces]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
