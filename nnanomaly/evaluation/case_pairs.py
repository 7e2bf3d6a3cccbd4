"""What one case gives to a matching: lesions and candidates as rows of numbers, and the overlap of their pairs.

Measuring takes the time, matching takes none: from one measurement a case is matched for every score threshold and
every IoU. The lesions are measured once for all methods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nnanomaly.evaluation.boxes import ScoredBoxes, boxes_of, measure_boxes, overlapping
from nnanomaly.evaluation.regions import Pair, Region, SizeFloor, common_voxels, measure_candidate, measure_lesion
from nnanomaly.roi.components import Component, Connectivity, find_components
from nnanomaly.volume import Grid, Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePairs:
    """Everything a matching of one case needs."""

    case: str
    """Case id."""
    lesions: list[Region]
    """Lesions of the reference, specks included."""
    candidates: list[Region]
    """Candidates above the size floor."""
    removed: list[Region]
    """Candidates under it."""
    iou: dict[Pair, float]
    """IoU of the pairs (lesion, candidate) that overlap."""
    common: dict[Pair, int] | None
    """Voxels they share; None for boxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The components of a mask, those above the size floor measured."""

    components: list[Component]
    """Components that count."""
    regions: list[Region]
    """The same, measured."""
    removed: list[Region]
    """Components under the floor, measured."""
    grid: Grid
    """Grid of the mask."""


def measure_reference(
    reference: Volume, *, connectivity: Connectivity, patches: Sequence[Grid] | None = None
) -> Measured:
    """Lesions of a mask `[1, Z, Y, X]`; specks are kept. With `patches`, each learns its share outside all of them."""
    drawn = find_components(reference.array[0], connectivity=connectivity)
    regions = [
        measure_lesion(component, reference.grid, number=n, patches=patches) for n, component in enumerate(drawn, 1)
    ]
    return Measured(components=drawn, regions=regions, removed=[], grid=reference.grid)


def measure_mask(
    candidates: Volume,
    *,
    connectivity: Connectivity,
    floor: SizeFloor,
    score: Callable[[Component], float | None] = lambda component: None,
) -> Measured:
    """Candidates of a mask `[1, Z, Y, X]`; `score` gives the score of a component."""
    found = find_components(candidates.array[0], connectivity=connectivity)
    regions = [
        measure_candidate(component, candidates.grid, number=n, score=score(component))
        for n, component in enumerate(found, 1)
    ]
    admitted = [floor.admits(region) for region in regions]
    return Measured(
        components=[component for component, keep in zip(found, admitted, strict=True) if keep],
        regions=[region for region, keep in zip(regions, admitted, strict=True) if keep],
        removed=[region for region, keep in zip(regions, admitted, strict=True) if not keep],
        grid=candidates.grid,
    )


def pair_masks(found: Measured, drawn: Measured, *, case: str = "") -> CasePairs:
    """Voxel IoU of the candidates and lesions of two masks on one grid."""
    common = common_voxels(drawn.components, found.components)
    sizes = [region.num_voxels for region in drawn.regions], [region.num_voxels for region in found.regions]
    iou = {(i, j): shared / (sizes[0][i] + sizes[1][j] - shared) for (i, j), shared in common.items()}
    return CasePairs(
        case=case, lesions=drawn.regions, candidates=found.regions, removed=found.removed, iou=iou, common=common
    )


def pair_boxes(scored: ScoredBoxes, drawn: Measured, *, case: str = "") -> CasePairs:
    """Box IoU of predicted boxes and the boxes of the lesions; the lesions keep the size of their masks."""
    return CasePairs(
        case=case,
        lesions=drawn.regions,
        candidates=measure_boxes(scored, drawn.grid),
        removed=[],
        iou=overlapping(boxes_of(drawn.components), scored.boxes),
        common=None,
    )


def boxes_of_mask(found: Measured) -> ScoredBoxes:
    """The candidates of a mask as boxes, with their scores if all have one."""
    scores = [region.score for region in found.regions]
    known = [score for score in scores if score is not None]
    return ScoredBoxes(boxes=boxes_of(found.components), scores=np.array(known) if len(known) == len(scores) else None)
