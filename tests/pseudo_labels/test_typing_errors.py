"""Typing errors: which words are mended, and which stay as they are."""

import pytest

from nnanomaly.pseudo_labels.lexicon import Lexicon, tokenize
from nnanomaly.pseudo_labels.typing_errors import Speller, Word, is_slip

TERMS = {"lesion": True, "right": False, "hypodens*": True, "*tumor": True, "stone": True, "kidney*": False}
SPELLER = Speller(Word(text, is_finding) for text, is_finding in TERMS.items())
LEXICON = Lexicon(("findings" if found else "anatomy", text, "x") for text, found in TERMS.items())


def _mended(text: str) -> str:
    tokens = tokenize(text)
    return " ".join(token.text for token in SPELLER.correct(tokens, LEXICON.find(tokens)))


@pytest.mark.parametrize(
    ("text", "mended"),
    [
        ("lesoin", "lesion"),
        ("lession", "lesion"),
        ("leson", "lesion"),
        ("lasion", "lesion"),
        ("rihgt", "right"),
        ("hypodnesity", "hypodensity"),
        ("kidnye", "kidney"),
        ("kidneytumro", "kidneytumor"),
    ],
)
def test_one_slip_in_a_long_word_is_mended(text: str, mended: str) -> None:
    assert _mended(text) == mended


@pytest.mark.parametrize("text", ["legoin", "light", "might", "night", "store", "stove", "lesion", "hypo", "kidneys"])
def test_known_words_other_words_and_two_slips_stay(text: str) -> None:
    assert _mended(text) == text


def test_a_slip_is_one_letter_or_two_that_changed_places() -> None:
    assert is_slip("nodlue", "nodule")
    assert is_slip("ondule", "nodule")
    assert not is_slip("module", "nodule")
    assert not is_slip("nodule", "nodule")
    assert not is_slip("nodl", "nodule")
