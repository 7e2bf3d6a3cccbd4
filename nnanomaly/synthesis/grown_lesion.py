"""One lesion of a kind, grown into a healthy organ: shape, content, edge, displaced surroundings, noise (METHOD 7).

Images and masks are `[Z, Y, X]` of one grid, intensities in HU, sizes in mm.
"""

from dataclasses import dataclass

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.distance import signed_distance_mm
from nnanomaly.synthesis.displacement import push_aside
from nnanomaly.synthesis.kinds import KINDS, Appearance, DrawKind
from nnanomaly.synthesis.noise import like_noise, measure_noise, noise_region
from nnanomaly.synthesis.placement import draw_center
from nnanomaly.synthesis.shapes import blob_field, smooth_noise
from nnanomaly.volume import Shape, Triple

EDGE_MM = (0.5, 2.0)
OPACITY = (0.4, 1.0)
ROUGHNESS = (0.02, 0.15)
PUSHING_RADIUS_MM = 10.0
"""Larger lesions push their surroundings aside."""
MAX_PUSH = 0.9
LEAST_CONTRAST_HU = 15.0
"""A lesion that nobody could see would teach the head to see things."""
LEAST_ORGAN_LEFT = 0.05
"""Share of an organ that a segmenter finds at least."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrownLesion:
    """An image with one more lesion."""

    image_hu: FloatArray
    """`[Z, Y, X]`."""
    mask: BoolArray
    """`[Z, Y, X]`, its voxels; at least its centre."""
    earlier: BoolArray
    """`[Z, Y, X]`, the lesions that were there before, where they lie now."""
    organ: BoolArray
    """`[Z, Y, X]`, the organ as a segmenter would draw it now: large lesions are often left out of it."""
    center: Shape
    """Index (z, y, x)."""


def grow_lesion(
    image_hu: FloatArray,
    organ: BoolArray,
    *,
    earlier: BoolArray,
    spacing_mm: Triple,
    kind: str,
    radius_mm: float,
    place: str,
    rng: np.random.Generator,
) -> GrownLesion:
    """Grow a lesion of one of `KINDS` at a `place` of `PLACES`; `earlier` lesions `[Z, Y, X]` give way like the organ.

    Raises ValueError for an empty organ, an unknown kind or place, and a radius that is not positive.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
    if radius_mm <= 0:
        raise ValueError(f"radius_mm is {radius_mm}, but must be positive")
    center = draw_center(signed_distance_mm(organ, spacing_mm), radius_mm=radius_mm, place=place, rng=rng)
    organ_hu = float(np.median(image_hu[organ]))
    noise = like_noise(image_hu.shape, *measure_noise(image_hu, noise_region(image_hu)), rng)
    surroundings, moved_organ, moved_earlier = image_hu, organ, earlier
    if radius_mm > PUSHING_RADIUS_MM:
        share = rng.uniform(0, MAX_PUSH)
        surroundings, (moved_organ, moved_earlier) = push_aside(
            image_hu, (organ, earlier), center, radius_mm=radius_mm, share=share, spacing_mm=spacing_mm
        )
    beyond = blob_field(
        center, organ.shape, spacing_mm, radius_mm=radius_mm, roughness=rng.uniform(*ROUGHNESS), rng=rng
    )
    opacity, appearance = _visible(KINDS[kind], organ_hu, rng)
    width = max(rng.uniform(*EDGE_MM), float(np.mean(spacing_mm)))
    share_inside = np.clip(0.5 - beyond / width, 0, 1) * np.float32(opacity)
    content = _content(appearance, beyond, radius_mm, spacing_mm, rng) + noise
    mask = beyond <= 0
    mask[center] = True
    return GrownLesion(
        image_hu=np.asarray(surroundings + share_inside * (content - surroundings), dtype=np.float32),
        mask=mask,
        earlier=moved_earlier,
        organ=_segmented(moved_organ if moved_organ.any() else organ, mask, radius_mm, rng),
        center=center,
    )


def _visible(draw_kind: DrawKind, organ_hu: float, rng: np.random.Generator) -> tuple[float, Appearance]:
    """Opacity and appearance with at least `LEAST_CONTRAST_HU` against the organ; the opacity rises where it must."""
    appearance = draw_kind(organ_hu, rng)
    contrast = abs(appearance.mean_hu - organ_hu)
    least = min(1.0, LEAST_CONTRAST_HU / max(contrast, 1e-3))
    return max(float(rng.uniform(*OPACITY)), least), appearance


def _content(
    appearance: Appearance, beyond: FloatArray, radius_mm: float, spacing_mm: Triple, rng: np.random.Generator
) -> FloatArray:
    """What the lesion shows where it is opaque, without the noise of the scanner."""
    content = np.full(beyond.shape, appearance.mean_hu, dtype=np.float32)
    if appearance.core_hu is not None:
        depth_mm = radius_mm * rng.uniform(0.25, 0.6)
        ragged = 0.15 * radius_mm * smooth_noise(beyond.shape, tuple(0.3 * radius_mm / s for s in spacing_mm), rng)
        core = np.clip(0.5 - (beyond + depth_mm + ragged) / max(2.0, 0.2 * radius_mm), 0, 1)
        content += core * np.float32(appearance.core_hu - appearance.mean_hu)
    if appearance.rim_hu:
        content += np.float32(appearance.rim_hu) * np.exp(-((beyond / 2.0) ** 2))
    if appearance.texture_hu:
        grain_mm = rng.uniform(1.5, max(2.0, 0.4 * radius_mm))
        content += appearance.texture_hu * smooth_noise(beyond.shape, tuple(grain_mm / s for s in spacing_mm), rng)
    return content


def _segmented(organ: BoolArray, lesion: BoolArray, radius_mm: float, rng: np.random.Generator) -> BoolArray:
    """The organ mask that a segmenter of healthy anatomy might draw: the larger a lesion, the rarer it is included."""
    left_out = organ & ~lesion
    enough = left_out.sum() > LEAST_ORGAN_LEFT * organ.sum()
    if enough and rng.random() < np.clip(radius_mm / 25, 0.2, 0.9):
        return left_out
    touching = lesion & (organ | (rng.random() < 0.5))
    return np.asarray(organ | touching)
