"""Pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence

NAMES = re.compile(
    r"(?<![\w./=-])("
    r"--?[A-Za-z]\w*"  # options
    r"|\w+\.(?:json|csv|pth|zip)"  # files
    r"|(?:images|labels|organMasks)T[rs]"  # folders
    r"|\w*[a-z]\w*=\w+"  # tumor=1
    r"|\w*_\w+"  # variables and fields
    r")(?!\w)"
)


def page(title: str, introduction: str, parts: Iterable[str]) -> str:
    """A whole page, with a line that says where it comes from."""
    origin = "<!-- Made from the code by `make reference`. Do not edit: edit the code. -->"
    return "\n\n".join([origin, f"# {title}", introduction.strip(), *(part.strip() for part in parts)]) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Text in the type of code."""
    return f"`{text}`"


def mark_names(text: str) -> str:
    """Options, files and variables of a sentence in the type of code; what is already in it stays."""
    outside = text.split("`")
    outside[::2] = [NAMES.sub(r"`\1`", part) for part in outside[::2]]
    return "`".join(outside)


def sentence(text: str) -> str:
    """With a capital at the start and a full stop at the end."""
    text = text if text.startswith(("-", "`")) else text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
