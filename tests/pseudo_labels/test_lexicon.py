"""Words and terms: what is one word, which term wins, and how far a star reaches."""

from nnanomaly.pseudo_labels.lexicon import Lexicon, Span, tokenize


def _found(text: str, *terms: str) -> list[str]:
    lexicon = Lexicon(("list", term, term) for term in terms)
    return [span.term for span in lexicon.find(tokenize(text))["list"]]


def test_tokens_are_folded_and_keep_their_place() -> None:
    text = "Partiële left-sided 3,1 cm."
    tokens = tokenize(text)
    assert [token.text for token in tokens] == ["partiele", "left", "sided", "#", "cm", "."]
    assert [text[token.start : token.end] for token in tokens[:1]] == ["Partiële"]
    assert text[tokens[3].start : tokens[3].end] == "3,1"


def test_the_longest_term_wins_and_hides_those_within() -> None:
    assert _found("no change in the mass, no stone", "no", "no change") == ["no change", "no"]


def test_a_star_stands_for_any_ending_and_a_word_without_one_for_itself() -> None:
    assert _found("cysts cystic cyst", "cyst") == ["cyst"]
    assert _found("nierarterie nieren", "nier*") == ["nier*", "nier*"]
    assert _found("bijnier", "nier*") == []


def test_a_star_in_front_stands_for_the_beginning_of_a_compound() -> None:
    assert _found("Rindenzyste Zyste Zystenwand", "*zyste") == ["*zyste", "*zyste"]
    assert _found("Nierenzyste", "*zyste", "nieren*") == ["nieren*"]


def test_umlauts_may_be_written_out_and_sharp_s_is_ss() -> None:
    assert _found("Laesion LÄSION Lasion", "Läsion") == ["Läsion"] * 3
    assert _found("gross groß", "groß") == ["groß", "groß"]


def test_a_number_keeps_its_value() -> None:
    assert [token.number for token in tokenize("2,4 x 3.15 cm 7")] == [2.4, 0.0, 3.15, 0.0, 7.0]


def test_hyphens_case_and_accents_do_not_count() -> None:
    assert _found("LEFT-SIDED, partiele", "left sided", "Partiële") == ["left sided", "Partiële"]


def test_lists_do_not_hide_each_other() -> None:
    lexicon = Lexicon([("a", "left kidney", "x"), ("b", "kidney", "y")])
    found = lexicon.find(tokenize("left kidney"))
    assert found == {"a": [Span(0, 2, "x", "left kidney")], "b": [Span(1, 2, "y", "kidney")]}


def test_a_term_longer_than_the_rest_of_the_text_is_not_found() -> None:
    assert _found("no change", "no change in size") == []
