"""The language of a report and of a sentence: whose frequent words occur most."""

from collections.abc import Sequence

from nnanomaly.pseudo_labels.lexicon import Token, tokenize
from nnanomaly.pseudo_labels.rule_pack import Rules
from nnanomaly.pseudo_labels.sentences import Sentence
from nnanomaly.utilities.errors import DataError

MIN_SHARE = 0.25
"""Share of the words that a pack must know: at least 0.30 in the English and Dutch texts of the tests (reports: 0.45),
0.00 to 0.20 in German, French, Spanish and Italian ones."""
CLEAR_LEAD = 2
"""Words by which another language must lead for a sentence to be read in it."""


def choose_rules(text: str, rules: Sequence[Rules]) -> Rules:
    """The pack of the report's language; DataError (REPORT-LANGUAGE) where too few words of the text are known."""
    tokens = tokenize(text)
    best = max(rules, key=lambda pack: count_words(tokens, pack))
    share = count_words(tokens, best) / max(1, sum(token.text.isalpha() for token in tokens))
    if share < MIN_SHARE:
        names = ", ".join(pack.pack.language for pack in rules)
        raise DataError(
            "REPORT-LANGUAGE", f"the rule packs ({names}) know {share:.0%} of the report's words. Add one with -pack."
        )
    return best


def choose_sentence_rules(sentence: Sentence, rules: Sequence[Rules], main: Rules) -> Rules:
    """The pack of one sentence: that of the report unless another one clearly fits better."""
    own = count_words(sentence.tokens, main)
    best = max(rules, key=lambda pack: count_words(sentence.tokens, pack))
    return best if count_words(sentence.tokens, best) >= own + CLEAR_LEAD else main


def count_words(tokens: Sequence[Token], rules: Rules) -> int:
    """Frequent words, organs, sides and findings of a pack in a text."""
    return sum(len(lexicon.find(tokens)) for lexicon in (rules.markers, rules.anatomy, rules.sides, rules.findings))
