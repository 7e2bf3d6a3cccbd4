"""Where sentences end, in which section and on which line they stand."""

from nnanomaly.pseudo_labels.rule_pack import Rules
from nnanomaly.pseudo_labels.sentences import LONGEST_SENTENCE, split_sentences


def _split(text: str, rules: Rules) -> list[tuple[str, int, str]]:
    return [(s.text, s.line, s.section) for s in split_sentences(text, rules)]


def test_decimals_and_abbreviations_end_no_sentence(english: Rules) -> None:
    text = "Cyst of 3.1 cm, approx. as before. Next."
    assert [s[0] for s in _split(text, english)] == ["Cyst of 3.1 cm, approx. as before.", "Next."]


def test_a_wrapped_line_goes_on_and_a_new_one_does_not(english: Rules) -> None:
    text = "There is a cyst in the left\nkidney.\nRight kidney: normal\nLiver: normal"
    assert _split(text, english) == [
        ("There is a cyst in the left kidney.", 1, "described"),
        ("Right kidney: normal", 3, "described"),
        ("Liver: normal", 4, "described"),
    ]


def test_line_ends_of_windows_count_as_one(english: Rules) -> None:
    assert _split("One.\r\n\r\nTwo.", english) == [("One.", 1, "described"), ("Two.", 3, "described")]


def test_background_lasts_until_the_findings(english: Rules) -> None:
    text = "INDICATION:\nmass?\nFlank pain.\nFINDINGS:\nNormal kidneys."
    assert _split(text, english) == [
        ("mass?", 2, "background"),
        ("Flank pain.", 3, "background"),
        ("Normal kidneys.", 5, "described"),
    ]


def test_background_without_findings_to_follow_ends_with_its_line(english: Rules) -> None:
    text = "Indication: flank pain. Mass?\nCyst in the left kidney."
    assert [s[2] for s in _split(text, english)] == ["background", "background", "described"]


def test_background_within_a_line_lasts_one_sentence(english: Rules) -> None:
    text = "Findings:\nCT of the abdomen. Comparison: none. Left renal cyst.\nImpression: cyst."
    assert [s[2] for s in _split(text, english)] == ["described", "background", "described", "described"]


def test_a_question_is_known(english: Rules) -> None:
    assert [s.is_question for s in split_sentences("Stone? None.", english)] == [True, False]


def test_endless_sentences_are_cut(english: Rules) -> None:
    sentences = split_sentences("kidney " * 1000, english)
    assert len(sentences) == 7
    assert max(len(s.text) for s in sentences) <= LONGEST_SENTENCE
