"""Labels of the organs of one report: a pure function of its text and the rules.

The rule is that of the paper (2.2): a lesion, cyst or tumour makes an organ unhealthy; a stone, calcification,
necrosis, atrophy or removal excludes it, which wins; normal or not mentioned is healthy. What the text leaves open is
uncertain: such organs neither train nor count.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nnanomaly.dataset.organ_labels import EXCLUDED, HEALTHY, UNHEALTHY
from nnanomaly.dataset.organ_labels import UNCERTAIN as UNSURE
from nnanomaly.pseudo_labels.assertions import AFFIRMED, HISTORICAL, NEGATED, UNCERTAIN, assert_finding
from nnanomaly.pseudo_labels.carrier import plain_text
from nnanomaly.pseudo_labels.clauses import NO_SIDE, Hit, Sides, split_clauses
from nnanomaly.pseudo_labels.language import Found, choose_rules, read_sentence
from nnanomaly.pseudo_labels.lexicon import tokenize
from nnanomaly.pseudo_labels.linking import Place, locate, opens_topic, subjects
from nnanomaly.pseudo_labels.measures import MEASURED
from nnanomaly.pseudo_labels.rule_pack import KINDS, LEFT, OTHER_SIDE, RIGHT, UNSIDED, Rules
from nnanomaly.pseudo_labels.sentences import Sentence, split_sentences
from nnanomaly.utilities.errors import DataError

NOT_MENTIONED, NO_FINDING = "not mentioned", "named, no finding"
"""Why an organ is healthy that no finding decides: the report does not name it, or says nothing of it."""
MAX_LETTERS = 100_000
"""A longer text is no report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """One finding of one organ in one sentence."""

    organ: str
    """Name in the rule pack, such as `kidney`."""
    sides: Sides
    """`left`, `right`, both, or none where the text does not say; `unsided` for an organ without sides."""
    kind: str
    """One of `KINDS`."""
    status: str
    """See `assertions`."""
    term: str
    """The word in the rule pack that was found."""
    decided_by: str
    """The word that made the status; empty for an affirmed finding."""
    sentence: str
    line: int

    @property
    def rule(self) -> str:
        """The rule in short: kind, word, status and what decided it."""
        return f"{self.kind}: {self.term}, {self.status}" + (f" by {self.decided_by!r}" if self.decided_by else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganLabel:
    """The label of one organ, and why."""

    organ: str
    """Name in the dataset, such as `kidney_left`."""
    label: str
    """healthy, unhealthy, excluded or uncertain."""
    reason: str
    """The rule that decided, in words."""
    mentions: tuple[Mention, ...]
    """Everything that was said of the organ, that which decided first."""
    num_deciding: int
    """How many of the mentions decided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLabels:
    """The labels of one report."""

    language: str
    """Language of the pack that read it."""
    organs: dict[str, OrganLabel]
    """By the organ's name in the dataset."""


def label_report(text: str, rules: Sequence[Rules], *, unmentioned: str = HEALTHY) -> ReportLabels:
    """Labels of every organ that the rule pack of the report's language knows.

    `rules`: one pack per language; sentences are read by the pack of their language. `unmentioned`: label of an organ
    that no sentence speaks of (healthy, as in the paper, or uncertain). DataError (REPORT-EMPTY, REPORT-TEXT,
    REPORT-LONG, REPORT-LANGUAGE) for a text that says nothing, or nothing that the rules can read.
    """
    check_text(text)
    text = plain_text(text, lambda word: _is_word(word, rules))
    check_text(text)
    readings = [_read(text, rules, main, unmentioned) for main in choose_rules(text, rules)]
    labels = [{name: organ.label for name, organ in reading.organs.items()} for reading in readings]
    if any(other != labels[0] for other in labels[1:]):
        names = " and as ".join(reading.language for reading in readings)
        raise DataError(
            "REPORT-LANGUAGE", f"the report reads as {names}, with other labels. Name its language with -lang."
        )
    return readings[0]


def _read(text: str, rules: Sequence[Rules], main: Rules, unmentioned: str) -> ReportLabels:
    """The labels of a report whose main language is that of the pack `main`."""
    mentions, named = read_mentions(split_sentences(text, main), rules, main)
    labels: dict[str, OrganLabel] = {}
    for name, organ in main.pack.organs.items():
        said = resolve_sides([m for m in mentions if m.organ == name], main)
        for side, organ_label in organ.labels.items():
            label = decide(organ_label, side, said, unmentioned=unmentioned)
            is_named = any(place.organ == name and (side in place.sides or not place.sides) for place in named)
            is_open = label.reason == NOT_MENTIONED and is_named
            labels[organ_label] = replace(label, reason=NO_FINDING) if is_open else label
    return ReportLabels(language=main.pack.language, organs=labels)


def _is_word(word: str, rules: Sequence[Rules]) -> bool:
    return any(spans for pack in rules for spans in pack.lexicon.find(tokenize(word)).values())


def check_text(text: str) -> None:
    """DataError for a report without words, with signs that no text has, or longer than any report."""
    if not any(character.isalpha() for character in text):
        raise DataError("REPORT-EMPTY", "the report has no words. Add its text, or label the case by hand.")
    if any(ord(character) < 32 and character not in "\t\n\r\f\v" for character in text):
        raise DataError("REPORT-TEXT", "the report holds signs that no text has. Save it as plain text (UTF-8).")
    if len(text) > MAX_LETTERS:
        raise DataError("REPORT-LONG", f"the report has {len(text)} letters, over {MAX_LETTERS}. Is it one report?")


def read_mentions(
    sentences: Sequence[Sentence], rules: Sequence[Rules], main: Rules
) -> tuple[list[Mention], set[Place]]:
    """All findings of organs in the order of the text, and the organs that it names."""
    mentions: list[Mention] = []
    named: set[Place] = set()
    read = [read_sentence(sentence, rules, main) for sentence in sentences]
    nowhere = not any(_names_organ(found) for _, found in read)
    before = tuple(Place(organ, NO_SIDE) for organ in main.pack.organs) if nowhere else ()
    for sentence, (own, found) in zip(sentences, read, strict=True):
        before = () if opens_topic(sentence.tokens, found) and not nowhere else before
        of_family = any(span.value == "family" for span in found["context"])
        sizes = {name: organ.size_mm for name, organ in own.pack.organs.items()}
        for clause in split_clauses(sentence.tokens, found, sizes):
            for index in range(len(clause.findings)):
                places = [place for place in locate(clause, index, before) if place.organ in own.pack.organs]
                status, word = assert_finding(clause, index, sentence, of_family=of_family)
                if nowhere and status == AFFIRMED:
                    status, word = UNCERTAIN, "no organ named"
                mentions += [_mention(place, clause.findings[index], status, word, sentence, own) for place in places]
            before = subjects(clause, before)
            named |= {Place(m.organ, m.sides) for chain in clause.chains for m in chain.mentions if m.organ}
    return mentions, named


def _names_organ(found: Found) -> bool:
    """Whether an organ or a part of one is named; a lesion in a report that names none lies who knows where."""
    return bool(found["anatomy"] or found["parts"]) or any(
        not span.value.startswith(":") for span in found["findings"] if span.value
    )


def _mention(place: Place, finding: Hit, status: str, word: str, sentence: Sentence, rules: Rules) -> Mention:
    unsided = UNSIDED in rules.pack.organs[place.organ].labels
    return Mention(
        organ=place.organ,
        sides=frozenset((UNSIDED,)) if unsided else place.sides,
        kind=finding.kind,
        status=status,
        term=finding.term,
        decided_by=word,
        sentence=sentence.text,
        line=sentence.line,
    )


def resolve_sides(mentions: Sequence[Mention], rules: Rules) -> list[Mention]:
    """Give mentions without a side the one that the rest of the report leaves; those told before are dropped.

    A finding without a side repeats one that has a side, where there is one of its label or a removal; what describes a
    lesion (necrosis) goes to its side; a lesion goes to the only side that is not called normal.
    """
    found = [m for m in mentions if m.status == AFFIRMED and m.sides and KINDS[m.kind] in (UNHEALTHY, EXCLUDED)]
    normal = {s for m in mentions if _says_normal(m) for s in m.sides}
    resolved: list[Mention] = []
    for mention in mentions:
        if mention.sides or mention.status not in (AFFIRMED, UNCERTAIN, HISTORICAL) or KINDS[mention.kind] == HEALTHY:
            resolved.append(_turned(mention))
            continue
        same = {
            s for m in found if KINDS[m.kind] == KINDS[mention.kind] or m.kind.startswith("removal") for s in m.sides
        }
        lesions = {s for m in found if m.kind == "lesion" for s in m.sides}
        if mention.kind in rules.pack.attributes and len(lesions) == 1:
            resolved.append(replace(mention, sides=frozenset(lesions)))
        elif not same:
            left_over = frozenset((LEFT, RIGHT)) - normal
            known = len(left_over) == 1 and mention.status != HISTORICAL
            resolved.append(replace(mention, sides=left_over) if known else mention)
    return resolved


def _says_normal(mention: Mention) -> bool:
    return (mention.kind == "normal" and mention.status == AFFIRMED) or (
        mention.kind in ("lesion", "abnormal") and mention.status == NEGATED
    )


def _turned(mention: Mention) -> Mention:
    """A solitary left kidney says that the right one is gone."""
    if mention.kind != OTHER_SIDE or len(mention.sides) != 1:
        return mention
    return replace(mention, sides=frozenset((LEFT, RIGHT)) - mention.sides)


def decide(organ: str, side: str, mentions: Sequence[Mention], *, unmentioned: str) -> OrganLabel:
    """The label of one organ from all mentions of its pair."""
    own = [m for m in mentions if side in m.sides or not m.sides]
    for label, reason, applies in _STEPS:
        deciding = [m for m in own if applies(m)]
        if deciding:
            rest = [m for m in own if m not in deciding]
            return OrganLabel(
                organ=organ,
                label=label,
                reason=reason,
                mentions=(*deciding, *rest),
                num_deciding=len(deciding),
            )
    return OrganLabel(organ=organ, label=unmentioned, reason=NOT_MENTIONED, mentions=tuple(own), num_deciding=0)


def _is_found(mention: Mention, *labels: str) -> bool:
    return mention.status == AFFIRMED and KINDS[mention.kind] in labels


def _is_abnormal(mention: Mention) -> bool:
    return (mention.kind == "abnormal" and mention.status == AFFIRMED) or (
        mention.kind == "normal" and mention.status == NEGATED
    )


_STEPS: tuple[tuple[str, str, Callable[[Mention], bool]], ...] = (
    (EXCLUDED, "excluded wins", lambda m: bool(m.sides) and _is_found(m, EXCLUDED)),
    (UNHEALTHY, "lesion", lambda m: bool(m.sides) and _is_found(m, UNHEALTHY)),
    (UNSURE, "side not said", lambda m: _is_found(m, UNHEALTHY, EXCLUDED)),
    (UNSURE, "not certain", lambda m: m.status == UNCERTAIN and KINDS[m.kind] != HEALTHY),
    (UNSURE, "not normal", _is_abnormal),
    (UNSURE, "size of what no rule knows", lambda m: m.kind == MEASURED and m.status == AFFIRMED),
    (HEALTHY, "called normal", lambda m: _is_found(m, HEALTHY)),
    (HEALTHY, "finding negated", lambda m: m.status == NEGATED),
    (UNSURE, "lesion in the past", lambda m: m.status == HISTORICAL and m.kind == "lesion"),
)
"""The first step that one of the mentions takes gives the label."""
