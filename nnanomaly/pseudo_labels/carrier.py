"""What files, data bases and exports do to a text, undone: escapes, markup, wrong encodings, signs without a width.

The two characters backslash and n are an end of a line, not the letter n: a "No" behind them would else be "nNo", and
the stone that it negates a stone. What is known is undone; what is half known, or could mean two things, is refused.
"""

import html
import re
import unicodedata
from collections.abc import Callable, Iterable

from nnanomaly.utilities.errors import DataError

IsWord = Callable[[str], bool]
"""Whether a rule pack knows a word."""

_DOUBLE_DECODED = re.compile(
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2010-\u203a\u20ac\u2122]{1,3}"
)
_HL7_LINE = re.compile(r"\\(?:\.br|\.sp[+\d ]*|\.ce|\.(?:in|ti|sk)[+\-\d ]*|\.(?:fi|nf))\\")
_HL7_HEX = re.compile(r"\\X((?:[0-9A-Fa-f]{2})+)\\")
_HL7_SIGNS = {"\\F\\": "|", "\\S\\": "^", "\\T\\": "&", "\\R\\": "~", "\\H\\": "", "\\N\\": "", "\\P\\": "\n"}
_HL7_SIGN = re.compile("|".join(re.escape(sign) for sign in _HL7_SIGNS))
_UNICODE = re.compile(r"\\+(?:u\{?([0-9A-Fa-f]{4})\}?|x([0-9A-Fa-f]{2})(?![0-9A-Fa-f]))")
_ESCAPE = re.compile(r"\\+([nrtfv])([^\W\d_]*)")
_QUOTED = re.compile(r"\\+([\"'/])")
_EXCEL = re.compile(r"_x([0-9A-Fa-f]{4})_")
_MARKUP = re.compile(
    r"</?([A-Za-z][A-Za-z0-9:_-]*)(?:\s[^<>]*)?/?>|<!--.*?-->|<\?[^<>]*\?>|<![A-Za-z][^<>]*>", re.DOTALL
)
_CDATA = re.compile(r"<!\[CDATA\[|\]\]>")
_UNSEEN_PARTS = re.compile(r"<(style|script)\b[^<>]*>[^<]*</\1\s*>", re.IGNORECASE)
_INLINE = frozenset(
    {"a", "abbr", "b", "big", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "tt", "u"}
)
_STRUCK = frozenset({"s", "del", "strike"})
_LINE_ENDS = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029\u2424\u23ce\u00b6\u240d\u240a]")
_NO_WIDTH = re.compile("[\u00ad\u061c\u200b-\u200f\u2060-\u2069\u202a-\u202e\ufeff]+")
_BROKEN_WORD = re.compile("([^\\W\\d_]+)(?:[-\u2010]|\u00ad)[ \t]*\n[ \t]*([^\\W\\d_]+)")
_LINES_LOST = re.compile(r"(?<=[^\W\d_]{2}[.!?:;])[|^]+(?=\S)|\|{2,}|~(?=[A-Z\u00c4\u00d6\u00dc])")
_NO_SPACE = re.compile(r"(?<=[a-z\u00df-\u00ff]{3}[.!?])(?=[A-Z\u00c4\u00d6\u00dc][a-z\u00df-\u00ff])")
_OTHER_FORMS = (
    (re.compile(r"\{\\rtf|\\(?:pard?|tab|line|fs\d+|plain|ql|'[0-9a-fA-F]{2})(?![A-Za-z])"), "RTF"),
    (re.compile(r"^\s*MSH\||(?:^|[\r\n])OBX\|"), "an HL7 message"),
    (re.compile(r"=0[AD]|=20\r?\n|=[C-F][0-9A-F]=[89AB]|[a-z]=\r?\n[a-z]"), "quoted-printable text"),
    (re.compile(r"%(?:0[AaDd]|20|[Cc]3%)"), "percent codes"),
)
_RESTS = (
    (
        re.compile("\ufffd|[a-z\u00df-\u00ff][?\u201e\u201d\u0160\u0161\u017d\u017e\u0178\u2122\u00a7][a-z]"),
        "lost letters",
    ),
    (re.compile(r"&#?[A-Za-z0-9]+;"), "an unknown entity"),
    (re.compile(r"\\"), "a backslash that is no known escape"),
)
_ROUNDS = 3
"""How often a text may have been escaped."""


def plain_text(text: str, is_word: IsWord) -> str:
    """The text as it was written.

    `is_word` decides where an escape could also be the beginning of a word, as in `left\\right`. DataError
    (REPORT-TEXT) for what would have to be guessed at, and for signs that no text has.
    """
    _refuse(text, _OTHER_FORMS)
    text = _CDATA.sub("", _unescape(repair_encoding(text), is_word))
    text = _LINE_ENDS.sub("\n", _without_markup(text))
    _refuse(text, _RESTS)
    text = _LINES_LOST.sub("\n", unicodedata.normalize("NFKC", text))
    text = _BROKEN_WORD.sub(lambda match: _joined(match, is_word), text)
    text = _without_width(text, is_word)
    if any(unicodedata.category(letter) in ("Cc", "Co", "Cs") and letter not in "\t\n\v" for letter in text):
        raise DataError("REPORT-TEXT", "the report holds signs that no text has. Save it as plain text (UTF-8).")
    return _NO_SPACE.sub(" ", text)


def _refuse(text: str, forms: Iterable[tuple[re.Pattern[str], str]]) -> None:
    for pattern, what in forms:
        if pattern.search(text):
            raise DataError("REPORT-TEXT", f"the report holds {what}. Save it as plain text (UTF-8).")


def repair_encoding(text: str) -> str:
    """UTF-8 that was read as Windows-1252, once or more often, read anew: `Ã¤` is `ä`."""
    for _ in range(_ROUNDS):
        repaired = _DOUBLE_DECODED.sub(_decoded, text)
        if repaired == text:
            break
        text = repaired
    return text


def _decoded(match: re.Match[str]) -> str:
    content = b"".join(_byte(letter) for letter in match[0])
    for length in range(len(content), 1, -1):
        try:
            text = content[:length].decode("utf-8")
        except UnicodeDecodeError:
            continue
        if all(letter < "\u0370" or "\u2000" <= letter < "\u2200" or letter == "\ufeff" for letter in text):
            return text + match[0][length:]
    return match[0]


def _byte(letter: str) -> bytes:
    """The byte that Windows-1252 (or Latin-1, where it has none) read as this letter."""
    try:
        return letter.encode("cp1252")
    except UnicodeEncodeError:
        return letter.encode("latin-1", errors="replace")


def _unescape(text: str, is_word: IsWord) -> str:
    """Escapes of HL7, HTML, JSON, Excel and of programming languages, undone."""
    text = _HL7_SIGN.sub(lambda match: _HL7_SIGNS[match[0]], _HL7_LINE.sub("\n", _HL7_HEX.sub(_hex, text)))
    text = _EXCEL.sub(lambda match: chr(int(match[1], 16)), text)
    text = _UNICODE.sub(lambda match: chr(int(match[1] or match[2], 16)), text)
    text = _ESCAPE.sub(lambda match: _escape(match, is_word), _QUOTED.sub(r"\1", text))
    for _ in range(_ROUNDS):
        text = html.unescape(text)
    return text


def _hex(match: re.Match[str]) -> str:
    content = bytes.fromhex(match[1])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _escape(match: re.Match[str], is_word: IsWord) -> str:
    """An end of a line or a tab; where the letter behind the backslash begins a known word, nobody knows."""
    letter, rest = match[1], match[2]
    if rest and is_word(letter + rest) and not is_word(rest):
        raise DataError(
            "REPORT-TEXT",
            f"the report holds {match[0]!r}: an escape, or a word? Save it with real ends of lines.",
        )
    return ("\t" if letter == "t" else "\n") + rest


def _without_markup(text: str) -> str:
    """Text of HTML or XML without its elements, those that begin a line turned into its end."""
    closing = {match[1].lower() for match in _MARKUP.finditer(text) if match[1] and match[0].startswith("</")}
    if closing & _STRUCK:
        raise DataError("REPORT-TEXT", "the report holds text that was struck out. Save it without.")
    known = closing | _INLINE | {"br", "p", "hr", "li", "div", "tr", "td"}
    text = _UNSEEN_PARTS.sub("\n", text)
    return _MARKUP.sub(lambda match: _element(match, known), text)


def _element(match: re.Match[str], known: set[str] | frozenset[str]) -> str:
    name = (match[1] or "").lower()
    if not name:
        return ""
    if name not in known:
        return match[0]
    return "" if name in _INLINE else "\n"


def _joined(match: re.Match[str], is_word: IsWord) -> str:
    """A word that was broken at the end of a line, where both halves together are one that is known.

    A vertical tab stands for the line, so that lines are still counted.
    """
    whole = match[1] + match[2]
    if match[2][0].islower() and is_word(whole):
        return whole + "\v"
    return match[0].replace("\u00ad", "")


def _without_width(text: str, is_word: IsWord) -> str:
    """Without soft hyphens and spaces of no width; these part two known words, and what together is no word."""
    parts = _NO_WIDTH.split(text)
    signs = _NO_WIDTH.findall(text)
    joined = parts[0]
    for sign, part in zip(signs, parts[1:], strict=True):
        before, after = re.search(r"[^\W\d_]*\Z", joined), re.match(r"[^\W\d_]*", part)
        words = (before[0] if before else "", after[0] if after else "")
        is_one = all(words) and is_word("".join(words)) and not all(map(is_word, words))
        joined += (" " if "\u200b" in sign and all(words) and not is_one else "") + part
    return joined
