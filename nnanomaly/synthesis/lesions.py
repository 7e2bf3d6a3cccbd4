"""Lesions put into an image of a healthy organ: spheres for now. Arrays in, arrays out; every draw from one generator.

Images and masks are `[Z, Y, X]` of one grid, intensities in HU, sizes in mm. Each kind of lesion is a function that
returns `Inserted`; another shape or texture is another function beside `insert_sphere`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.distance import signed_distance_mm
from nnanomaly.synthesis.placement import PLACES, draw_center
from nnanomaly.synthesis.shapes import distance_from
from nnanomaly.volume import Shape, Triple

EDGE_MM = (0.5, 2.0)
"""Range of the width over which a lesion fades into its surroundings (METHOD 7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Insertion:
    """What is to be inserted; where exactly follows from the organ and a generator."""

    diameter_mm: float
    """Diameter of the sphere."""
    contrast_hu: float
    """HU added in the sphere: negative is darker than its surroundings."""
    edge_mm: float
    """Width over which it fades."""
    place: str
    """`endophytic` or `straddling`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inserted:
    """An image with a lesion."""

    image_hu: FloatArray
    """`[Z, Y, X]`."""
    mask: BoolArray
    """`[Z, Y, X]`, the voxels within the sphere; at least its centre."""
    center: Shape
    """Index (z, y, x) of its centre."""


def draw_insertions(
    count: int, *, diameters_mm: Sequence[float], contrasts_hu: Sequence[float], rng: np.random.Generator
) -> list[Insertion]:
    """`count` lesions: all pairs of diameter and contrast equally often, as far as `count` allows, in random order.

    Edge and place are drawn uniformly. Raises ValueError when there is nothing to choose from.
    """
    pairs = list(product(diameters_mm, contrasts_hu))
    if not pairs:
        raise ValueError("no diameters or no contrasts to draw from; name at least one of each")
    rounds = [rng.permutation(len(pairs)) for _ in range(-(-count // len(pairs)))]
    chosen = [pairs[index] for order in rounds for index in order][:count]
    return [
        Insertion(
            diameter_mm=diameter, contrast_hu=contrast, edge_mm=rng.uniform(*EDGE_MM), place=str(rng.choice(PLACES[:2]))
        )
        for diameter, contrast in chosen
    ]


def insert(
    image_hu: FloatArray, organ: BoolArray, insertion: Insertion, *, spacing_mm: Triple, rng: np.random.Generator
) -> Inserted:
    """Insert a lesion that was drawn before; see `insert_sphere`."""
    return insert_sphere(
        image_hu,
        organ,
        spacing_mm=spacing_mm,
        diameter_mm=insertion.diameter_mm,
        contrast_hu=insertion.contrast_hu,
        edge_mm=insertion.edge_mm,
        place=insertion.place,
        rng=rng,
    )


def insert_sphere(
    image_hu: FloatArray,
    organ: BoolArray,
    *,
    spacing_mm: Triple,
    diameter_mm: float,
    contrast_hu: float,
    rng: np.random.Generator,
    edge_mm: float = 1.0,
    place: str = "endophytic",
) -> Inserted:
    """`image + contrast * share`, where `share` falls from 1 to 0 across the surface of a sphere centred in the organ.

    Image and organ are `[Z, Y, X]` and stay as they are. The edge is never sharper than a voxel, which then shows the
    share of it that the sphere fills. Raises ValueError for an empty organ and for sizes that are not positive.
    """
    if image_hu.shape != organ.shape:
        raise ValueError(f"the image is {image_hu.shape}, the organ mask {organ.shape}; they must share a grid")
    if diameter_mm <= 0 or edge_mm <= 0:
        raise ValueError(f"diameter_mm is {diameter_mm} and edge_mm {edge_mm}, but both must be positive")
    radius = diameter_mm / 2
    center = draw_center(signed_distance_mm(organ, spacing_mm), radius_mm=radius, place=place, rng=rng)
    beyond = distance_from(center, organ.shape, spacing_mm) - radius
    width = max(edge_mm, float(np.mean(spacing_mm)))
    share = np.clip(0.5 - beyond / width, 0, 1)
    image = np.asarray(image_hu + contrast_hu * share, dtype=np.float32)
    return Inserted(image_hu=image, mask=beyond <= 0, center=center)
