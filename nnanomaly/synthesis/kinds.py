"""Kinds of lesions: how dark, how textured, with which core (METHOD 7). Intensities in HU."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """What fills a lesion."""

    mean_hu: float
    """Mean intensity."""
    texture_hu: float
    """Standard deviation of its smooth texture, noise of the scanner aside."""
    core_hu: float | None = None
    """Mean of a core that fills the middle; None = no core."""
    rim_hu: float = 0.0
    """Added to a shell of about 2 mm at the surface."""


DrawKind = Callable[[float, np.random.Generator], Appearance]


def _simple_cyst(organ_hu: float, rng: np.random.Generator) -> Appearance:
    return Appearance(mean_hu=rng.uniform(0, 20), texture_hu=0.0)


def _dense_cyst(organ_hu: float, rng: np.random.Generator) -> Appearance:
    wall = rng.uniform(10, 40) if rng.random() < 0.3 else 0.0
    return Appearance(mean_hu=rng.uniform(40, 80), texture_hu=rng.uniform(0, 3), rim_hu=wall)


def _solid_dark(organ_hu: float, rng: np.random.Generator) -> Appearance:
    return Appearance(mean_hu=organ_hu - rng.uniform(20, 90), texture_hu=rng.uniform(4, 20))


def _solid_bright(organ_hu: float, rng: np.random.Generator) -> Appearance:
    return Appearance(mean_hu=organ_hu + rng.uniform(10, 80), texture_hu=rng.uniform(4, 20))


def _fat(organ_hu: float, rng: np.random.Generator) -> Appearance:
    return Appearance(mean_hu=rng.uniform(-100, -10), texture_hu=rng.uniform(5, 25))


def _necrotic(organ_hu: float, rng: np.random.Generator) -> Appearance:
    return Appearance(mean_hu=organ_hu - rng.uniform(0, 70), texture_hu=rng.uniform(8, 25), core_hu=rng.uniform(10, 45))


KINDS: dict[str, DrawKind] = {
    "simple_cyst": _simple_cyst,
    "dense_cyst": _dense_cyst,
    "solid_dark": _solid_dark,
    "solid_bright": _solid_bright,
    "fat": _fat,
    "necrotic": _necrotic,
}
"""Functions of the organ's own intensity and a generator."""
