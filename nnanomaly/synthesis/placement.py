"""Where a lesion lies in an organ: a centre drawn by its signed distance to the organ's surface (METHOD 7)."""

import numpy as np
from numpy.typing import NDArray

from nnanomaly.arrays import FloatArray
from nnanomaly.volume import Shape

PLACES = ("endophytic", "straddling", "exophytic")
"""Whole in the organ, centred in the organ and cut by its surface, or centred outside and touching the organ."""


def draw_center(distance_mm: FloatArray, *, radius_mm: float, place: str, rng: np.random.Generator) -> Shape:
    """Index (z, y, x) of a voxel, all that fit equally likely.

    `distance_mm` `[Z, Y, X]` is the signed distance to the surface, negative inside. Where no voxel fits `place` (an
    organ too thin, a patch too small), the nearest to it that there is. Raises ValueError without an organ, or for
    another place.
    """
    if place not in PLACES:
        raise ValueError(f"place is {place!r}, but must be one of {', '.join(PLACES)}")
    inside = distance_mm < 0
    if not inside.any():
        raise ValueError("the organ mask is empty: a lesion has no place. Leave such a patch out.")
    z, y, x = rng.choice(np.argwhere(_fitting(distance_mm, inside, radius_mm, place)))
    return int(z), int(y), int(x)


def _fitting(distance_mm: FloatArray, inside: NDArray[np.bool_], radius_mm: float, place: str) -> NDArray[np.bool_]:
    if place == "endophytic":
        fits = inside & (distance_mm <= -radius_mm)
        return fits if fits.any() else distance_mm == distance_mm.min()
    if place == "straddling":
        fits = inside & (distance_mm > -radius_mm)
        return fits if fits.any() else inside & (distance_mm == distance_mm[inside].max())
    # Centred outside, but less than three quarters of the radius away: it hangs on the organ.
    fits = (distance_mm >= 0.2 * radius_mm) & (distance_mm <= 0.75 * radius_mm)
    return fits if fits.any() else ~inside & (distance_mm == distance_mm[~inside].min())
