"""README.md of this folder has every fault once, the tests it names exist, and every promise of the README has one."""

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROW = re.compile(r"^\| (F\d{2,3}) \| ([^|]+) \|([^|]*)\|([^|]*)\|$", flags=re.MULTILINE)


def is_there(reference: str) -> bool:
    """Whether a test file, a test of it or an entry of its table exists."""
    file, _, test = reference.partition("::")
    file, _, entry = file.partition("[")
    path = TESTS / file
    if not path.is_file():
        return False
    text = path.read_text(encoding="utf-8")
    if entry:
        return re.search(rf'^    "{entry.rstrip("]")}["\.]', text, flags=re.MULTILINE) is not None
    return not test or f"\ndef {test}(" in text


def rows() -> list[tuple[str, list[str], str]]:
    table = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    return [
        (fault, [item for item in map(str.strip, tests.split(",")) if item], rest.strip())
        for fault, _, tests, rest in ROW.findall(table)
    ]


def test_every_fault_is_in_the_table_once() -> None:
    numbers = [int(fault.removeprefix("F")) for fault, _, _ in rows()]
    assert len(numbers) > 190
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_fault_has_a_test_or_a_reason() -> None:
    assert [fault for fault, tests, rest in rows() if not tests and not rest.startswith("left out")] == []


def test_every_test_that_the_table_names_exists() -> None:
    named = [reference for _, tests, _ in rows() for reference in tests]
    assert [reference for reference in named if not is_there(reference)] == []
    assert not is_there("faults/test_datasets.py[F01]") and not is_there("faults/test_datasets.py::test_nothing")


def test_every_entry_of_the_tables_in_the_tests_is_named() -> None:
    named = {reference for _, tests, _ in rows() for reference in tests}
    for file in ("test_files_and_headers.py", "test_datasets.py"):
        text = (TESTS / "faults" / file).read_text(encoding="utf-8")
        entries = set(re.findall(r'^    "(F\d+)[".]', text, flags=re.MULTILINE))
        assert entries and entries == {entry for entry in entries if f"faults/{file}[{entry}]" in named}


def test_every_promise_of_the_readme_links_to_a_test_that_exists(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    section = text.split("## Promises")[1].split("\n## ")[0]
    promises = re.findall(r"^\d\. .*(?:\n   .*)*", section, flags=re.MULTILINE)
    assert len(promises) == 7
    for promise in promises:
        links = re.findall(r"\[`(test_\w+)`\]\(tests/([\w/]+\.py)\)", promise)
        assert links, promise
        assert [link for link in links if not is_there(f"{link[1]}::{link[0]}")] == []
