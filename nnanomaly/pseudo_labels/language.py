"""The language of a report and of a sentence: whose frequent words occur most."""

from collections.abc import Mapping, Sequence

from nnanomaly.pseudo_labels.lexicon import Span, tokenize
from nnanomaly.pseudo_labels.rule_pack import Rules
from nnanomaly.pseudo_labels.sentences import Sentence
from nnanomaly.utilities.errors import DataError

Found = Mapping[str, Sequence[Span]]

MIN_SHARE = 0.25
"""Share of the words that a pack must know: at least 0.30 in the English and Dutch texts of the tests (reports: 0.45),
0.00 to 0.20 in German, French, Spanish and Italian ones."""
CLEAR_LEAD = 2
"""Words by which another language must lead for a sentence to be read in it."""


def choose_rules(text: str, rules: Sequence[Rules]) -> Rules:
    """The pack of the report's language; DataError (REPORT-LANGUAGE) where too few words of the text are known."""
    tokens = tokenize(text)
    known = [count_words(pack.lexicon.find(tokens)) for pack in rules]
    share = max(known) / max(1, sum(token.text.isalpha() for token in tokens))
    if share < MIN_SHARE:
        names = ", ".join(pack.pack.language for pack in rules)
        raise DataError(
            "REPORT-LANGUAGE", f"the rule packs ({names}) know {share:.0%} of the report's words. Add one with -pack."
        )
    return rules[known.index(max(known))]


def count_words(found: Found) -> int:
    """Frequent words, organs, sides and findings among the terms found in a text."""
    return sum(len(found[name]) for name in ("markers", "anatomy", "sides", "findings"))


def read_sentence(sentence: Sentence, rules: Sequence[Rules], main: Rules) -> tuple[Rules, Found]:
    """The pack that reads a sentence, and its terms: that of the report unless another clearly knows more words."""
    found = [(pack, pack.lexicon.find(sentence.tokens)) for pack in rules]
    own = next(pair for pair in found if pair[0] is main)
    best = max(found, key=lambda pair: count_words(pair[1]))
    return best if count_words(best[1]) >= count_words(own[1]) + CLEAR_LEAD else own
