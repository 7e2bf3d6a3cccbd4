"""Words with one typing error: a letter too few, too many or wrong, or two that changed places.

Long words only, and only towards words that name an organ, a side or a finding, or that say whether it is there; never
towards a word that calls an organ normal. What a report says of a sick organ is then not lost by a slip of the hand.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from nnanomaly.pseudo_labels.lexicon import Span, Token

SHORTEST_WORD = 5
"""Letters of the shortest word that is looked for; so short a one is not reached by a changed letter (stone, store)."""
SHORTEST_STEM = 6
"""Letters of the shortest open term (`hypodens*`), of which a wrong one would fit too much."""
SHORTEST_END = 5
"""Letters of the shortest end of a compound (`*tumor`); one below `SAFE_END` is only found with two letters swapped."""
SAFE_END = 8
SHORTEST_CONTEXT = 8
"""Letters of the shortest word of context: a wrong `not` does more harm than a missed one."""
OPEN_LISTS = ("anatomy", "parts")
"""Lists whose open terms leave the rest of a word unexplained: the compound Nierentumro is a kidney and what?"""


class Word(NamedTuple):
    """A word that may be misspelt."""

    text: str
    """Folded, `*` at the beginning or end where it is open."""
    is_finding: bool


class Speller:
    """The words that a misspelt one may stand for."""

    def __init__(self, words: Iterable[Word]) -> None:
        """Sort the words by their first letters; short ones are left out."""
        self._by_letter: dict[str, list[Word]] = {}
        self._ends: list[str] = []
        for word in sorted(set(words)):
            plain = word.text.strip("*")
            if word.text.startswith("*"):
                self._ends += [plain] if len(plain) >= SHORTEST_END else []
            elif len(plain) >= (SHORTEST_STEM if word.text.endswith("*") else SHORTEST_WORD):
                for letter in set(plain[:2]):
                    self._by_letter.setdefault(letter, []).append(word)
        self._mended: dict[tuple[str, bool], str] = {}

    def correct(self, tokens: Sequence[Token], found: Mapping[str, Sequence[Span]]) -> tuple[Token, ...]:
        """The tokens with misspelt words mended; `found`: all terms in them, whose words stay as they are.

        A word of which only an open term of anatomy is known can still be a misspelt finding.
        """
        closed: dict[int, bool] = {}
        for name, spans in found.items():
            for span in spans:
                for index in range(span.start, span.end):
                    is_open = name in OPEN_LISTS and span.term.endswith("*")
                    closed[index] = closed.get(index, False) or not is_open
        return tuple(
            token
            if closed.get(index) or not token.text.isalpha() or len(token.text) < SHORTEST_WORD - 1
            else token._replace(text=self._near(token.text, only_findings=index in closed))
            for index, token in enumerate(tokens)
        )

    def _near(self, text: str, *, only_findings: bool) -> str:
        """The word that the text most likely stands for, or the text."""
        key = text, only_findings
        if key not in self._mended:
            self._mended[key] = self._near_word(text, only_findings=only_findings) or self._near_end(text) or text
        return self._mended[key]

    def _near_word(self, text: str, *, only_findings: bool) -> str:
        for word in self._by_letter.get(text[0], ()):
            if only_findings and not word.is_finding:
                continue
            plain = word.text.strip("*")
            if not word.text.endswith("*"):
                if is_slip(text, plain):
                    return plain
                continue
            for length in (len(plain), len(plain) - 1, len(plain) + 1):
                start = text[:length]
                if start[: len(plain) - 1] != plain[:-1] and is_slip(start, plain):
                    return plain + text[length:]
        return ""

    def _near_end(self, text: str) -> str:
        for end in self._ends:
            lengths = (len(end),) if len(end) < SAFE_END else range(len(end) - 1, len(end) + 2)
            for length in lengths:
                start, found = text[:-length], text[-length:]
                if len(start) > 1 and is_slip(found, end) and (len(end) >= SAFE_END or sorted(found) == sorted(end)):
                    return start + end
        return ""


def is_slip(text: str, word: str) -> bool:
    """Whether `text` is `word` with one typing error; the first letter is right, or the first two changed places."""
    if text == word or abs(len(text) - len(word)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(text, word, strict=False)) if a != b), min(len(text), len(word)))
    if len(text) == len(word):
        swapped = text[same : same + 2] == word[same : same + 2][::-1] and text[same + 2 :] == word[same + 2 :]
        changed = text[same + 1 :] == word[same + 1 :] and len(word) > SHORTEST_WORD
        return swapped or (same > 0 and changed)
    longer, shorter = (text, word) if len(text) > len(word) else (word, text)
    return same > 0 and longer[same + 1 :] == shorter[same:]
