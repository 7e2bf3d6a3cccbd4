"""Voxels that nobody looked at: nnU-Net's label "ignore" in a reference, masked as its own evaluation masks them.

What a prediction marks there counts as nothing. Of a candidate that reaches out of the ignored part, the voxels outside
are judged, with the score of the whole; a box, which has no voxels, is left out where more than half of it is ignored.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.boxes import ScoredBoxes
from nnanomaly.roi.components import Component, Connectivity, find_components
from nnanomaly.volume import Volume

Score = Callable[[Component], float | None]
MOST_IGNORED = 0.5
"""Largest ignored share of a box that is judged."""


def without_ignored(
    prediction: Volume, ignored: NDArray[np.bool_] | None, score: Score, *, connectivity: Connectivity
) -> tuple[Volume, Score]:
    """The mask `[1, Z, Y, X]` outside of the ignored voxels `[Z, Y, X]`, and the score of what is left."""
    if ignored is None:
        return prediction, score
    whole = find_components(prediction.array[0], connectivity=connectivity)
    scores = np.full(len(whole) + 1, np.nan)
    numbers = np.zeros(prediction.grid.shape, np.int32)
    for number, component in enumerate(whole, start=1):
        numbers[component.box.slices][component.mask] = number
        value = score(component)
        scores[number] = np.nan if value is None else value

    def of_rest(component: Component) -> float | None:
        value = scores[numbers[component.box.slices][component.mask][0]]
        return None if np.isnan(value) else float(value)

    return replace(prediction, array=(prediction.array != 0) & ~ignored), of_rest


def boxes_without_ignored(scored: ScoredBoxes, ignored: NDArray[np.bool_] | None) -> ScoredBoxes:
    """The boxes of which at most half is ignored."""
    if ignored is None:
        return scored
    kept = np.array([_ignored_share(box, ignored) <= MOST_IGNORED for box in scored.boxes], dtype=bool)
    return ScoredBoxes(boxes=scored.boxes[kept], scores=None if scored.scores is None else scored.scores[kept])


def _ignored_share(box: NDArray[np.floating], ignored: NDArray[np.bool_]) -> float:
    """Of the voxels of the scan in a box, whose ends are exclusive; 0 of a box beside the scan."""
    start = np.clip(np.floor(box[:3]) + 1, 0, ignored.shape).astype(int)
    stop = np.clip(np.ceil(box[3:]), start, ignored.shape).astype(int)
    inside = ignored[tuple(slice(int(lo), int(hi)) for lo, hi in zip(start, stop, strict=True))]
    return float(inside.mean()) if inside.size else 0.0
