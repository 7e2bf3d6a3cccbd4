"""Reports as data bases, exports and spreadsheet programs write them: the same labels, or none that is guessed."""

import unicodedata
from collections.abc import Callable

import pytest

from nnanomaly.pseudo_labels.carrier import plain_text, repair_encoding
from nnanomaly.pseudo_labels.label_report import label_report
from nnanomaly.pseudo_labels.rule_pack import Rules
from nnanomaly.utilities.errors import DataError

REPORTS = (
    "Left kidney is normal.\nNo stones in the left kidney.\nRight kidney: cyst.",
    "FINDINGS:\nKidneys: normal size.\nNo left renal calculus.\nNo right renal mass.\nLiver: normal.",
    "Befund:\nLinke Niere unauffällig.\nKein Konkrement in der linken Niere.\nRechte Niere: Läsion.",
    "Rechter nier: geen steen.\nLinker nier: niercyste.\nGeen massa rechts.",
)
CARRIERS: dict[str, Callable[[str], str]] = {
    "backslash n": lambda text: text.replace("\n", "\\n"),
    "backslash r n": lambda text: text.replace("\n", "\\r\\n"),
    "escaped twice": lambda text: text.replace("\n", "\\\\n\\\\t"),
    "HL7 line": lambda text: text.replace("\n", "\\.br\\"),
    "HL7 hex": lambda text: text.replace("\n", "\\X0D0A\\"),
    "JSON": lambda text: text.replace("\n", "\\u000a").replace("ä", "\\u00e4"),
    "br": lambda text: text.replace("\n", "<br/>"),
    "escaped br": lambda text: text.replace("\n", "&lt;br&gt;"),
    "paragraphs": lambda text: "<p>" + text.replace("\n", "</p><p>") + "</p>",
    "bold": lambda text: f"<div><b>{text[:4]}</b>{text[4:]}</div>",
    "XML": lambda text: "<r><f>" + text.replace("\n", "</f><f>") + "</f></r>",
    "CDATA": lambda text: f"<r><![CDATA[{text}]]></r>",
    "entities": lambda text: text.replace("\n", "&#xA;").replace(" ", "&nbsp;").replace("ä", "&auml;"),
    "Excel": lambda text: text.replace("\n", "_x000D_\n"),
    "hard spaces": lambda text: text.replace(" ", "\u00a0"),
    "no width": lambda text: text.replace(" ", "\u200b "),
    "no width alone": lambda text: text.replace(" ", "\u200b"),
    "no width in words": lambda text: text.replace("idn", "id\u200bn").replace("äs", "ä\u200bs"),
    "soft hyphens": lambda text: text.replace("idn", "id\u00adn").replace("iere", "ie\u00adre"),
    "decomposed": lambda text: unicodedata.normalize("NFD", text),
    "read as cp1252": lambda text: text.encode().decode("cp1252"),
    "read as cp1252 twice": lambda text: text.encode().decode("cp1252").encode().decode("cp1252"),
    "form feeds": lambda text: text.replace("\n", "\f"),
    "next line": lambda text: text.replace("\n", "\u2028"),
    "bars": lambda text: text.replace("\n", "|"),
    "no line ends": lambda text: text.replace("\n", ""),
    "hyphens": lambda text: text.replace("kidney", "kid-\nney").replace("Niere", "Nie-\nre"),
    "hyphens that were soft": lambda text: text.replace("kidney", "kid\u00ad\nney").replace("Niere", "Nie\u00ad\nre"),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
}


def _labels(text: str, rules: tuple[Rules, ...]) -> dict[str, str]:
    return {name: organ.label for name, organ in label_report(text, rules).organs.items()}


@pytest.mark.parametrize("text", REPORTS)
@pytest.mark.parametrize("carrier", CARRIERS.values(), ids=list(CARRIERS))
def test_what_the_carrier_did_to_a_text_changes_no_label(
    carrier: Callable[[str], str], text: str, rules: tuple[Rules, ...]
) -> None:
    assert _labels(carrier(text), rules) == _labels(text, rules)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{\\rtf1\\ansi Left kidney normal.\\par No cyst.}", "RTF"),
        ("Left kidney normal.\\par No cyst.", "RTF"),
        ("MSH|^~\\&|A\rOBX|1|TX|Left kidney normal.", "HL7"),
        ("Left kidney normal.=0D=0ANo cyst.", "quoted-printable"),
        ("Left%20kidney%20normal.%0ANo cyst.", "percent"),
        ("Linke Niere unauff\ufffdllig.", "lost"),
        ("Linke Niere unauff?llig.", "lost"),
        ("Linke Niere unauffällig.".encode("cp850").decode("cp1252"), "lost"),
        ("Left kidney normal.\\qNo cyst.", "backslash"),
        ("Left\\right kidney normal.", "an escape, or a word"),
        ("No \\nodule in the left kidney.", "an escape, or a word"),
        ("Left kidney: <s>cyst</s> normal.", "struck"),
        ("Left kidney &foo; normal.", "entity"),
        ("Left kidney\x1e normal.", "signs"),
    ],
)
def test_what_would_have_to_be_guessed_is_refused_by_name(text: str, word: str, rules: tuple[Rules, ...]) -> None:
    with pytest.raises(DataError, match=word) as error:
        label_report(text, rules)
    assert error.value.code == "REPORT-TEXT"


@pytest.mark.parametrize("text", ["Cyst <5 mm and > 3 mm.", "„groß“", "R&D", "5 % of it", "<DATE>", "and/or", "a_b"])
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert plain_text(text, lambda word: False) == text


def test_letters_read_in_the_wrong_encoding_come_back() -> None:
    assert repair_encoding("unauffÃ¤llig, GrÃ¶ÃŸe â€“ 3 Âµl") == "unauffällig, Größe – 3 µl"
    assert repair_encoding("ÃœBER, DÃ©jÃ\xa0") == "ÜBER, Déjà"
