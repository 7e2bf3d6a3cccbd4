"""A clause of a sentence: its findings, the organs it names with their sides, and the words between them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from nnanomaly.pseudo_labels.lexicon import NUMBER, Span, Token
from nnanomaly.pseudo_labels.measures import MEASURED, OrganSizes, unexplained_sizes
from nnanomaly.pseudo_labels.rule_pack import ABSENCE, BOTH, LEFT, RIGHT

Sides = frozenset[str]
NO_SIDE: Sides = frozenset()
GAP_BEFORE, GAP_AFTER = 4, 3
"""Words that may stand between a side and its organ behind it, or before it."""
LONGEST_GAP = 12
"""The same, with the words that do not count."""
CONTACT_GAP = 5
"""Words from a contact (abutting) to the organ that is touched."""


class OrganMention(NamedTuple):
    """An organ as named in a clause; `organ` is empty for one that is not labelled."""

    start: int
    end: int
    organ: str
    sides: Sides


class Chain(NamedTuple):
    """Organs that are named in one breath: liver, spleen and left kidney."""

    start: int
    end: int
    mentions: tuple[OrganMention, ...]


class Hit(NamedTuple):
    """A finding; `organ` is empty where the word itself names none."""

    start: int
    end: int
    organ: str
    kind: str
    term: str


class FreeSides(NamedTuple):
    """Sides that belong to no named organ: a cyst on the left."""

    start: int
    end: int
    sides: Sides


class Clause(NamedTuple):
    """Everything that is looked up in a clause; numbers are token positions."""

    tokens: tuple[Token, ...]
    findings: tuple[Hit, ...]
    finding_starts: tuple[int, ...]
    chains: tuple[Chain, ...]
    parts: tuple[Span, ...]
    plural: tuple[Span, ...]
    free_sides: tuple[FreeSides, ...]
    context: tuple[Span, ...]
    scope_ends: tuple[Span, ...]
    joiners: frozenset[int]
    fillers: frozenset[int]
    locations: frozenset[int]
    soft: frozenset[int]
    inside: tuple[Span, ...]
    known_places: frozenset[int]


def split_clauses(
    tokens: Sequence[Token], found: Mapping[str, Sequence[Span]], organ_sizes: OrganSizes
) -> Iterator[Clause]:
    """The clauses of a sentence; `found`: all terms in it, by list."""
    start = 0
    for end_span in [*found["clause_ends"], Span(len(tokens), len(tokens), "", "")]:
        inner = {
            name: [
                Span(s.start - start, s.end - start, s.value, s.term)
                for s in spans
                if start <= s.start and s.end <= end_span.start
            ]
            for name, spans in found.items()
        }
        words = tokens[start : end_span.start]
        inner["findings"] = sorted([*inner["findings"], *unexplained_sizes(words, inner, organ_sizes)])
        yield read_clause(words, inner)
        start = end_span.end


def read_clause(tokens: Sequence[Token], found: Mapping[str, list[Span]]) -> Clause:
    """Tell what the terms in a clause are to each other."""
    findings, context = _findings(len(tokens), found)
    organs = _organ_spans(found["anatomy"], findings)
    joiners, fillers, locations = (_covered(found[name]) for name in ("joiners", "fillers", "locations"))
    parts, sides = _covered(found["parts"]), _covered(found["sides"])
    named_sides = [span for span in found["sides"] if span.value]
    commas = {index for index, token in enumerate(tokens) if token.text in ",:"}
    owned, free = _attach(named_sides, organs, findings, soft=joiners | sides, hard=commas)
    holding = [o for o in organs if not _is_touched(o, found, commas)]
    mentions = [OrganMention(o.start, o.end, o.value, owned.get(o, NO_SIDE)) for o in holding]
    between = joiners | fillers | locations | parts | sides
    return Clause(
        tokens=tuple(tokens),
        findings=tuple(findings),
        finding_starts=tuple(finding.start for finding in findings),
        chains=tuple(_chains(mentions, tokens, findings=findings, joiners=joiners, between=between)),
        parts=tuple(found["parts"]),
        plural=tuple(found["plural"]),
        free_sides=tuple(_free_chains(free, joiners | fillers | locations)),
        context=tuple(context),
        scope_ends=tuple(found["scope_ends"]),
        joiners=joiners,
        fillers=fillers,
        locations=locations,
        soft=between,
        inside=tuple(found["inside"]),
        known_places=parts | _covered(organs) | _covered(found["no_place"]) | _numbers(tokens),
    )


def expand_sides(side: str) -> Sides:
    """`both` is left and right."""
    return frozenset((LEFT, RIGHT)) if side == BOTH else frozenset((side,))


def _findings(length: int, found_terms: Mapping[str, list[Span]]) -> tuple[list[Hit], list[Span]]:
    """Findings and context words; a word of absence is a finding only where none stands before it to be absent."""
    found = [_to_finding(span) for span in found_terms["findings"] if span.value]
    first = min((f.start for f in found if f.kind not in (ABSENCE, "normal", MEASURED)), default=length)
    absences = [f for f in found if f.kind == ABSENCE and f.start > first]
    context = found_terms["context"] + [Span(f.start, f.end, "negation_after", f.term) for f in absences]
    return [finding for finding in found if finding not in absences], sorted(context)


def _to_finding(span: Span) -> Hit:
    organ, _, kind = span.value.partition(":")
    return Hit(span.start, span.end, organ, kind, span.term)


def _organ_spans(anatomy: Sequence[Span], findings: Sequence[Hit]) -> list[Span]:
    """Named organs, and those that a finding names with it."""
    named = [f for f in findings if f.organ and not any(_overlap(f, span) for span in anatomy)]
    return sorted([*anatomy, *(Span(f.start, f.end, f.organ, f.term) for f in named)])


def _attach(
    sides: Sequence[Span], organs: Sequence[Span], findings: Sequence[Hit], *, soft: frozenset[int], hard: set[int]
) -> tuple[dict[Span, Sides], list[Span]]:
    """Give every side to the organ next to it; the rest is free. `soft` words do not count, `hard` ones part."""
    owned: dict[Span, Sides] = {}
    free = []
    for side in sides:
        reach = [
            (gap, organ.start < side.start, organ)
            for organ in organs
            if (gap := _gap(side, organ, findings, soft=soft, hard=hard)) is not None
        ]
        if reach:
            organ = min(reach)[-1]
            owned[organ] = owned.get(organ, NO_SIDE) | expand_sides(side.value)
        else:
            free.append(side)
    return owned, free


def _gap(side: Span, organ: Span, findings: Sequence[Hit], *, soft: frozenset[int], hard: set[int]) -> int | None:
    """Words between a side and an organ; None: too far apart."""
    first, second = (side, organ) if side.start <= organ.start else (organ, side)
    inner = range(first.end, second.start)
    if len(inner) > LONGEST_GAP:
        return None
    parted = any(index in hard for index in inner) or any(f.start in inner and not _overlap(f, organ) for f in findings)
    gap = sum(index not in soft for index in inner)
    return None if parted or gap > (GAP_BEFORE if first is side else GAP_AFTER) else gap


def _is_touched(organ: Span, spans: Mapping[str, list[Span]], commas: set[int]) -> bool:
    before = any(
        0 <= organ.start - contact.end <= CONTACT_GAP and not commas & set(range(contact.end, organ.start))
        for contact in spans["contacts_before"]
    )
    return before or any(0 <= contact.start - organ.end <= 1 for contact in spans["contacts_after"])


def _chains(
    mentions: Sequence[OrganMention],
    tokens: Sequence[Token],
    *,
    findings: Sequence[Hit],
    joiners: frozenset[int],
    between: frozenset[int],
) -> list[Chain]:
    """Mentions that only list words part; a comma links them where an `and` follows in the list."""
    runs: list[list[OrganMention]] = []
    for mention in mentions:
        before = runs[-1][-1] if runs else None
        inner = range(before.end, mention.start) if before else range(0)
        linked = before is not None and all(i in between or tokens[i].text == "," for i in inner)
        if linked and before is not None and not any(_overlap(f, m) for f in findings for m in (before, mention)):
            runs[-1].append(mention)
        else:
            runs.append([mention])
    chains = []
    for run in runs:
        is_list = any(i in joiners for a, b in zip(run, run[1:], strict=False) for i in range(a.end, b.start))
        for part in [run] if is_list or len(run) == 1 else [[mention] for mention in run]:
            chains.append(Chain(part[0].start, part[-1].end, tuple(part)))
    return chains


def _free_chains(sides: Sequence[Span], between: frozenset[int]) -> list[FreeSides]:
    found: list[FreeSides] = []
    for side in sides:
        if found and all(i in between for i in range(found[-1].end, side.start)):
            found[-1] = FreeSides(found[-1].start, side.end, found[-1].sides | expand_sides(side.value))
        else:
            found.append(FreeSides(side.start, side.end, expand_sides(side.value)))
    return found


def _overlap(a: Span | Hit | OrganMention, b: Span | Hit | OrganMention) -> bool:
    return a.start < b.end and b.start < a.end


def _covered(spans: Sequence[Span]) -> frozenset[int]:
    return frozenset(index for span in spans for index in range(span.start, span.end))


def _numbers(tokens: Sequence[Token]) -> frozenset[int]:
    return frozenset(index for index, token in enumerate(tokens) if token.text == NUMBER)
