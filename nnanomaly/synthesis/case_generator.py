"""A training example for the lesion head: a healthy organ with none to three lesions, or with edits that are none."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.synthesis.distractors import DISTRACTORS
from nnanomaly.synthesis.grown_lesion import grow_lesion
from nnanomaly.synthesis.placement import PLACES
from nnanomaly.volume import Triple

RADIUS_MM = (2.5, 50.0)
"""Radii are log-uniform (METHOD 7)."""
PLACE_SHARES = (0.4, 0.4, 0.2)
"""Of `PLACES`."""
NUMBERS = ((0, 0.25), (1, 0.45), (2, 0.2), (3, 0.1))
"""How many lesions, and how often."""
DISTRACTOR_SHARE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """An organ whose lesions are known because they were made."""

    image_hu: FloatArray
    """`[Z, Y, X]`."""
    organ: BoolArray
    """`[Z, Y, X]`, as a segmenter would draw it."""
    lesions: BoolArray
    """`[Z, Y, X]`, all lesions."""
    kinds: tuple[str, ...]
    """Kind of every lesion."""


def make_example(
    image_hu: FloatArray, organ: BoolArray, *, spacing_mm: Triple, kinds: Sequence[str], rng: np.random.Generator
) -> Example:
    """Draw number, kinds (of `kinds`), radii and places of lesions; 30 % of examples get a distractor before them.

    Every lesion lies in the organ as it was; a later one pushes earlier ones aside and covers them where they overlap.
    Raises ValueError for an
    empty organ.
    """
    if rng.random() < DISTRACTOR_SHARE:
        name = str(rng.choice(list(DISTRACTORS)))
        image_hu = DISTRACTORS[name](image_hu, organ, spacing_mm, rng)
    numbers, shares = zip(*NUMBERS, strict=True)
    chosen = [str(rng.choice(list(kinds))) for _ in range(rng.choice(numbers, p=shares))]
    lesions = np.zeros(organ.shape, dtype=bool)
    seen = organ
    for kind in chosen:
        radius_mm = float(np.exp(rng.uniform(*np.log(RADIUS_MM))))
        place = str(rng.choice(PLACES, p=PLACE_SHARES))
        grown = grow_lesion(
            image_hu,
            organ,
            earlier=lesions,
            spacing_mm=spacing_mm,
            kind=kind,
            radius_mm=radius_mm,
            place=place,
            rng=rng,
        )
        image_hu, lesions, seen = grown.image_hu, grown.earlier | grown.mask, _combine(seen, grown.organ, organ)
    return Example(image_hu=image_hu, organ=seen, lesions=lesions, kinds=tuple(chosen))


def _combine(seen: BoolArray, after: BoolArray, before: BoolArray) -> BoolArray:
    """What is left of the organ after several lesions: each takes away or adds what it alone would."""
    left = (seen & ~(before & ~after)) | (after & ~before)
    return left if left.any() else seen
