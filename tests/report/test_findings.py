"""Findings of a case are numbered as they are read: candidates by score, lesions by size, partners alike."""

import numpy as np

from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.report.findings import FALSE, FOUND, MATCHED, MISSED, UNJUDGED, judge
from nnanomaly.roi.components import Component
from nnanomaly.volume import Grid, Volume

GRID = Grid((40, 40, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
LOW, HIGH = (slice(2, 8),) * 3, (slice(28, 36),) * 3
"""In the order of the voxels."""


def mask(*places: tuple[slice, ...]) -> Volume:
    array = np.zeros((1, *GRID.shape), bool)
    for place in places:
        array[(0, *place)] = True
    return Volume(array, GRID)


def score(component: Component) -> float:
    """The later voxels have the higher score."""
    return float(component.voxel_indices().mean())


def test_the_first_candidate_is_the_one_with_the_highest_score() -> None:
    found = judge(mask(LOW, HIGH), None, rule=MatchRule(), score=score)
    assert [finding.name for finding in found] == ["candidate 1", "candidate 2"]
    assert [finding.kind for finding in found] == [UNJUDGED, UNJUDGED]
    assert found[0].component.voxel_indices().min() == 28


def test_partners_are_named_by_the_numbers_that_are_shown() -> None:
    elsewhere = (slice(2, 12), slice(28, 38), slice(2, 12))
    found = judge(mask(LOW, HIGH), mask(HIGH, elsewhere), rule=MatchRule(), score=score)
    told = [(finding.name, finding.kind, finding.partner) for finding in found]
    assert told == [
        ("candidate 1", MATCHED, 2),
        ("candidate 2", FALSE, None),
        ("lesion 1", MISSED, None),
        ("lesion 2", FOUND, 1),
    ]
