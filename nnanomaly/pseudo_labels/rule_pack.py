"""Rule packs: everything language-dependent that the labelling of reports knows, as data.

A pack is one JSON file. Its lists hold terms (see `lexicon`); the engine knows what each list means, no word of any
language. Those of `BUILT_IN` come with the package; a user's pack of the same language takes the place of ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnanomaly.pseudo_labels.lexicon import Lexicon, term_words
from nnanomaly.pseudo_labels.measures import MEASURED
from nnanomaly.pseudo_labels.typing_errors import SHORTEST_CONTEXT, Speller, Word
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import from_document, read_json

SCHEMA_VERSION = 1
PACKS_FOLDER = Path(__file__).parent / "packs"
BUILT_IN = ("en", "nl", "de")
LEFT, RIGHT, BOTH = "left", "right", "both"
UNSIDED = "unsided"
ABSENCE = "absence"
"""Kind of the words that mean a removal when they are said of an organ, and a negation when said of a finding."""
OTHER_SIDE = "removal_other_side"
"""Kind of the findings that say that the organ of the other side is gone (a solitary left kidney)."""
KINDS = {
    "lesion": "unhealthy",
    "stone": "excluded",
    "calcification": "excluded",
    "necrosis": "excluded",
    "atrophy": "excluded",
    "removal": "excluded",
    OTHER_SIDE: "excluded",
    ABSENCE: "excluded",
    "damage": "excluded",
    "abnormal": "uncertain",
    MEASURED: "uncertain",
    "normal": "healthy",
}
"""What a kind of finding makes of its organ."""

Terms = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Organ:
    """An organ, or a pair of organs."""

    labels: dict[str, str]
    """Side (`left` and `right`, or `unsided` alone) and the name of that organ in the dataset."""
    terms: Terms
    """Words for it."""
    parts: Terms = ()
    """Words for parts of it that other organs have as well (lower pole)."""
    plural: Terms = ()
    """Those words for it that mean both sides where no side is said."""
    findings: dict[str, Terms] = field(default_factory=dict)
    """Kind and the words that name finding and organ at once (nephrolithiasis)."""
    size_mm: tuple[float, ...] = ()
    """Shortest and longest usual length: such a size behind the organ is its own, not that of something in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """Words that say whether a finding is there: before it (up to the end of their scope), or behind it."""

    negation_before: Terms
    """No, without, no evidence of."""
    negation_after: Terms
    """Is not seen, has resolved."""
    not_negation: Terms
    """What looks like a negation and is none: no change."""
    uncertain_before: Terms
    """Possible, cannot exclude."""
    uncertain_after: Terms
    """Cannot be excluded."""
    history: Terms
    """History of: was there, nothing is said of today. A removal stays."""
    family: Terms
    """Another person: the whole sentence."""
    planned_before: Terms
    """Planned, not done: scheduled for."""
    planned_after: Terms
    """Is planned, is advised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """The little words that tell which finding belongs to which organ."""

    clause_ends: Terms
    """But, however, except: nothing reaches over them but the subject."""
    scope_ends: Terms
    """What ends the reach of a negation within a clause: `, a`, `and a`."""
    joiners: Terms
    """And, or."""
    fillers: Terms
    """Articles and what else may stand between the parts of a list."""
    locations: Terms
    """In, of, at: an organ behind them is where the finding lies."""
    inside: Terms
    """Those of them behind which a place must follow: in."""
    no_place: Terms
    """Words behind `inside` that are no place: in size."""
    contacts_before: Terms
    """An organ behind these words is touched, it does not hold the finding: abutting."""
    contacts_after: Terms
    """The same, behind the organ."""
    abbreviations: Terms
    """Words whose full stop ends no sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RulePack:
    """All the rules of one language."""

    schema_version: int
    """Version of this form."""
    language: str
    """Two letters."""
    markers: Terms
    """Frequent words by which the language is known."""
    background: Terms
    """Headers of sections that describe no image: indication, technique. Only a removal counts there."""
    described: Terms
    """Headers of the sections that do: findings, impression."""
    sides: dict[str, Terms]
    """Words for `left`, `right` and `both`."""
    organs: dict[str, Organ]
    """The organs that can be labelled."""
    other_anatomy: Terms
    """Every other place where a finding may lie."""
    findings: dict[str, Terms]
    """Kind and the words for a finding of any organ."""
    attributes: Terms
    """Kinds that describe a lesion: without a side of their own they belong to the lesion that has one."""
    ignored: Terms
    """What looks like a finding or a side and is none: stone protocol."""
    context: Context
    syntax: Syntax
    measured: Terms = ()
    """What explains a size where no finding does: length, slice thickness. Others at an organ make it uncertain."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """A pack, ready for look-ups."""

    pack: RulePack
    lexicon: Lexicon
    """Lists `anatomy` (value: organ, or empty), `parts` and `plural` (organ), `sides` (side), `findings` (organ or
    nothing, colon, kind; empty for what is ignored), `context` (field of `Context`), `headers` (field of the pack),
    `markers`, `measured`, and one for each field of `Syntax`."""
    speller: Speller


def load_rules(path: Path) -> Rules:
    """Read one rule pack; ConfigurationError (CFG-PACK and those of `from_document`) for what is none."""
    return compile_rules(check_pack(from_document(RulePack, read_json(path), source=str(path)), source=str(path)))


def built_in_pack(language: str) -> Path:
    """File of a pack that comes with the package."""
    return PACKS_FOLDER / f"{language}.json"


def check_pack(pack: RulePack, *, source: str) -> RulePack:
    """Return the pack; ConfigurationError (CFG-PACK) for an unknown version, kind or side, or too wide a term."""
    kinds = {*pack.findings, *pack.attributes, *(kind for organ in pack.organs.values() for kind in organ.findings)}
    for found, known, what in (
        ({str(pack.schema_version)}, {str(SCHEMA_VERSION)}, "schema_version"),
        (kinds, set(KINDS), "kinds of findings"),
        (set(pack.sides), {LEFT, RIGHT, BOTH}, "sides"),
        ({side for organ in pack.organs.values() for side in organ.labels}, {LEFT, RIGHT, UNSIDED}, "sides of organs"),
    ):
        if found - known:
            raise ConfigurationError(
                "CFG-PACK", f"{source}: {what} {sorted(found - known)} unknown. Known are {sorted(known)}."
            )
    wide = sorted(term for term in _terms(pack) if not term.strip() or any(len(w) < 3 for w in _open_words(term)))
    if wide:
        raise ConfigurationError("CFG-PACK", f"{source}: {wide} would fit anything. Write two letters before a *.")
    numbers = sorted(term for term in _terms(pack) if any(letter.isdecimal() for letter in term))
    if numbers:
        raise ConfigurationError("CFG-PACK", f"{source}: {numbers} hold digits. Write # for a number.")
    return pack


def compile_rules(pack: RulePack) -> Rules:
    """Sort the terms of a pack for look-ups."""
    entries: list[tuple[str, str, str]] = []
    for name, organ in pack.organs.items():
        entries += _entries("anatomy", organ.terms, name) + _entries("parts", organ.parts, name)
        entries += _entries("plural", organ.plural, name)
    entries += _entries("anatomy", pack.other_anatomy, "")
    for kind, terms in pack.findings.items():
        entries += _entries("findings", terms, f":{kind}")
    for name, organ in pack.organs.items():
        for kind, terms in organ.findings.items():
            entries += _entries("findings", terms, f"{name}:{kind}")
    entries += _entries("findings", pack.ignored, "") + _entries("sides", pack.ignored, "")
    entries += _entries("measured", pack.measured, "") + _entries("markers", pack.markers, pack.language)
    for side, terms in pack.sides.items():
        entries += _entries("sides", terms, side)
    for field_name in Context.__slots__:
        entries += _entries("context", getattr(pack.context, field_name), field_name)
    for field_name in Syntax.__slots__:
        entries += _entries(field_name, getattr(pack.syntax, field_name), field_name)
    entries += _entries("headers", pack.background, "background") + _entries("headers", pack.described, "described")
    return Rules(pack=pack, lexicon=Lexicon(entries), speller=Speller(_spelled(entries)))


def _spelled(entries: Sequence[tuple[str, str, str]]) -> Iterator[Word]:
    """Words whose typing errors are mended."""
    for name, term, value in entries:
        is_finding = name == "findings" and bool(value) and not value.endswith(":normal")
        if is_finding or name in ("anatomy", "parts", "sides", "context"):
            words = (word for word in term_words(term) if name != "context" or len(word) >= SHORTEST_CONTEXT)
            yield from (Word(word, is_finding) for word in words)


def _entries(name: str, terms: Terms, value: str) -> list[tuple[str, str, str]]:
    return [(name, term, value) for term in terms]


def _terms(value: Any) -> list[str]:
    """All terms in a pack."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = tuple(value.values())
    if isinstance(value, tuple):
        return [term for item in value for term in _terms(item)]
    names = getattr(value, "__slots__", ())
    return [term for name in names for term in _terms(getattr(value, name))]


def _open_words(term: str) -> list[str]:
    return [word for word in term.split() if "*" in word]
