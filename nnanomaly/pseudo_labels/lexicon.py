"""Words of a text, and a list of terms that is looked up in them.

A term is one or several words; `*` at the end of a word stands for any further letters, at its beginning for any in
front (`*zyste` is the end of a compound). Case, accents and hyphens do not count ("left-sided" and "Left sided" are
one), a term with umlauts is also found where they are written out (ae, oe, ue), and any number is the token `#`. A
look-up takes time in proportion to the text, whatever the text is: there are no regular expressions with choices in it.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

NUMBER = "#"
_TOKEN = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+|[^\w\s]")
_TERM_TOKEN = re.compile(r"\*?[^\W\d_]+\*?|[^\w\s]")
_HYPHENS = frozenset("-\u2010\u2011\u2012\u2013\u2014")
_KEY = 2  # letters by which terms whose first word is open are sorted
_WRITTEN_OUT = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})


class Token(NamedTuple):
    """One word, number or sign; `text` is folded, `start` and `end` are its place in the original text."""

    text: str
    start: int
    end: int
    number: float = 0.0
    """Value of a number, comma or point as its decimal sign."""


class Span(NamedTuple):
    """A term found at the tokens `start` to `end` (half-open), and what the list says it stands for."""

    start: int
    end: int
    value: str
    term: str


def tokenize(text: str) -> tuple[Token, ...]:
    """Words, numbers (as `#`) and signs of a text in order; hyphens and underscores fall out."""
    return tuple(
        Token(NUMBER, match.start(), match.end(), _value(match[0]))
        if match[0][0].isdecimal()
        else Token(fold(match[0]), match.start(), match.end())
        for match in _TOKEN.finditer(text)
        if match[0] not in _HYPHENS
    )


def _value(number: str) -> float:
    whole, _, decimals = number.replace(",", ".").partition(".")
    return float(f"{whole}.{decimals.replace('.', '')}")


def fold(word: str) -> str:
    """Lower case without accents; sharp s is ss."""
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFKD", word.lower().replace("ß", "ss"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def term_words(term: str) -> tuple[str, ...]:
    """Folded words and signs of a term, with the stars of those that are open."""
    return tuple(fold(word) for word in _TERM_TOKEN.findall(term) if word not in _HYPHENS)


class Lexicon:
    """Lists of terms, looked up together in one walk over a text.

    In one list a longer term hides the shorter ones that lie in it; the lists know nothing of each other.
    """

    def __init__(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """`entries`: (list, term, value); the first of two equal terms of a list counts."""
        words_of: dict[tuple[str, tuple[str, ...]], tuple[str, str]] = {}
        self.names: list[str] = []
        for name, term, value in entries:
            for spelling in dict.fromkeys((term, term.lower().translate(_WRITTEN_OUT))):
                if words := term_words(spelling):
                    words_of.setdefault((name, words), (value, term))
            self.names += [] if name in self.names else [name]
        self._by_word: dict[str, list[_Entry]] = {}
        self._by_start: dict[str, list[_Entry]] = {}
        self._by_end: dict[str, list[_Entry]] = {}
        self._known: dict[str, list[_Entry]] = {}
        for (name, words), (value, term) in words_of.items():
            entry = _Entry(-sum(map(len, words)), words, name, value, term)
            drawer, key = self._by_word, words[0]
            if key.startswith("*"):
                drawer, key = self._by_end, key[-_KEY:]
            elif key.endswith("*"):
                drawer, key = self._by_start, key[:_KEY]
            drawer.setdefault(key, []).append(entry)

    def find(self, tokens: Sequence[Token]) -> dict[str, list[Span]]:
        """Terms of every list in the tokens from left to right, the longest at every place, without overlaps."""
        found: dict[str, list[Span]] = {name: [] for name in self.names}
        for start, token in enumerate(tokens):
            for entry in self._beginning_with(token.text):
                spans = found[entry.name]
                if (not spans or spans[-1].end <= start) and _goes_on(entry.words, tokens, start):
                    spans.append(Span(start, start + len(entry.words), entry.value, entry.term))
        return found

    def _beginning_with(self, text: str) -> list["_Entry"]:
        """Terms whose first word is this one, the longest first."""
        if text not in self._known:
            drawers = (
                self._by_word.get(text, []),
                self._by_start.get(text[:_KEY], []),
                self._by_end.get(text[-_KEY:], []),
            )
            self._known[text] = sorted(e for drawer in drawers for e in drawer if _is_word(e.words[0], text))
        return self._known[text]


class _Entry(NamedTuple):
    rank: int
    """The longest first."""
    words: tuple[str, ...]
    name: str
    value: str
    term: str


def _goes_on(words: tuple[str, ...], tokens: Sequence[Token], start: int) -> bool:
    """Whether the words behind the first one of a term stand in the text as well."""
    if start + len(words) > len(tokens):
        return False
    for offset in range(1, len(words)):
        if not _is_word(words[offset], tokens[start + offset].text):
            return False
    return True


def _is_word(word: str, text: str) -> bool:
    if word[0] == "*" and len(word) > 1:
        return text.endswith(word[1:])
    return text == word or (word[-1] == "*" and text.startswith(word[:-1]))
