"""Plain values as annotated types: what fits is converted, what does not is one line with place, key and value."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest

from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.json_io import MAX_DEPTH, Between, from_document, read_document, read_json, shown, typed


class Item(TypedDict):
    """One item."""

    score: Annotated[float, Between(0, 1)]


class Listing(TypedDict, total=False):
    """Items, and more."""

    items: list[Item]
    kind: Literal["a", "b"]
    label: int | list[int]


@dataclass(frozen=True)
class Ordered:
    """Two numbers in order."""

    low: int
    high: int

    def __post_init__(self) -> None:
        """Refuse another order."""
        if self.low > self.high:
            raise ValueError("low must not exceed high")


def test_keys_that_are_not_listed_stay_in_a_typed_dictionary() -> None:
    document = {"items": [{"score": 1, "note": "n"}], "kind": "a", "label": [1, 2], "newer": None}
    read = typed(Listing, document, source="f", remedy="Mend it.")
    assert read == document
    assert type(read["items"][0]["score"]) is float


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "f: expected an object, found []"),
        ({"items": {}}, "f: items: expected a list, found {}"),
        ({"items": [{}]}, "f: items[0]: Item has unknown keys [] and lacks ['score']"),
        ({"items": [{"score": "1"}]}, "f: items[0]: score: expected float, found '1'"),
        ({"items": [{"score": True}]}, "f: items[0]: score: expected float, found True"),
        ({"items": [{"score": 2}]}, "f: items[0]: score is 2.0, but must lie in 0..1"),
        ({"items": [{"score": float("nan")}]}, "f: items[0]: score: expected float, found nan"),
        ({"items": [{"score": 10**400}]}, "f: items[0]: score is "),
        ({"kind": "c"}, "f: kind: expected one of ('a', 'b'), found 'c'"),
        ({"label": ["1"]}, "f: label[0]: expected int, found '1'"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_and_the_remedy(document: Any, fault: str) -> None:
    with pytest.raises(DataError) as refused:
        typed(Listing, document, source="f", remedy="Mend it.")
    assert str(refused.value).startswith(f"[NNA-JSON] {fault}")
    assert str(refused.value).endswith(". Mend it.")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_what_a_dataclass_says_of_its_values_is_said_with_the_place() -> None:
    assert from_document(Ordered, {"low": 1, "high": 2}, source="f") == Ordered(1, 2)
    with pytest.raises(ConfigurationError, match="CFG-TYPE] f: low must not exceed high"):
        from_document(Ordered, {"low": 3, "high": 2}, source="f")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1e999}', "too large"),
        (f'{{"a": {"9" * 400}}}', "too large"),
        (f'{{"a": -{2**64}}}', "too large"),
        (f'{{"a": {"9" * 5000}}}', "too large"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "levels"),
        ('{"a": "\\ud800"}', "surrogates"),
    ],
)
def test_a_document_beyond_all_reason_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=f"NNA-JSON.*a.json.*{reason}") as refused:
        read_json(tmp_path / "a.json")
    assert len(str(refused.value)) < 600


def test_what_is_just_within_reason_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * MAX_DEPTH + "]" * MAX_DEPTH)
    read_json(path)
    path.write_text(f'{{"a": {2**64 - 1}, "b": 1e308, "c": "\\ud83d\\ude00"}}')
    assert read_json(path) == {"a": 2**64 - 1, "b": 1e308, "c": "😀"}


def test_a_file_that_is_too_large_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnanomaly.utilities.json_io.MAX_BYTES", 10)
    (tmp_path / "a.json").write_text('{"a": "twelve"}')
    with pytest.raises(DataError, match="has 15 bytes, but at most 10 are read"):
        read_document(tmp_path / "a.json", dict[str, str], remedy="")


def test_values_are_shown_in_one_short_line() -> None:
    assert shown("a\x1b[2J\nb") == r"'a\x1b[2J\nb'"
    assert len(shown("x" * 10_000)) <= 100
    assert len(shown([["x" * 50] * 100] * 100)) < 2000
