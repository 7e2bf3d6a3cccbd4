"""What is shown in a terminal: command lines that can be pasted, and foreign text that cannot act on the terminal."""

import shlex
import unicodedata

ACTING = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Unicode's categories of letters that move the cursor, turn the direction, end a line, or are no letters at all."""


def command_line(*words: object) -> str:
    """A command as it is typed, every word quoted that needs it. Every command that we print is made here."""
    return shlex.join(map(str, words))


def visible(text: str) -> str:
    r"""The text with escapes for letters that act on a terminal, such as \x1b; lines and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in ACTING:
        return letter
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
