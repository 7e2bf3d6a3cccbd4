"""Lesions that nobody drew, as the head itself sees them in organs labelled unhealthy: multiple-instance learning by
its own best guess.

A weak label says that an unhealthy organ holds a lesion, not where. What the head is sure of becomes a target, what it
is sure is none becomes background, the doubtful voxels between do not count; and the best guess of an organ counts even
where the head is less sure, since the label says that there is something (the maximum over instances).
"""

from typing import NamedTuple

import numpy as np
from skimage.filters import apply_hysteresis_threshold

from nnanomaly.arrays import BoolArray, FloatArray
from nnanomaly.roi.components import find_components

CERTAIN, LIKELY, UNLIKELY = 0.8, 0.5, 0.1
"""Probabilities: a lesion holds a voxel above the first and grows down to the second; below the third is background."""
FAINTEST_GUESS = 0.3
"""An organ whose largest probability is below this tells nothing."""


class PseudoLesions(NamedTuple):
    """Targets of an unhealthy organ."""

    lesions: BoolArray
    """`[Z, Y, X]`."""
    counts: BoolArray
    """`[Z, Y, X]`, voxels that enter the loss."""


def guess_lesions(probability: FloatArray) -> PseudoLesions:
    """What a head's probability map `[Z, Y, X]` in [0, 1] of an unhealthy organ is taken to mean."""
    highest = float(probability.max())
    nothing = np.zeros(probability.shape, dtype=bool)
    if highest < FAINTEST_GUESS:
        return PseudoLesions(nothing, nothing)
    lesions = np.asarray(apply_hysteresis_threshold(probability, LIKELY, CERTAIN))
    if not lesions.any():
        lesions = _component_of_maximum(probability > 0.6 * highest, probability)
    return PseudoLesions(lesions, lesions | (probability < UNLIKELY))


def _component_of_maximum(mask: BoolArray, probability: FloatArray) -> BoolArray:
    """The connected component of the mask that holds the largest probability."""
    peak = np.unravel_index(int(np.argmax(probability)), probability.shape)
    chosen = np.zeros(mask.shape, dtype=bool)
    for component in find_components(mask):
        inner = tuple(p - s for p, s in zip(peak, component.box.start, strict=True))
        held = all(0 <= i < n for i, n in zip(inner, component.mask.shape, strict=True)) and component.mask[inner]
        if held:
            chosen[component.box.slices] = component.mask
    return chosen
