"""The language of a report and of a sentence: whose words occur, above all those that no other language has.

What decides are the words that one pack knows and no other does. A text in which the words of a language without a
pack are as frequent is not guessed at.
"""

from collections.abc import Mapping, Sequence
from functools import cache

from nnanomaly.pseudo_labels.lexicon import Lexicon, Span, Token, tokenize
from nnanomaly.pseudo_labels.measures import UNITS
from nnanomaly.pseudo_labels.rule_pack import PACKS_FOLDER, Rules
from nnanomaly.pseudo_labels.sentences import Sentence
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import read_json

Found = Mapping[str, Sequence[Span]]

MIN_SHARE = 0.3
"""Share of the words that a pack must know."""
CLEAR_LEAD = 2
"""Words by which another language must lead for a sentence to be read in it."""
FOREIGN_SENTENCE = 3
"""Words of a language without a pack that make a sentence one of that language, if they are more than ours."""
LATIN_END = "\u0250"
"""From here on the letters of other scripts."""
MAX_OTHER_SCRIPT = 0.1


@cache
def foreign_words() -> Lexicon:
    """Frequent words of languages without a pack, each in a list of its language."""
    words = read_json(PACKS_FOLDER / "foreign.json")
    return Lexicon((language, word, language) for language, terms in words.items() for word in terms)


def choose_rules(text: str, rules: Sequence[Rules]) -> list[Rules]:
    """The pack of the report's language, or several where it has too few words to tell.

    DataError (REPORT-LANGUAGE) where no pack knows enough of its words, or those of another language are as many.
    """
    tokens = tokenize(text)
    known = [known_words(pack.lexicon.find(tokens), tokens) for pack in rules]
    equal = _best(known)
    if len(equal) > 1:
        mended = [pack.speller.correct(tokens, pack.lexicon.find(tokens)) for pack in rules]
        known = [known_words(pack.lexicon.find(words), words) for pack, words in zip(rules, mended, strict=True)]
        equal = _best(known)
    best = equal[0]
    share = len(known[best]) / max(1, sum(token.text.isalpha() and token.text not in UNITS for token in tokens))
    if share < MIN_SHARE or _other_script(text):
        names = ", ".join(pack.pack.language for pack in rules)
        raise DataError(
            "REPORT-LANGUAGE", f"the rule packs ({names}) know {share:.0%} of the report's words. Add one with -pack."
        )
    language, theirs, shared = _foreign(tokens, rules, known[best])
    if theirs and theirs >= len(_own(known, best) - shared):
        raise DataError("REPORT-LANGUAGE", f"the report reads as {language!r}. Add a rule pack of it with -pack.")
    return [rules[index] for index in equal]


def _best(known: Sequence[Mapping[int, int]]) -> list[int]:
    """The packs with most words of their own, of these the ones that know most, and those with the longest terms."""
    ranks = [(len(_own(known, i)), len(places), sum(places.values())) for i, places in enumerate(known)]
    return [index for index, rank in enumerate(ranks) if rank == max(ranks)]


def known_words(found: Found, tokens: Sequence[Token]) -> dict[int, int]:
    """Places of the words that a pack knows, with the letters of the longest term that explains each.

    Signs and abbreviations are of no language.
    """
    known: dict[int, int] = {}
    for name, spans in found.items():
        for span in spans if name != "abbreviations" else ():
            letters = len(span.term.strip("*"))
            for index in range(span.start, span.end):
                if tokens[index].text.isalpha():
                    known[index] = max(known.get(index, 0), min(letters, len(tokens[index].text)))
    return known


def _own(known: Sequence[Mapping[int, int]], index: int) -> set[int]:
    """Places of the words that one pack knows and no other does."""
    return set(known[index]).difference(*(places for other, places in enumerate(known) if other != index))


def _foreign(tokens: Sequence[Token], rules: Sequence[Rules], known: Mapping[int, int]) -> tuple[str, int, set[int]]:
    """The language without a pack of which most words occur that we do not know, their number, and all its words."""
    packs = {pack.pack.language for pack in rules}
    places = {
        language: {index for span in spans for index in range(span.start, span.end)}
        for language, spans in foreign_words().find(tokens).items()
        if language not in packs
    }
    language = max(places, key=lambda name: (len(places[name].difference(known)), len(places[name])))
    return language, len(places[language].difference(known)), places[language]


def _other_script(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    return sum(letter >= LATIN_END for letter in letters) > MAX_OTHER_SCRIPT * len(letters)


def read_sentence(sentence: Sentence, rules: Sequence[Rules], main: Rules) -> tuple[Rules, Found]:
    """The pack that reads a sentence, and its terms: that of the report unless another clearly knows more words.

    DataError (REPORT-LANGUAGE) for a sentence in a language without a pack. Words with a typing error are mended.
    """
    found = [(pack, pack.lexicon.find(sentence.tokens)) for pack in rules]
    own = next(pair for pair in found if pair[0] is main)
    best = max(found, key=lambda pair: len(known_words(pair[1], sentence.tokens)))
    lead = len(known_words(best[1], sentence.tokens)) - len(known_words(own[1], sentence.tokens))
    chosen = best if lead >= CLEAR_LEAD else own
    known = known_words(chosen[1], sentence.tokens)
    language, number, _ = _foreign(sentence.tokens, rules, known)
    if number >= FOREIGN_SENTENCE and number > len(known):
        raise DataError(
            "REPORT-LANGUAGE", f"line {sentence.line} reads as {language!r}. Add a rule pack of it with -pack."
        )
    pack, terms = chosen
    mended = pack.speller.correct(sentence.tokens, terms)
    return pack, terms if mended == sentence.tokens else pack.lexicon.find(mended)
