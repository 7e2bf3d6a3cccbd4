"""Words of a text, and a list of terms that is looked up in them.

A term is one or several words; `*` at the end of a word stands for any further letters. Case, accents and hyphens do
not count ("left-sided" and "Left sided" are one), and any number is the token `#`. A look-up takes time in proportion
to the text, whatever the text is: there are no regular expressions with choices in it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NUMBER = "#"
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")
_TERM_TOKEN = re.compile(r"[^\W\d_]+\*?|[^\w\s]")
_HYPHENS = frozenset("-\u2010\u2011\u2012\u2013\u2014")
_KEY = 2  # letters by which terms are sorted into drawers


class Token(NamedTuple):
    """One word, number or sign; `text` is folded, `start` and `end` are its place in the original text."""

    text: str
    start: int
    end: int


class Span(NamedTuple):
    """A term found at the tokens `start` to `end` (half-open), and what the list says it stands for."""

    start: int
    end: int
    value: str
    term: str


def tokenize(text: str) -> tuple[Token, ...]:
    """Words, numbers (as `#`) and signs of a text in order; hyphens and underscores fall out."""
    return tuple(
        Token(NUMBER if match[0][0].isdecimal() else fold(match[0]), match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if match[0] not in _HYPHENS
    )


def fold(word: str) -> str:
    """Lower case without accents."""
    if word.isascii():
        return word.lower()
    return "".join(c for c in unicodedata.normalize("NFKD", word.lower()) if not unicodedata.combining(c))


class Lexicon:
    """A list of terms, each with a value; a longer term hides the shorter ones that lie in it."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        """`entries`: (term, value); the first of two equal terms counts."""
        drawers: dict[str, dict[tuple[str, ...], tuple[str, str]]] = {}
        for term, value in entries:
            words = tuple(fold(word) for word in _TERM_TOKEN.findall(term) if word not in _HYPHENS)
            if words:
                drawers.setdefault(words[0].rstrip("*")[:_KEY], {}).setdefault(words, (value, term))
        self._drawers = {
            key: sorted(terms.items(), key=lambda item: -sum(map(len, item[0]))) for key, terms in drawers.items()
        }

    def find(self, tokens: Sequence[Token]) -> list[Span]:
        """Terms in the tokens from left to right, at every place the longest, none overlapping another."""
        found: list[Span] = []
        position = 0
        while position < len(tokens):
            span = self._at(tokens, position)
            if span is not None:
                found.append(span)
            position = span.end if span is not None else position + 1
        return found

    def _at(self, tokens: Sequence[Token], start: int) -> Span | None:
        for words, (value, term) in self._drawers.get(tokens[start].text[:_KEY], ()):
            end = start + len(words)
            if end <= len(tokens) and all(map(_fits, words, (token.text for token in tokens[start:end]))):
                return Span(start, end, value, term)
        return None


def _fits(pattern: str, word: str) -> bool:
    return word.startswith(pattern[:-1]) if pattern.endswith("*") else word == pattern
