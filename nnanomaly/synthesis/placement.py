"""Where a lesion lies in an organ: a centre drawn by its signed distance to the organ's surface (METHOD 8)."""

import numpy as np
from numpy.typing import NDArray

from nnanomaly.volume import Shape

FloatArray = NDArray[np.float32]
PLACES = ("endophytic", "straddling")
"""Whole in the organ, or centred in the organ and cut by its surface."""


def draw_center(distance_mm: FloatArray, *, radius_mm: float, place: str, rng: np.random.Generator) -> Shape:
    """Index (z, y, x) of a voxel in the organ, all that fit equally likely.

    `distance_mm` `[Z, Y, X]` is the signed distance to the surface, negative inside. Where the organ is too thin for
    `place` (`endophytic` or `straddling`), the nearest to it that there is: the deepest, or the outermost voxels.
    Raises ValueError without an organ, or for another place.
    """
    if place not in PLACES:
        raise ValueError(f"place is {place!r}, but must be one of {', '.join(PLACES)}")
    inside = distance_mm < 0
    if not inside.any():
        raise ValueError("the organ mask is empty: a lesion has no place. Leave such a patch out.")
    if place == "endophytic":
        fits = inside & (distance_mm <= -radius_mm)
        wanted = fits if fits.any() else distance_mm == distance_mm.min()
    else:
        fits = inside & (distance_mm > -radius_mm)
        wanted = fits if fits.any() else inside & (distance_mm == distance_mm[inside].max())
    z, y, x = rng.choice(np.argwhere(wanted))
    return int(z), int(y), int(x)
