"""The dataset fingerprint: spacings, organ sizes, intensities and label counts, all the planner looks at.

Sizes and spacings are given along the world axes (z, y, x) = (superior, posterior, left), found through the
direction of the image and never by the position of an array axis. Intensities are drawn from the surroundings of
the organs. Drawn lesions are never opened. Keys follow nnU-Net's dataset_fingerprint.json where it has them; since
air is not 0 in CT nothing is cropped, and `shapes_after_crop` are the shapes of the scans.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from nnanomaly.dataset.same_scans import scan_hash
from nnanomaly.imageio.voxel_values import PADDING_ABOVE_HU, PADDING_BELOW_HU
from nnanomaly.roi.organ_instances import locate_organ
from nnanomaly.roi.scan_domain import ScanScale, organ_intensity, scan_scale, surroundings
from nnanomaly.utilities.errors import DataError, IntegrityError
from nnanomaly.utilities.json_io import Between, from_document, read_json, to_document, write_json
from nnanomaly.volume import GridShape, GridSpacing, Shape, Triple, Volume

SCHEMA_VERSION = 2
READABLE = (1, SCHEMA_VERSION)
"""Schema 1 says nothing of the HU of each organ."""
UNLABELLED, ABSENT = "unlabelled", "absent"
Extent = Annotated[float, Between(0, 1e4)]
Intensity = Annotated[float, Between(-1e6, 1e6)]
"""Sizes in mm and HU as documents may give them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganRecord:
    """One organ that is present in one case."""

    case: str
    """Case id."""
    organ: str
    """Organ name."""
    label: str
    """`healthy`, `unhealthy`, `excluded`, `uncertain` or `unlabelled`."""
    extent_mm: tuple[Extent, Extent, Extent]
    """Size of the box around the largest component of the mask along (z, y, x)."""
    volume_ml: Annotated[float, Between(0, 1e6)]
    """Volume of that component."""
    touches_border: tuple[str, ...]
    """Sides of the scan that the organ touches, where it may be cut."""
    num_components: int
    """Components of the mask."""
    median_hu: Intensity | None = None
    """Median HU in the mask; null in fingerprints of schema 1."""
    around_low_hu: Intensity | None = None
    """0.5 % of the values around the organ lie below; null in fingerprints of schema 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFingerprint:
    """What one case contributes."""

    case: str
    """Case id."""
    spacing_mm: Triple
    """Voxel size along (z, y, x)."""
    shape: Shape
    """Voxels along (z, y, x)."""
    organs: tuple[OrganRecord, ...]
    """Organs that are present."""
    num_absent: int
    """Organs whose mask is empty."""
    intensities_hu: NDArray[np.float32]
    """Values drawn from the surroundings of the organs, `[samples]`."""
    scan_hash: str
    """Name of the scan by its voxels."""
    scale: ScanScale | None = None
    """What the values of the whole scan look like; None = not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityStatistics:
    """Statistics in HU, named as nnU-Net names them."""

    mean: Intensity
    """Mean."""
    median: Intensity
    """Median."""
    std: Annotated[float, Between(0, 1e6)]
    """Standard deviation."""
    min: Intensity
    """Smallest value."""
    max: Intensity
    """Largest value."""
    percentile_00_5: Intensity
    """0.5 % of the values lie below."""
    percentile_99_5: Intensity
    """0.5 % of the values lie above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What is known of a dataset before planning; every list in the order of the case names."""

    spacings: tuple[GridSpacing, ...]
    """Voxel size of every case along (z, y, x)."""
    shapes_after_crop: tuple[GridShape, ...]
    """Voxels of every case along (z, y, x); nothing is cropped."""
    median_relative_size_after_cropping: float
    """1: nothing is cropped."""
    foreground_intensity_properties_per_channel: dict[str, IntensityStatistics]
    """Of the surroundings of the organs; the only channel is "0"."""
    organs: tuple[OrganRecord, ...]
    """All organs that are present."""
    label_counts: dict[str, Annotated[int, Between(0, 1e9)]]
    """Organs per weak label, and how many are `absent`."""
    scan_hashes: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the voxels of every case, by which a scan is known under other names; none in older fingerprints."""
    schema_version: int = SCHEMA_VERSION
    """Version of this document."""


def analyze_case(
    image: Volume,
    masks: Mapping[str, Volume],
    *,
    case: str,
    labels: Mapping[str, str],
    num_samples: int,
    seed: int,
) -> CaseFingerprint:
    """Measure one case: `image` in HU, a mask and (if there is one) a weak label per organ.

    At most `num_samples` intensities are drawn per organ, from its box widened by 20 mm, padding left out; which ones
    follows from `seed` and the voxels.
    """
    hashed = scan_hash(image)
    generator = np.random.default_rng((seed, int(hashed, 16)))
    instances = {organ: locate_organ(mask) for organ, mask in masks.items()}
    records, samples = [], [np.zeros(0, np.float32)]
    for organ, instance in instances.items():
        if instance is None:
            continue
        seen = organ_intensity(image, masks[organ], instance)
        records.append(
            OrganRecord(
                case=case,
                organ=organ,
                label=labels.get(organ, UNLABELLED),
                extent_mm=instance.extent_mm,
                volume_ml=instance.volume_ml,
                touches_border=instance.touches_border,
                num_components=instance.num_components,
                median_hu=seen.median_hu,
                around_low_hu=seen.around_low_hu,
            )
        )
        around = surroundings(image, instance)
        samples.append(generator.choice(around, num_samples) if around.size > num_samples else around)
    z, y, x = (image.grid.axis_of(world_axis) for world_axis in range(3))
    return CaseFingerprint(
        case=case,
        spacing_mm=(image.grid.spacing_mm[z], image.grid.spacing_mm[y], image.grid.spacing_mm[x]),
        shape=(image.grid.shape[z], image.grid.shape[y], image.grid.shape[x]),
        organs=tuple(records),
        num_absent=len(instances) - len(records),
        scan_hash=hashed,
        scale=scan_scale(image),
        intensities_hu=np.concatenate(samples).astype(np.float32),
    )


def combine(cases: Sequence[CaseFingerprint]) -> Fingerprint:
    """The fingerprint of a dataset; the order of `cases` does not matter."""
    ordered = sorted(cases, key=lambda case: case.case)
    organs = tuple(organ for case in ordered for organ in case.organs)
    if not organs:
        raise DataError("ROI-EMPTY", f"no organ was found in the masks of {len(ordered)} cases. Check the organ masks.")
    counts = Counter(organ.label for organ in organs)
    counts[ABSENT] = sum(case.num_absent for case in ordered)
    intensities = np.concatenate([case.intensities_hu for case in ordered])
    return Fingerprint(
        spacings=tuple(case.spacing_mm for case in ordered),
        shapes_after_crop=tuple(case.shape for case in ordered),
        median_relative_size_after_cropping=1.0,
        foreground_intensity_properties_per_channel={"0": _statistics(intensities)},
        organs=organs,
        label_counts=dict(sorted(counts.items())),
        scan_hashes={case.case: case.scan_hash for case in ordered},
    )


def save_fingerprint(path: Path, fingerprint: Fingerprint) -> None:
    """Write dataset_fingerprint.json."""
    write_json(path, to_document(fingerprint))


def load_fingerprint(path: Path) -> Fingerprint:
    """Read dataset_fingerprint.json; another schema version (such as nnU-Net's own file) raises."""
    document = read_json(path)
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version not in READABLE:
        raise IntegrityError(
            "FINGERPRINT-VERSION",
            f"{path} has schema_version {version}, this program reads {READABLE}. Use --clean.",
        )
    return from_document(Fingerprint, document, source=str(path))


def _statistics(values: NDArray[np.float32]) -> IntensityStatistics:
    if not values.size:
        raise DataError(
            "DATA-PADDING",
            f"all voxels around the organs are padding (below {PADDING_BELOW_HU:g} or above {PADDING_ABOVE_HU:g} HU). "
            "Are the images CT in HU, and the masks those of these images?",
        )
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    return IntensityStatistics(
        mean=float(values.mean(dtype=np.float64)),
        median=float(median),
        std=float(values.std(dtype=np.float64)),
        min=float(values.min()),
        max=float(values.max()),
        percentile_00_5=float(low),
        percentile_99_5=float(high),
    )
