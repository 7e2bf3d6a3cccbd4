"""Which organ and side a finding belongs to, by the order of the words."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from nnanomaly.pseudo_labels.clauses import NO_SIDE, Chain, Clause, Hit, OrganMention, Sides, expand_sides
from nnanomaly.pseudo_labels.lexicon import Span, Token
from nnanomaly.pseudo_labels.rule_pack import BOTH

NEAR = 3
"""Words between a finding and an organ that need no preposition."""
HEADING = 3
"""Words of a heading."""
LIST_GAP = 4
"""Words between two findings of one list."""


class Place(NamedTuple):
    """Where a finding lies; no sides: not said."""

    organ: str
    sides: Sides


def locate(clause: Clause, index: int, before: tuple[Place, ...]) -> tuple[Place, ...]:
    """Labelled organs that the finding number `index` belongs to; `before`: those of the text before the clause."""
    finding = clause.findings[index]
    chain = _choose_chain(clause, index)
    if chain is None:
        return _carried(clause, index, before)
    organs = {m.organ for m in chain.mentions if m.organ}
    if finding.organ:
        organs &= {finding.organ}
    return tuple(Place(organ, _choose_sides(clause, index, chain, organ)) for organ in sorted(organs))


def subjects(clause: Clause, before: tuple[Place, ...]) -> tuple[Place, ...]:
    """What the text speaks of after the clause: the last organs named, none after an organ that is not labelled."""
    if clause.chains:
        mentions = clause.chains[-1].mentions
        organs = sorted({m.organ for m in mentions if m.organ})
        return tuple(Place(organ, _attached(mentions, organ) or _last_free(clause)) for organ in organs)
    free = _last_free(clause)
    return tuple(Place(place.organ, free or place.sides) for place in before)


def opens_topic(tokens: Sequence[Token], found: Mapping[str, Sequence[Span]]) -> bool:
    """Whether a sentence begins with a heading that no list knows (`Other:`): what was spoken of before ends there."""
    heading = next((i for i, token in enumerate(tokens[: HEADING + 1]) if token.text == ":"), 0)
    known = (span for name in ("anatomy", "parts", "sides", "findings") for span in found[name])
    return heading > 0 and not any(span.start < heading for span in known)


def _last_free(clause: Clause) -> Sides:
    return clause.free_sides[-1].sides if clause.free_sides else NO_SIDE


def _attached(mentions: tuple[OrganMention, ...], organ: str) -> Sides:
    return NO_SIDE.union(*(m.sides for m in mentions if m.organ == organ))


def _choose_chain(clause: Clause, index: int) -> Chain | None:
    """In this order: the organ in the word or next before it, behind it, that of its list, any before, any behind.

    One that has a side comes before one of the same organ that has none: a Bosniak II cyst of the left kidney.
    """
    finding = clause.findings[index]
    ahead = [chain for chain in clause.chains if chain.end <= finding.start]
    behind = [chain for chain in clause.chains if chain.start >= finding.end]
    inside = next((c for c in clause.chains if c.start < finding.end and finding.start < c.end), None)
    adjacent = ahead[-1] if ahead and _is_next_to(clause, ahead[-1].end, finding.start) else None
    located = behind[0] if behind and _is_located(clause, finding.end, behind[0]) else None
    near = [chain for chain in (inside, adjacent, located) if chain is not None]
    if near:
        near += ahead[-1:]
        return next((chain for chain in near[1:] if _says_more(chain, near[0])), near[0])
    if _is_listed(clause, index):
        return _choose_chain(clause, index + 1)
    if ahead:
        return ahead[-1]
    return behind[0] if behind and not _has_comma(clause, finding.end, behind[0].start) else None


def _says_more(chain: Chain, other: Chain) -> bool:
    organs = {m.organ for m in other.mentions if m.organ}
    return any(_attached(chain.mentions, organ) and not _attached(other.mentions, organ) for organ in organs)


def _is_next_to(clause: Clause, start: int, end: int) -> bool:
    inner = range(start, end)
    parted = _has_comma(clause, start, end) or any(i in clause.locations | clause.joiners for i in inner)
    return len(inner) <= NEAR and not parted and not _has_finding(clause, start, end)


def _is_located(clause: Clause, start: int, chain: Chain) -> bool:
    """Whether the organ behind a finding is its place: near it or behind a preposition, in the same part."""
    inner = range(start, chain.start)
    if _has_finding(clause, start, chain.start) or (inner and start in clause.joiners):
        return False
    by_word = any(i in clause.locations for i in inner)
    if not by_word and sum(i not in clause.soft for i in inner) > NEAR:
        return False
    if by_word or not _has_comma(clause, start, chain.start):
        return True
    rest = clause.tokens[chain.end].text if chain.end < len(clause.tokens) else ","
    return rest in ",." or not _has_finding(clause, chain.start, len(clause.tokens))


def _is_listed(clause: Clause, index: int) -> bool:
    """Whether the finding and the next one are items of a list: a mass, cyst or stone.

    They are none where the first one has an organ before it and the next one an organ and side of its own.
    """
    if index + 1 >= len(clause.findings):
        return False
    first, following = clause.findings[index], clause.findings[index + 1]
    own = [c for c in clause.chains if first.end <= c.start <= following.start and any(m.sides for m in c.mentions)]
    if own and any(chain.end <= first.start for chain in clause.chains):
        return False
    inner = range(clause.findings[index].end, clause.findings[index + 1].start)
    linked = any(i in clause.joiners or clause.tokens[i].text == "," for i in inner)
    return linked and len(inner) <= LIST_GAP and not any(i in clause.locations for i in inner)


def _choose_sides(clause: Clause, index: int, chain: Chain, organ: str) -> Sides:
    finding = clause.findings[index]
    free = _nearest_free(clause, index)
    start, end = min(finding.end, chain.end), max(finding.start, chain.start)
    attached = _attached(chain.mentions, organ)
    if attached and not (free and _has_finding(clause, start, end)):
        return attached
    if free:
        return free
    if _is_listed(clause, index):
        return _choose_sides(clause, index + 1, chain, organ)
    plural = any(s.value == organ and chain.start <= s.start < chain.end for s in clause.plural)
    return expand_sides(BOTH) if plural else _sides_before(clause, chain, organ)


def _sides_before(clause: Clause, chain: Chain, organ: str) -> Sides:
    """The left kidney shows a renal mass: the organ next before, where it is the same and nothing was found in it."""
    before = [other for other in clause.chains if other.end <= chain.start][-1:]
    if not before or _has_finding(clause, before[0].end, chain.start):
        return NO_SIDE
    return _attached(before[0].mentions, organ)


def _nearest_free(clause: Clause, index: int) -> Sides:
    """Sides without an organ next to the finding, no other finding between, best no comma either."""
    finding = clause.findings[index]
    near = []
    for free in clause.free_sides:
        if free.end <= finding.start and not _has_finding(clause, free.end, finding.start):
            near.append((_has_comma(clause, free.end, finding.start), finding.start - free.end, free))
        elif free.start >= finding.end and not _has_finding(clause, finding.end, free.start):
            near.append((_has_comma(clause, finding.end, free.start), free.start - finding.end, free))
        elif free.start < finding.end and finding.start < free.end:
            near.append((False, 0, free))
    return min(near)[-1].sides if near else NO_SIDE


def _carried(clause: Clause, index: int, before: tuple[Place, ...]) -> tuple[Place, ...]:
    """The place of a finding whose clause names no organ: what was spoken of, unless another place is named."""
    if _lies_elsewhere(clause, clause.findings[index]):
        return ()
    free = _nearest_free(clause, index) or (_nearest_free(clause, index + 1) if _is_listed(clause, index) else NO_SIDE)
    if not before and clause.parts:
        return (Place(clause.parts[0].value, free),)
    return tuple(Place(place.organ, free or place.sides) for place in before)


def _lies_elsewhere(clause: Clause, finding: Hit) -> bool:
    """Whether a place that no list knows follows the finding: a cyst in the wibble."""
    skipped = {i for free in clause.free_sides for i in range(free.start, free.end)}
    skipped |= clause.locations | clause.fillers
    for word in clause.inside:
        if word.start < finding.end or _has_finding(clause, finding.end, word.start):
            continue
        following = [i for i in range(word.end, len(clause.tokens)) if i not in skipped]
        if following and following[0] not in clause.known_places:
            return True
    return False


def _has_comma(clause: Clause, start: int, end: int) -> bool:
    return any(clause.tokens[i].text == "," for i in range(start, end))


def _has_finding(clause: Clause, start: int, end: int) -> bool:
    return bisect_left(clause.finding_starts, start) < bisect_left(clause.finding_starts, end)
