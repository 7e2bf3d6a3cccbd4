"""JSON on disk: whole or not at all, read strictly, converted to dataclasses with the place of every fault."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.json_io import (
    document_hash,
    from_document,
    read_json,
    to_document,
    write_json,
)


@dataclass(frozen=True, kw_only=True)
class Inner:
    widths: tuple[int, ...]
    spacing: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    inner: Inner
    more: tuple[Inner, ...] = ()
    notes: dict[str, float] = field(default_factory=dict)
    limit: float | None = None
    flag: bool = False


GOOD = {"name": "a", "inner": {"widths": [8, 16]}}


def test_a_document_is_read_as_it_was_written(tmp_path: Path) -> None:
    document = {"list": [1, 2.5, None, True], "text": "Größe", "nested": {"a": []}}
    write_json(tmp_path / "new" / "a.json", document)
    assert read_json(tmp_path / "new" / "a.json") == document
    assert "Größe" in (tmp_path / "new" / "a.json").read_text(encoding="utf-8")


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, fail)
    for unwritable in ({"value": float("nan")}, {"value": float("inf")}, {"value": object()}):
        with pytest.raises((ValueError, TypeError)):
            write_json(path, unwritable)
    assert json.loads(path.read_text()) == {"old": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_the_final_name_appears_only_when_the_content_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.nii.gz"
    seen = []

    def write(temporary: Path) -> None:
        temporary.write_text("half")
        seen.append((path.exists(), temporary.parent, temporary.name.endswith(".nii.gz")))
        temporary.write_text("whole")

    write_atomically(path, write)
    assert seen == [(False, tmp_path, True)]
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "duplicate key 'a'"),
        ('{"outer": {"b": 1, "b": 1}}', "duplicate key 'b'"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1,}', "line 1"),
        ("", "line 1"),
        ("[" * 200_000, "recursion"),
    ],
)
def test_a_faulty_document_is_refused_with_its_file_and_place(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DataError) as refused:
        read_json(path)
    assert refused.value.code == "JSON"
    assert str(path) in str(refused.value)
    assert reason in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(DataError, match="JSON"):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_missing_document_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="IO-MISSING.*a.json"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match="IO-MISSING"):
        read_json(tmp_path)


def test_nested_dataclasses_survive_the_way_to_json_and_back() -> None:
    value = Outer(
        name="a",
        inner=Inner(widths=(8, 16)),
        more=(Inner(widths=()), Inner(widths=(1,), spacing=(2.0, 3.0))),
        notes={"x": 1.5},
        limit=2.0,
        flag=True,
    )
    document = json.loads(json.dumps(to_document(value)))
    assert from_document(Outer, document, source="test") == value


def test_whole_numbers_become_floats_where_floats_are_wanted_and_defaults_fill_in() -> None:
    value = from_document(Outer, {**GOOD, "limit": 3, "notes": {"x": 1}}, source="test")
    assert isinstance(value.limit, float)
    assert isinstance(value.notes["x"], float)
    assert value.inner.spacing == (1.0, 1.0)
    assert from_document(Outer, {**GOOD, "limit": None}, source="test").limit is None


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"typo": 1}, ["plans.json", "Outer", "typo"]),
        ({"inner": {"widths": [8], "depth": 2}}, ["plans.json: inner", "Inner", "depth"]),
        ({"inner": {}}, ["plans.json: inner", "widths"]),
        ({"inner": [8]}, ["plans.json: inner", "Inner", "[8]"]),
        ({"name": 5}, ["plans.json: name", "str", "5"]),
        ({"flag": 1}, ["plans.json: flag", "bool", "1"]),
        ({"limit": "1.0"}, ["plans.json: limit", "float", "'1.0'"]),
        ({"limit": True}, ["plans.json: limit", "float", "True"]),
        ({"inner": {"widths": [8.5]}}, ["plans.json: inner: widths", "int", "8.5"]),
        ({"inner": {"widths": 8}}, ["plans.json: inner: widths", "list", "8"]),
        ({"inner": {"widths": [8], "spacing": [1.0]}}, ["plans.json: inner: spacing", "2 values"]),
        ({"more": [{"widths": [1]}, {"width": [1]}]}, ["plans.json: more", "Inner", "width"]),
        ({"notes": {"x": "y"}}, ["plans.json: notes.x", "float", "'y'"]),
        ({"notes": [1]}, ["plans.json: notes"]),
    ],
)
def test_a_faulty_value_is_named_with_its_place(changes: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(ConfigurationError) as refused:
        from_document(Outer, {**GOOD, **changes}, source="plans.json")
    for part in parts:
        assert part in str(refused.value)


@pytest.mark.parametrize("document", [None, [], "text", 5])
def test_what_is_no_object_is_refused(document: object) -> None:
    with pytest.raises(ConfigurationError, match="plans.json: expected an object for Outer"):
        from_document(Outer, document, source="plans.json")


def test_the_hash_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert document_hash({"a": 1, "b": [1, 2]}) == document_hash({"b": [1, 2], "a": 1})
    assert document_hash({"b": [1, 2]}) != document_hash({"b": [2, 1]})
    assert document_hash({"a": 1}) != document_hash({"a": "1"})
