"""Whether a finding is there: affirmed, negated, uncertain, of the past, of another person, or only planned."""

from nnanomaly.pseudo_labels.clauses import Clause, Hit
from nnanomaly.pseudo_labels.lexicon import NUMBER, Span
from nnanomaly.pseudo_labels.rule_pack import KINDS
from nnanomaly.pseudo_labels.sentences import BACKGROUND, Sentence

AFFIRMED, NEGATED, UNCERTAIN = "affirmed", "negated", "uncertain"
HISTORICAL, FAMILY, PLANNED, BACKGROUND_ONLY = "historical", "family", "planned", "background"
LASTING = frozenset(kind for kind in KINDS if kind.startswith("removal"))
"""Kinds that stay true when they lie in the past."""


def assert_finding(clause: Clause, index: int, sentence: Sentence, *, of_family: bool) -> tuple[str, str]:
    """Status of the finding number `index` and the word that decided it (empty where none did)."""
    finding = clause.findings[index]
    if of_family:
        return FAMILY, "family"
    deciding = _deciding(clause, index)
    status, word = _STATUS[deciding.value] if deciding else AFFIRMED, deciding.term if deciding else ""
    if finding.kind == "normal" and status == NEGATED and deciding and not _stands_beside(deciding, finding):
        status, word = AFFIRMED, ""
    if status == NEGATED and deciding and _side_after_comma_alone(clause, deciding, finding):
        status = UNCERTAIN
    if finding.kind in LASTING and status == HISTORICAL:
        status, word = AFFIRMED, ""
    if status == AFFIRMED and sentence.is_question:
        status, word = UNCERTAIN, "?"
    if sentence.section == BACKGROUND and not (finding.kind in LASTING and status == AFFIRMED):
        return BACKGROUND_ONLY, word
    return status, word


_STATUS = {
    "negation_before": NEGATED,
    "negation_after": NEGATED,
    "uncertain_before": UNCERTAIN,
    "uncertain_after": UNCERTAIN,
    "history": HISTORICAL,
    "planned_before": PLANNED,
    "planned_after": PLANNED,
}
_STRENGTH = ("negation_before", "negation_after", "planned_before", "planned_after", "history")
"""The first of these that reaches a finding decides; after them the uncertain ones."""


def _deciding(clause: Clause, index: int) -> Span | None:
    reaching = [span for span in clause.context if span.value in _STATUS and _reaches(clause, span, index)]
    order = {value: rank for rank, value in enumerate(_STRENGTH)}
    return min(reaching, key=lambda span: order.get(span.value, len(order)), default=None)


def _reaches(clause: Clause, span: Span, index: int) -> bool:
    finding = clause.findings[index]
    if span.value.endswith("_after"):
        return span.start >= finding.end and all(
            _is_listed_with_next(clause, i)
            for i in range(index, len(clause.findings) - 1)
            if clause.findings[i + 1].start < span.start
        )
    if span.end > finding.start or any(span.end <= end.start <= finding.start for end in clause.scope_ends):
        return False
    return span.value != "negation_before" or not _comma_begins_anew(clause, span.end, finding)


def _comma_begins_anew(clause: Clause, start: int, finding: Hit) -> bool:
    """No hydronephrosis, cyst of 2 cm: a comma, no list that ends in `or`, and a measurement behind it."""
    commas = [i for i in range(start, finding.start) if clause.tokens[i].text == ","]
    if not commas:
        return False
    rest = range(commas[-1], len(clause.tokens))
    is_list = any(i in clause.joiners for i in rest)
    return not is_list and any(clause.tokens[i].text == NUMBER for i in rest)


def _side_after_comma_alone(clause: Clause, span: Span, finding: Hit) -> bool:
    """No stones, cyst in the left kidney: no `or` behind the comma, and the only side. A list, or the next finding?"""
    commas = [i for i in range(span.end, finding.start) if clause.tokens[i].text == ","]
    if span.value != "negation_before" or not commas:
        return False
    behind = range(commas[-1], finding.start)
    if any(i in clause.joiners for i in range(commas[-1], len(clause.tokens))) or any(
        other.value == span.value and other.start in behind for other in clause.context
    ):
        return False
    sides = [free.start for free in clause.free_sides if len(free.sides) == 1]
    sides += [m.start for chain in clause.chains for m in chain.mentions if len(m.sides) == 1]
    return bool(sides) and min(sides) > commas[-1]


def _is_listed_with_next(clause: Clause, index: int) -> bool:
    inner = range(clause.findings[index].end, clause.findings[index + 1].start)
    return any(i in clause.joiners for i in inner)


def _stands_beside(span: Span, finding: Hit) -> bool:
    return 0 <= finding.start - span.end <= 1
