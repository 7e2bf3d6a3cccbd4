"""A report as sentences: where each begins, its section, and whether it is a question."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from nnanomaly.pseudo_labels.lexicon import Token, tokenize
from nnanomaly.pseudo_labels.rule_pack import Rules

WRAPPED_LINE = 60
"""A line of that many letters without a full stop goes on in the next one."""
LONGEST_SENTENCE = 1000
"""Longer ones are cut, so that no text makes the rules slow."""
LONGEST_HEADER = 5
"""Words of a header, with its colon."""
BACKGROUND, DESCRIBED = "background", "described"
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)|\n")


class Sentence(NamedTuple):
    """One sentence of a report."""

    text: str
    """As written, white space reduced."""
    line: int
    """Line of the report in which it begins, from 1."""
    section: str
    """`background` (indication, technique) or `described`."""
    is_question: bool
    tokens: tuple[Token, ...]


class _Piece(NamedTuple):
    text: str
    line: int
    begins_within: bool
    ends_line: bool


def split_sentences(text: str, rules: Rules) -> list[Sentence]:
    """Sentences of a report, in order.

    A background section ends at the next header; at the end of its line where no header of findings follows or one
    came before; and with its sentence where its header stands within a line.
    """
    pieces = _pieces(text, rules)
    tokens = [tokenize(piece.text) for piece in pieces]
    headers = [_header(words, piece, rules) for words, piece in zip(tokens, pieces, strict=True)]
    described = [index for index, (header, _) in enumerate(headers) if header == DESCRIBED]
    sentences: list[Sentence] = []
    section = DESCRIBED
    for index, (piece, words, (header, length)) in enumerate(zip(pieces, tokens, headers, strict=True)):
        if header and not (header == BACKGROUND and piece.begins_within):
            section = header
        if len(words) > length:
            plain = " ".join(piece.text.split())
            is_question = plain.endswith("?")
            sentences.append(Sentence(plain, piece.line, header or section, is_question, words[length:]))
        if piece.ends_line and not (described and described[0] > index):
            section = DESCRIBED
    return sentences


def _header(tokens: Sequence[Token], piece: _Piece, rules: Rules) -> tuple[str, int]:
    """The section that a header at the beginning opens (or nothing), and the number of its tokens."""
    found = rules.lexicon.find(tokens[:LONGEST_HEADER])["headers"]
    if not found or found[0].start > 0:
        return "", 0
    end = found[0].end
    if end < len(tokens) and tokens[end].text == ":":
        return found[0].value, end + 1
    return (found[0].value, end) if end == len(tokens) and piece.ends_line else ("", 0)


def _pieces(text: str, rules: Rules) -> list[_Piece]:
    """The text between two ends of sentences."""
    text = _join_wrapped(text.replace("\r\n", "\n").replace("\r", "\n"), rules)
    abbreviations = {term.lower() for term in rules.pack.syntax.abbreviations}
    pieces: list[_Piece] = []
    start, line = 0, 1
    for match in [*_SENTENCE_END.finditer(text), None]:
        end = match.end() if match else len(text)
        word = text[max(start, end - 12) : end].rstrip(".!?").split()
        if match and match[0].endswith(".") and word and word[-1].lower() in abbreviations:
            continue
        for first in range(start, end, LONGEST_SENTENCE):
            part = text[first : min(end, first + LONGEST_SENTENCE)]
            if part.strip():
                ahead = len(part) - len(part.lstrip())
                first_line = line + part[:ahead].count("\n")
                begins_within = bool(text[:first].strip()) and "\n" not in text[max(0, first - 1) : first + ahead]
                pieces.append(_Piece(part.strip(), first_line, begins_within, "\n" in text[end - 1 : end + 1]))
            line += part.count("\n") + part.count("\v")
        start = end
    return pieces


def _join_wrapped(text: str, rules: Rules) -> str:
    """Lines that were broken within a sentence, joined by a vertical tab, which still counts as a line."""
    lines = text.split("\n")
    parts = [lines[0]]
    for before, after in zip(lines, lines[1:], strict=False):
        parts += ["\v" if _goes_on(before.rstrip(), after.lstrip(), rules) else "\n", after]
    return "".join(parts)


def _goes_on(before: str, after: str, rules: Rules) -> bool:
    """Whether a sentence runs from one line into the next: a long line, a small letter, a word that cannot end one."""
    if not before or not after or before[-1] in ".:;?!":
        return False
    if len(before) >= WRAPPED_LINE or after[0].islower():
        return True
    words = tokenize(before)[-1:] + tokenize(after)[:1]
    found = rules.lexicon.find(words)
    last = {name for name in ("fillers", "locations", "joiners", "sides") if any(s.start == 0 for s in found[name])}
    return bool(last - {"sides"}) or bool(last and any(span.start == 1 for span in found["anatomy"]))
