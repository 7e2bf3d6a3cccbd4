"""What was marked and what was drawn in one case, and what became of it: matched, missed, false.

The matching is that of the evaluation, with the same rule. Without a reference candidates are not judged.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nnanomaly.evaluation.case_pairs import Measured, measure_mask, measure_reference, pair_masks
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_pairs
from nnanomaly.evaluation.regions import Region, measure_candidate
from nnanomaly.roi.components import Component, find_components
from nnanomaly.volume import Box, Grid, Volume

Rgb = tuple[int, int, int]
Scores = Callable[[Component], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What a candidate or lesion turned out to be."""

    code: int
    """Value in the label maps of the viewer, and the order of the legend."""
    word: str
    """Word in tables."""
    color: Rgb
    """Colour in pictures and viewer; the colours of Okabe and Ito, which the colour-blind tell apart."""
    meaning: str
    """One sentence for the legend."""


UNJUDGED = Kind(code=1, word="not judged", color=(240, 228, 66), meaning="candidate; there is no reference")
MATCHED = Kind(code=2, word="matched", color=(0, 158, 115), meaning="candidate that found a lesion")
FALSE = Kind(code=3, word="false", color=(213, 94, 0), meaning="candidate without a lesion")
UNCOUNTED = Kind(code=4, word="not counted", color=(160, 160, 160), meaning="too small to count, or on such a lesion")
FOUND = Kind(code=5, word="found", color=(86, 180, 233), meaning="lesion of the reference that a candidate found")
MISSED = Kind(code=6, word="missed", color=(204, 121, 167), meaning="lesion of the reference that nothing found")
KINDS = (UNJUDGED, MATCHED, FALSE, UNCOUNTED, FOUND, MISSED)
_OF_CANDIDATE = {"TP": MATCHED, "FP": FALSE, "neutral_candidate": UNCOUNTED, "removed_candidate": UNCOUNTED}
_OF_LESION = {"TP": FOUND, "FN": MISSED, "ignored_lesion": UNCOUNTED}


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRegion:
    """A candidate of the prediction or a lesion of the reference."""

    is_candidate: bool
    """Candidate, or lesion."""
    kind: Kind
    """What became of it."""
    region: Region
    """Its numbers."""
    component: Component
    """Its voxels."""
    partner: int | None = None
    """Number of the lesion that a candidate found, or the other way round."""
    iou: float | None = None
    """IoU with the partner."""
    number: int = 0
    """From 1: candidates of the case by falling score, as in its candidates file, and lesions by falling size."""

    @property
    def name(self) -> str:
        """Name in tables."""
        return f"{'candidate' if self.is_candidate else 'lesion'} {self.number}"


def judge(candidates: Volume, reference: Volume | None, *, rule: MatchRule, score: Scores) -> list[ShownRegion]:
    """Candidates, then lesions, of two masks `[1, Z, Y, X]` on one grid, by falling score and size."""
    found = find_components(candidates.array[0], connectivity=rule.connectivity)
    if reference is None:
        findings = [
            _candidate(UNJUDGED, measure_candidate(item, candidates.grid, number=n, score=score(item)), item)
            for n, item in enumerate(found, 1)
        ]
        return _numbered(sorted(findings, key=_importance))
    drawn = measure_reference(reference, connectivity=rule.connectivity)
    measured = measure_mask(candidates, connectivity=rule.connectivity, floor=rule.candidate_floor, score=score)
    records = match_pairs(pair_masks(measured, drawn), rule)
    return _numbered(sorted(_from_records(records, found, drawn), key=_importance))


def _numbered(findings: Sequence[ShownRegion]) -> list[ShownRegion]:
    """The findings with their numbers in this order, and partners by these numbers."""
    sides = ([f.region.id for f in findings if f.is_candidate == side] for side in (False, True))
    numbers = [{identity: number for number, identity in enumerate(side, start=1)} for side in sides]
    return [
        replace(
            finding,
            number=numbers[finding.is_candidate][finding.region.id],
            partner=None if finding.partner is None else numbers[not finding.is_candidate][finding.partner],
        )
        for finding in findings
    ]


def _from_records(records: Sequence[LesionRecord], found: Sequence[Component], drawn: Measured) -> list[ShownRegion]:
    findings = []
    for record in records:
        iou = record.iou if record.kind == "TP" else None
        if record.candidate is not None:
            kind, component = _OF_CANDIDATE[record.kind], found[record.candidate.id - 1]
            findings.append(_candidate(kind, record.candidate, component, partner=record.lesion_id, iou=iou))
        if record.lesion is not None:
            findings.append(
                ShownRegion(
                    is_candidate=False,
                    kind=_OF_LESION[record.kind],
                    region=record.lesion,
                    component=drawn.components[record.lesion.id - 1],
                    partner=record.candidate_id,
                    iou=iou,
                )
            )
    return findings


def codes(findings: Sequence[ShownRegion], box: Box, *, candidates: bool) -> NDArray[np.uint8]:
    """Label map `[Z, Y, X]` of a part of the scan with the codes of its candidates, or of its lesions."""
    labels = np.zeros(box.shape, dtype=np.uint8)
    for finding in findings:
        if finding.is_candidate == candidates:
            index = finding.component.voxel_indices() - np.asarray(box.start)
            inside = index[np.all((index >= 0) & (index < box.shape), axis=1)]
            labels[tuple(inside.T)] = finding.kind.code
    return labels


def place_of(finding: ShownRegion) -> tuple[int, int, int]:
    """The voxel of a finding that is nearest to the mean of its voxels: it lies in it, whatever its shape."""
    index = finding.component.voxel_indices()
    nearest = index[int(np.argmin(np.linalg.norm(index - index.mean(axis=0), axis=1)))]
    return int(nearest[0]), int(nearest[1]), int(nearest[2])


def place_mm(finding: ShownRegion, grid: Grid) -> tuple[float, float, float]:
    """World position (z, y, x) of `place_of`."""
    z, y, x = grid.to_world(np.asarray(place_of(finding), dtype=float))
    return float(z), float(y), float(x)


def counts(findings: Sequence[ShownRegion]) -> Mapping[str, int]:
    """How many of each kind."""
    return {kind.word: sum(finding.kind is kind for finding in findings) for kind in KINDS}


def _candidate(
    kind: Kind, region: Region, component: Component, *, partner: int | None = None, iou: float | None = None
) -> ShownRegion:
    return ShownRegion(is_candidate=True, kind=kind, region=region, component=component, partner=partner, iou=iou)


def _importance(finding: ShownRegion) -> tuple[bool, float, int]:
    """Sorting key: candidates by falling score, lesions by falling size."""
    region = finding.region
    value = (region.score or 0.0) if finding.is_candidate else region.axial_diameter_mm
    return not finding.is_candidate, -value, region.id
