"""Sizes that no finding explains: 12 mm of something in a kidney is nothing that may end in healthy."""

from collections.abc import Mapping, Sequence

from nnanomaly.pseudo_labels.lexicon import NUMBER, Span, Token

UNITS = {"mm": 1.0, "cm": 10.0, "millimeter": 1.0, "millimeters": 1.0, "millimetre": 1.0, "millimetres": 1.0} | {
    f"{letter}entimet{ending}": 10.0 for letter in "cz" for ending in ("er", "ers", "re", "res")
}
"""Units of length and their millimetres; a number in words (two cm) counts as well."""
MEASURED = "measured"
"""Kind of such a size."""

OrganSizes = Mapping[str, Sequence[float]]
"""Organ and its shortest and longest usual length in mm."""


def unexplained_sizes(
    tokens: Sequence[Token], found: Mapping[str, Sequence[Span]], organ_sizes: OrganSizes
) -> list[Span]:
    """Sizes in a clause that neither a finding nor a word such as `length` nor the organ itself explains."""
    return [
        Span(index, index + 2, f":{MEASURED}", f"# {unit.text}")
        for index, unit in enumerate(tokens[1:])
        if unit.text in UNITS
        and not _has_word(tokens, index, found)
        and not _has_finding(tokens, index, found)
        and not _is_size_of_organ(tokens, index, found, organ_sizes)
    ]


def _part(tokens: Sequence[Token], index: int) -> tuple[int, int]:
    """The commas (or ends) on both sides of a place."""
    commas = [-1, *(i for i, token in enumerate(tokens) if token.text == ","), len(tokens)]
    return max(i for i in commas if i < index), min(i for i in commas if i > index)


def _has_word(tokens: Sequence[Token], index: int, found: Mapping[str, Sequence[Span]]) -> bool:
    """Whether a word such as `length` stands between the same commas and is not negated."""
    start, end = _part(tokens, index)
    negated = min((s.end for s in found["context"] if s.value == "negation_before" and s.start > start), default=end)
    return any(start < span.start < min(end, negated) for span in found.get("measured", ()))


def _has_finding(tokens: Sequence[Token], index: int, found: Mapping[str, Sequence[Span]]) -> bool:
    """Whether a finding stands between the same commas; where these hold no organ, anywhere if it is not negated."""
    start, end = _part(tokens, index)
    findings = [span for span in found["findings"] if not span.value.endswith((":normal", ":")) and span.value]
    if any(start < span.start < end for span in findings):
        return True
    if any(start < span.start < end for span in found["anatomy"]):
        return False
    negated = min((s.end for s in found["context"] if s.value == "negation_before"), default=len(tokens))
    return any(span.start < negated for span in findings)


def _is_size_of_organ(
    tokens: Sequence[Token], index: int, found: Mapping[str, Sequence[Span]], organ_sizes: OrganSizes
) -> bool:
    """Whether it may be the length of the organ before it: nothing unknown stands between or behind."""
    organ = next((span for span in reversed(found["anatomy"]) if span.end <= index), None)
    bounds = organ_sizes.get(organ.value, ()) if organ else ()
    if organ is None or len(bounds) != 2 or tokens[index].text != NUMBER:
        return False
    known = {i for spans in found.values() for span in spans for i in range(span.start, span.end)}
    between = [*range(organ.end, index), *range(index + 2, min(index + 3, len(tokens)))]
    if any(tokens[i].text.isalpha() and i not in known and tokens[i].text not in UNITS for i in between):
        return False
    return bounds[0] <= tokens[index].number * UNITS[tokens[index + 1].text] <= bounds[1]
