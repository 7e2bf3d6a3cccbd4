"""Which candidates find which lesions: connected components, their IoU, and a one-to-one assignment.

Candidates and lesions are connected components of two masks on one grid. A pair is feasible if its voxel IoU reaches
the threshold (inclusive). The assignment has the most feasible pairs, and among those the largest sum of IoU, so it
does not depend on any order. What remains is a missed lesion or a false positive, except around reference specks:
lesions under the size floor are ignored, and so are candidates that are feasible with nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import linear_sum_assignment

from nnanomaly.evaluation.case_pairs import CasePairs, measure_mask, measure_reference, pair_masks
from nnanomaly.evaluation.regions import Pair, Region, SizeFloor
from nnanomaly.roi.components import Component, Connectivity
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Grid, Volume

Kind = Literal["TP", "FN", "FP", "ignored_lesion", "neutral_candidate", "removed_candidate"]
"""TP: a lesion and its candidate. FN: a lesion nobody found. FP: a candidate without a lesion. The others do not count:
a reference speck under the size floor; a candidate that matches only such specks; a candidate under the floor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchRule:
    """Everything that decides what counts as found."""

    min_iou: float = 0.2
    """Smallest IoU of a match, inclusive."""
    connectivity: Connectivity = 26
    """Neighbourhood of connected components: 6, 18 or 26."""
    reference_floor: SizeFloor = SizeFloor()
    """Lesions of the reference under it are ignored."""
    candidate_floor: SizeFloor = SizeFloor()
    """Candidates under it are removed before matching."""
    assignment: str = "hungarian"
    """`hungarian` (most pairs, then largest sum of IoU), `greedy` (largest IoU first) or `score` (best score first)."""
    extra_candidates: str = "false_positive"
    """A further feasible candidate on a lesion that is already matched: `false_positive` or `neutral`."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _require(0 < self.min_iou <= 1, "min_iou", self.min_iou, "must lie in (0, 1]")
        _require(self.connectivity in (6, 18, 26), "connectivity", self.connectivity, "must be 6, 18 or 26")
        _require(self.assignment in ASSIGNMENTS, "assignment", self.assignment, f"must be one of {list(ASSIGNMENTS)}")
        extra = ["false_positive", "neutral"]
        _require(self.extra_candidates in extra, "extra_candidates", self.extra_candidates, f"must be one of {extra}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LesionRecord:
    """One lesion, one candidate, or a lesion with the candidate that found it: a row from which all tables are made."""

    case: str
    """Case id."""
    kind: Kind
    """What it counts as."""
    lesion: Region | None = None
    """The lesion (TP, FN, ignored_lesion)."""
    candidate: Region | None = None
    """The candidate (TP, FP, neutral_candidate, removed_candidate)."""
    iou: float = 0.0
    """IoU of lesion and candidate; where one of them is missing, the largest with any."""
    overlaps: tuple[tuple[int, int], ...] | None = ()
    """(candidate id, common voxels) of every candidate above the floor that touches the lesion; None for boxes, which
    share no voxels with masks."""

    @property
    def lesion_id(self) -> int | None:
        """Id of the lesion."""
        return None if self.lesion is None else self.lesion.id

    @property
    def candidate_id(self) -> int | None:
        """Id of the candidate."""
        return None if self.candidate is None else self.candidate.id

    @property
    def score(self) -> float | None:
        """Score of the candidate."""
        return None if self.candidate is None else self.candidate.score

    @property
    def outside_roi_fraction(self) -> float | None:
        """Share of the lesion's voxels that lie in no organ patch."""
        return None if self.lesion is None else self.lesion.outside_roi_fraction

    @property
    def axial_diameter_mm(self) -> float:
        """Axial diameter of the lesion, or of the candidate where there is none: what decides the size stratum."""
        return self._region.axial_diameter_mm

    @property
    def volume_mm3(self) -> float:
        """Volume of the lesion, or of the candidate where there is none."""
        return self._region.volume_mm3

    @property
    def _region(self) -> Region:
        region = self.lesion or self.candidate
        assert region is not None, self
        return region


def match_case(
    candidates: Volume,
    reference: Volume,
    rule: MatchRule,
    *,
    case: str = "",
    score: Callable[[Component], float | None] = lambda component: None,
    patches: Sequence[Grid] | None = None,
) -> list[LesionRecord]:
    """Match the components of two masks `[1, Z, Y, X]` (0 is background) on one grid; one record per component or pair.

    `score` gives the score of a candidate. With `patches`, each lesion learns its share outside all of them.
    Masks of different shapes raise `DataError`.
    """
    if candidates.array.shape != reference.array.shape or len(reference.array) != 1:
        shapes = f"{candidates.array.shape} and {reference.array.shape}"
        raise DataError(
            "GEO-PAIR", f"{case}: prediction and reference have the shapes {shapes}, but must be masks of one"
        )
    drawn = measure_reference(reference, connectivity=rule.connectivity, patches=patches)
    found = measure_mask(candidates, connectivity=rule.connectivity, floor=rule.candidate_floor, score=score)
    return match_pairs(pair_masks(found, drawn, case=case), rule)


def match_pairs(
    pairs: CasePairs, rule: MatchRule, *, min_score: float | None = None, max_candidates: int | None = None
) -> list[LesionRecord]:
    """Match what was measured.

    With `min_score`, candidates below it (or without a score) are left out; with `max_candidates`, all but that many of
    the best scores.
    """
    scores = [-np.inf if candidate.score is None else candidate.score for candidate in pairs.candidates]
    kept = [j for j, score in enumerate(scores) if min_score is None or score >= min_score]
    if max_candidates is not None and len(kept) > max_candidates:
        kept = sorted(sorted(kept, key=lambda j: -scores[j])[:max_candidates])
    new = {j: position for position, j in enumerate(kept)}
    common = None if pairs.common is None else {(i, new[j]): n for (i, j), n in pairs.common.items() if j in new}
    return [
        *match_regions(
            pairs.lesions,
            [pairs.candidates[j] for j in kept],
            {(i, new[j]): value for (i, j), value in pairs.iou.items() if j in new},
            rule=rule,
            case=pairs.case,
            common=common,
        ),
        *(LesionRecord(case=pairs.case, kind="removed_candidate", candidate=region) for region in pairs.removed),
    ]


def match_regions(
    lesions: Sequence[Region],
    candidates: Sequence[Region],
    iou: Mapping[Pair, float],
    *,
    rule: MatchRule,
    case: str = "",
    common: Mapping[Pair, int] | None = None,
) -> list[LesionRecord]:
    """Match measured lesions and candidates by the IoU of their pairs, however it was computed; lesions come first.

    Without `common` voxels of the pairs the records have no overlaps, and no DSC follows from them.
    """
    counted = {i for i, lesion in enumerate(lesions) if rule.reference_floor.admits(lesion)}
    feasible = {pair: value for pair, value in iou.items() if value >= rule.min_iou}
    open_pairs = {pair: value for pair, value in feasible.items() if pair[0] in counted}
    matched = dict(ASSIGNMENTS[rule.assignment](open_pairs, [candidate.score for candidate in candidates]))
    best_of_lesion, best_of_candidate = _largest(iou, axis=0), _largest(iou, axis=1)
    overlaps: dict[int, list[tuple[int, int]]] = {}
    for (i, j), voxels in sorted((common or {}).items()):
        overlaps.setdefault(i, []).append((candidates[j].id, voxels))
    records = []
    for i, lesion in enumerate(lesions):
        partner = matched.get(i)
        kind: Kind = "ignored_lesion" if i not in counted else "FN" if partner is None else "TP"
        records.append(
            LesionRecord(
                case=case,
                kind=kind,
                lesion=lesion,
                candidate=None if partner is None else candidates[partner],
                iou=best_of_lesion.get(i, 0.0) if partner is None else iou[i, partner],
                overlaps=None if common is None else tuple(overlaps.get(i, ())),
            )
        )
    neutral = _neutral_candidates(feasible, counted, rule)
    for j in sorted(set(range(len(candidates))) - set(matched.values())):
        kind = "neutral_candidate" if j in neutral else "FP"
        best, shared = best_of_candidate.get(j, 0.0), None if common is None else ()
        records.append(LesionRecord(case=case, kind=kind, candidate=candidates[j], iou=best, overlaps=shared))
    return records


def assign_hungarian(iou: Mapping[Pair, float]) -> list[Pair]:
    """The most pairs, each lesion and candidate at most once; among those choices the largest sum of IoU."""
    rows = {lesion: row for row, lesion in enumerate(sorted({i for i, _ in iou}))}
    columns = {candidate: column for column, candidate in enumerate(sorted({j for _, j in iou}))}
    value = np.zeros((len(rows), len(columns)))
    # All IoU together weigh less than one pair, so a further pair always wins over better overlap.
    weight = 1 / (min(value.shape, default=0) + 1)
    for (i, j), overlap in iou.items():
        value[rows[i], columns[j]] = 1 + weight * overlap
    chosen = set(zip(*(side.tolist() for side in linear_sum_assignment(value, maximize=True)), strict=True))
    return [(i, j) for i, j in sorted(iou) if (rows[i], columns[j]) in chosen]


def assign_greedily(iou: Mapping[Pair, float]) -> list[Pair]:
    """Pairs in the order of falling IoU (then of position), each lesion and candidate at most once."""
    pairs: list[Pair] = []
    used_lesions, used_candidates = set(), set()
    for i, j in sorted(iou, key=lambda pair: (-iou[pair], pair)):
        if i not in used_lesions and j not in used_candidates:
            pairs.append((i, j))
            used_lesions.add(i)
            used_candidates.add(j)
    return pairs


def assign_by_score(iou: Mapping[Pair, float], scores: Sequence[float | None]) -> list[Pair]:
    """Candidates by falling score (then position) take the free lesion they overlap best; the rule of box detection.

    The first k candidates keep their matches whatever comes after them, as average precision and FROC need it.
    """
    pairs: list[Pair] = []
    used_lesions: set[int] = set()
    ranks = [-np.inf if score is None else score for score in scores]
    for j in sorted({j for _, j in iou}, key=lambda j: (-ranks[j], j)):
        free = [i for i, other in iou if other == j and i not in used_lesions]
        if free:
            best = max(free, key=lambda i: (iou[i, j], -i))
            pairs.append((best, j))
            used_lesions.add(best)
    return pairs


ASSIGNMENTS: dict[str, Callable[[Mapping[Pair, float], Sequence[float | None]], list[Pair]]] = {
    "hungarian": lambda iou, scores: assign_hungarian(iou),
    "greedy": lambda iou, scores: assign_greedily(iou),
    "score": assign_by_score,
}


def _neutral_candidates(feasible: Mapping[Pair, float], counted: set[int], rule: MatchRule) -> set[int]:
    """Unmatched candidates that are not false positives: feasible with specks only, or forgiven extra ones."""
    with_counted = {j for i, j in feasible if i in counted}
    with_specks = {j for i, j in feasible if i not in counted}
    return with_specks - with_counted if rule.extra_candidates == "false_positive" else with_specks | with_counted


def _largest(iou: Mapping[Pair, float], *, axis: int) -> dict[int, float]:
    """Largest IoU of each lesion (axis 0) or candidate (axis 1)."""
    largest: dict[int, float] = {}
    for pair, value in iou.items():
        largest[pair[axis]] = max(value, largest.get(pair[axis], 0.0))
    return largest


def _require(condition: bool, field: str, value: object, rule: str) -> None:
    if not condition:
        raise ConfigurationError("CFG-EVAL", f"matching rule {field} is {value!r}, but {rule}")
