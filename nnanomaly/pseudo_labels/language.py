"""The language of a report and of a sentence: whose frequent words occur most."""

from collections.abc import Sequence

from nnanomaly.pseudo_labels.lexicon import Token, tokenize
from nnanomaly.pseudo_labels.rule_pack import Rules
from nnanomaly.pseudo_labels.sentences import Sentence
from nnanomaly.utilities.errors import DataError

CLEAR_LEAD = 2
"""Words by which another language must lead for a sentence to be read in it."""


def choose_rules(text: str, rules: Sequence[Rules]) -> Rules:
    """The pack of the report's language; DataError (REPORT-LANGUAGE) where no word of any pack occurs."""
    tokens = tokenize(text)
    best = max(rules, key=lambda pack: count_words(tokens, pack))
    if count_words(tokens, best) == 0:
        names = ", ".join(pack.pack.language for pack in rules)
        raise DataError("REPORT-LANGUAGE", f"no word of the rule packs ({names}) in the report. Add a pack with -pack.")
    return best


def choose_sentence_rules(sentence: Sentence, rules: Sequence[Rules], main: Rules) -> Rules:
    """The pack of one sentence: that of the report unless another one clearly fits better."""
    own = count_words(sentence.tokens, main)
    best = max(rules, key=lambda pack: count_words(sentence.tokens, pack))
    return best if count_words(sentence.tokens, best) >= own + CLEAR_LEAD else main


def count_words(tokens: Sequence[Token], rules: Rules) -> int:
    """Frequent words, organs, sides and findings of a pack in a text."""
    return sum(len(lexicon.find(tokens)) for lexicon in (rules.markers, rules.anatomy, rules.sides, rules.findings))
