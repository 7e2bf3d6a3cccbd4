"""Sections of the method that the code and its tests name are there, and have something to say."""

import re
from pathlib import Path

import pytest

SECTION = re.compile(r"\d+(?:\.\d+)*")
CITATION = re.compile(
    rf"(?<![\w-])METHOD\b(?:\s+({SECTION.pattern}(?:(?:,\s+|\s+and\s+|\s+to\s+){SECTION.pattern})*))?"
)


@pytest.fixture(scope="module")
def numbered(root: Path) -> set[str]:
    """Numbers of the sections of the page."""
    text = (root / "documentation" / "explanation" / "method.md").read_text(encoding="utf-8")
    return set(re.findall(rf"^###? ({SECTION.pattern}) \S", text, flags=re.MULTILINE))


def cited(text: str) -> list[str]:
    """Sections that a file names; a citation without a number is `?`."""
    found = [match[1] or "?" for match in CITATION.finditer(text)]
    return [number for numbers in found for number in SECTION.findall(numbers) or ["?"]]


def test_citations_are_found_in_all_their_forms() -> None:
    text = "(METHOD 1.2) METHOD 5.1, 6.1,\n6.2. METHOD 3 and 5.1; METHOD 1.3 to 1.5. CFG-METHOD 9, METHOD section 4, "
    text += "METHOD 2."
    assert cited(text) == ["1.2", "5.1", "6.1", "6.2", "3", "5.1", "1.3", "1.5", "?", "2"]


def test_every_section_of_the_method_that_is_cited_is_there(root: Path, numbered: set[str]) -> None:
    assert {"1", "1.7", "3.4", "7"} <= numbered
    unknown, number = [], 0
    for path in sorted([*(root / "nnanomaly").rglob("*.py"), *(root / "tests").rglob("*.py")]):
        if path == Path(__file__):
            continue
        for section in cited(path.read_text(encoding="utf-8")):
            number += 1
            if section not in numbered:
                unknown.append(f"{path.relative_to(root)}: METHOD {section}")
    assert number > 50
    assert not unknown, "\n".join(unknown)


def test_sections_are_numbered_without_a_gap(numbered: set[str]) -> None:
    for section in numbered:
        *parents, last = section.split(".")
        if int(last) > 1:
            assert ".".join([*parents, str(int(last) - 1)]) in numbered, section
        assert not parents or ".".join(parents) in numbered
