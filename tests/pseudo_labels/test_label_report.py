"""One report: what decides, what is left open, and texts that no rule can read."""

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnanomaly.dataset.organ_labels import LABELS
from nnanomaly.pseudo_labels.label_report import MAX_LETTERS, OrganLabel, label_report
from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, Organ, Rules, built_in_pack, compile_rules, load_rules
from nnanomaly.utilities.errors import DataError

PACKS = tuple(load_rules(built_in_pack(language)) for language in BUILT_IN)
WORDS = ("no", "left", "right", "kidney", "cyst", "stone", ",", ".", "and", "but", "in", "nier", "geen", "?", ":", "\n")


def _labels(text: str, rules: tuple[Rules, ...]) -> tuple[str, str]:
    organs = label_report(text, rules).organs
    return organs["kidney_left"].label, organs["kidney_right"].label


def _left(text: str, rules: tuple[Rules, ...]) -> OrganLabel:
    return label_report(text, rules).organs["kidney_left"]


def test_a_label_comes_with_its_sentence_line_and_rule(rules: tuple[Rules, ...]) -> None:
    label = _left("Liver normal.\nThere is a cyst of 2.4 cm in the left kidney. No stone.", rules)
    assert (label.label, label.reason, label.num_deciding) == ("unhealthy", "lesion", 1)
    mention = label.mentions[0]
    assert mention.sentence == "There is a cyst of 2.4 cm in the left kidney."
    assert mention.line == 2
    assert mention.rule == "lesion: cyst, affirmed"


def test_a_negated_finding_names_the_word_that_negates(rules: tuple[Rules, ...]) -> None:
    label = _left("No evidence of a mass in the left kidney.", rules)
    assert label.reason == "finding negated"
    assert label.mentions[0].rule == "lesion: mass, negated by 'no evidence of'"


def test_what_excludes_wins_over_a_lesion_and_both_are_told(rules: tuple[Rules, ...]) -> None:
    label = _left("Left renal cyst. Left renal stone.", rules)
    assert label.label == "excluded"
    assert {mention.kind for mention in label.mentions} == {"lesion", "stone"}
    assert label.num_deciding == 1


def test_not_mentioned_is_healthy_or_uncertain_as_asked(rules: tuple[Rules, ...]) -> None:
    text = "The liver is normal. Cyst in the right kidney."
    assert _labels(text, rules) == ("healthy", "unhealthy")
    found = label_report(text, rules, unmentioned="uncertain").organs
    assert (found["kidney_left"].label, found["kidney_left"].reason) == ("uncertain", "not mentioned")
    assert found["kidney_right"].label == "unhealthy"


def test_another_organ_is_another_entry_of_the_pack(rules: tuple[Rules, ...]) -> None:
    assert label_report("Cyst in the liver. Normal kidneys.", rules).organs["liver"].label == "unhealthy"
    assert label_report("Levercyste. Normale nieren.", rules).organs["liver"].label == "unhealthy"
    assert label_report("Status post hemihepatectomy of the liver.", rules).organs["liver"].label == "excluded"
    assert label_report("No liver lesion. Left renal cyst.", rules).organs["liver"].label == "healthy"


def test_an_organ_is_added_without_code(english: Rules) -> None:
    spleen = Organ(labels={"unsided": "spleen"}, terms=("spleen", "splenic"), findings={"removal": ("splenectom*",)})
    other = tuple(term for term in english.pack.other_anatomy if not term.startswith("splen") and term != "spleen")
    pack = replace(english.pack, organs={**english.pack.organs, "spleen": spleen}, other_anatomy=other)
    own = (compile_rules(pack),)
    assert label_report("There is a lesion in the spleen.", own).organs["spleen"].label == "unhealthy"
    assert label_report("Status post splenectomy.", own).organs["spleen"].label == "excluded"
    assert label_report("Normal spleen, cyst in the left kidney.", own).organs["spleen"].label == "healthy"


def test_an_unknown_heading_ends_what_was_spoken_of(rules: tuple[Rules, ...]) -> None:
    kidneys = "Left kidney: 2 cm cyst.\nRight kidney: normal.\n"
    assert _labels(kidneys + "Other: 1 cm nodule.", rules) == ("unhealthy", "healthy")
    assert _labels(kidneys + "Stone of 4 mm.", rules) == ("unhealthy", "excluded")


def test_a_lumbar_vertebra_is_no_left_side(rules: tuple[Rules, ...]) -> None:
    assert _labels("Kidneys are normal. Lesion in L2, 2 cm.", rules) == ("healthy", "healthy")
    assert _labels("There is a cyst in the L kidney.", rules) == ("unhealthy", "healthy")


def test_no_new_lesion_is_no_lesion(rules: tuple[Rules, ...]) -> None:
    text = "Clinical history: right nephrectomy 2018 for RCC.\nFindings:\nThe left kidney enhances, no new lesion."
    assert _labels(text, rules) == ("healthy", "excluded")


def test_a_text_too_short_to_tell_its_language_counts_only_where_its_readings_agree(rules: tuple[Rules, ...]) -> None:
    assert _labels("Bilateral nephrolithiasis.", rules) == ("excluded", "excluded")
    english = replace(rules[0].pack, language="xx", sides={**rules[0].pack.sides, "left": ("links",), "right": ("x",)})
    other = replace(english, language="yy", sides={**english.sides, "left": ("x",), "right": ("links",)})
    with pytest.raises(DataError, match="-lang") as error:
        label_report("Nephrectomy links.", (compile_rules(english), compile_rules(other)))
    assert error.value.code == "REPORT-LANGUAGE"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Left kidney: 12 mm blob.", ("uncertain", "healthy")),
        ("No hydronephrosis, 12 mm blob in the left kidney.", ("uncertain", "healthy")),
        ("Cyst in the right kidney, left kidney with a 9 mm blob.", ("uncertain", "unhealthy")),
        ("The left kidney measures 11 cm.", ("healthy", "healthy")),
        ("The left kidney measures 4 cm.", ("uncertain", "healthy")),
        ("Left kidney: cortical thickness 12 mm.", ("healthy", "healthy")),
        ("Nothing over 5 mm, no cyst in the left kidney.", ("healthy", "healthy")),
        ("Linke Niere: Struktur von 1,2 cm.", ("uncertain", "healthy")),
        ("Linke Niere 10,8 cm.", ("healthy", "healthy")),
        ("Linker nier: 12 mm groot plekje.", ("uncertain", "healthy")),
        ("Two cm density in the right kidney.", ("healthy", "uncertain")),
    ],
)
def test_a_size_that_no_rule_explains_is_never_healthy(
    text: str, labels: tuple[str, str], rules: tuple[Rules, ...]
) -> None:
    assert _labels(text, rules) == labels


def test_a_lesion_in_a_report_that_names_no_organ_leaves_them_all_open(rules: tuple[Rules, ...]) -> None:
    assert _labels("There is a tumour of 4 cm on the left.", rules) == ("uncertain", "healthy")
    assert _labels("There is a tumour of 4 cm.", rules) == ("uncertain", "uncertain")
    assert _labels("There is no tumour.", rules) == ("healthy", "healthy")
    assert _labels("There is a tumour of 4 cm in the pancreas.", rules) == ("healthy", "healthy")


def test_an_organ_without_a_side_is_the_one_named_before_it(rules: tuple[Rules, ...]) -> None:
    assert _labels("The left kidney shows a renal mass.", rules) == ("unhealthy", "healthy")
    assert _labels("The left kidney is normal, a renal mass on the right.", rules) == ("healthy", "unhealthy")


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("Left kidney with a 3 cm large tumour, right kidney unremarkable.", ("unhealthy", "healthy")),
        ("Left kidney with a 3 cm large tumour, right kidney stone.", ("unhealthy", "excluded")),
        ("Kidneys: lt 2 cm cyst, rt normal.", ("unhealthy", "healthy")),
        ("Linke Niere mit 3 cm großer Raumforderung, rechte Niere unauffällig.", ("unhealthy", "healthy")),
    ],
)
def test_each_side_of_a_comma_keeps_its_own_finding(
    text: str, labels: tuple[str, str], rules: tuple[Rules, ...]
) -> None:
    assert _labels(text, rules) == labels


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("No stones, cyst in the left kidney.", ("uncertain", "healthy")),
        ("No stones, cysts or masses in the left kidney.", ("healthy", "healthy")),
        ("Keine Steine, Zyste rechte Niere.", ("healthy", "uncertain")),
        ("No recurrence after right nephrectomy.", ("healthy", "excluded")),
        ("Kein Lokalrezidiv nach Nephrektomie rechts.", ("healthy", "excluded")),
        ("Geen recidief na nefrectomie rechts.", ("healthy", "excluded")),
    ],
)
def test_a_negation_does_not_silence_what_it_may_not_reach(
    text: str, labels: tuple[str, str], rules: tuple[Rules, ...]
) -> None:
    assert _labels(text, rules) == labels


def test_two_languages_in_one_report_are_both_read(rules: tuple[Rules, ...]) -> None:
    text = "There is a simple cyst in the left kidney.\nDe rechter nier bevat een steen van 4 mm."
    assert _labels(text, rules) == ("unhealthy", "excluded")


@pytest.mark.parametrize(
    "text",
    [
        "Le rein gauche présente un kyste de 2 cm. Foie et rate sans particularité.",
        "Rein gauche: tumeur de 4 cm. Rein droit normal.",
        "Lésion rénale gauche.",
        "Tumor renal izquierdo de 4 cm.",
        "Cisti renale sinistra.",
        "Massa renal esquerda de 4 cm.",
        "Tumor i höger njure.",
        "Cyste i venstre nyre.",
        "Torbiel nerki lewej 2 cm.",
        "Почка левая: киста 2 см, kidney.",
        "There is a simple cyst in the liver. Le rein gauche présente un kyste de 2 cm.",
    ],
)
def test_a_language_without_a_pack_is_not_guessed_at(text: str, rules: tuple[Rules, ...]) -> None:
    with pytest.raises(DataError) as error:
        label_report(text, rules)
    assert error.value.code == "REPORT-LANGUAGE"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "REPORT-EMPTY"),
        (" \r\n -- 12\n", "REPORT-EMPTY"),
        ("\x00\x01PK left kidney", "REPORT-TEXT"),
        ("kidney " * MAX_LETTERS, "REPORT-LONG"),
    ],
)
def test_what_is_no_report_is_refused(text: str, code: str, rules: tuple[Rules, ...]) -> None:
    with pytest.raises(DataError) as error:
        label_report(text, rules)
    assert error.value.code == code


def test_upper_case_and_line_ends_of_windows_change_nothing(rules: tuple[Rules, ...]) -> None:
    text = "Indication: mass?\nFindings:\nThere is a cyst in the left\nkidney. Right nephrectomy.\n"
    assert _labels(text, rules) == ("unhealthy", "excluded")
    assert _labels(text.upper().replace("\n", "\r\n"), rules) == ("unhealthy", "excluded")


@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=200))
@settings(deadline=None, max_examples=200)
def test_any_text_is_labelled_or_refused_in_our_words(text: str) -> None:
    try:
        found = label_report(text, PACKS)
    except DataError as error:
        assert error.code.startswith("REPORT-")
    else:
        assert {organ.label for organ in found.organs.values()} <= set(LABELS)


@pytest.mark.parametrize("unit", ["cyst, ", "no ", "left kidney ", "kidney cyst or ", "indication: cyst\n"])
def test_no_text_makes_the_rules_slow(unit: str, rules: tuple[Rules, ...]) -> None:
    text = (unit * MAX_LETTERS)[: MAX_LETTERS // 5]
    start = time.process_time()
    label_report(text, rules)
    assert time.process_time() - start < 5
