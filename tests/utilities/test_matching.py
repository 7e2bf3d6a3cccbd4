"""Two sets of names: what lacks a partner, what is surplus, what is there twice, how it is listed."""

import pytest

from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.matching import one_a_line, partners, refuse_same_names, same_names, some_of


def test_both_directions_and_doubles_are_found() -> None:
    assert partners(["b", "a", "c"], ["c", "d", "c"]) == (["a", "b"], ["d"], ["c"])
    assert partners([], []) == ([], [], [])
    assert partners({"a": 3}, {"a": 2, "b": 1}) == ([], ["b"], []), "the values of a mapping count nothing"


@pytest.mark.parametrize("other", ["Case", "caSE", "case"])
def test_names_that_one_file_would_hold_are_the_same(other: str) -> None:
    assert len(same_names([("case", "/a"), (other, "/b"), ("cases", "/c")])) == 1


def test_an_accent_stored_in_two_ways_is_the_same_name() -> None:
    clashes = same_names([("caf\u00e9", "/a"), ("cafe\u0301", "/b"), ("cafe", "/c")])
    assert [str(clash) for clash in clashes] == ["cafe\u0301 = caf\u00e9: /a and /b"]


def test_all_sources_of_a_name_are_told() -> None:
    with pytest.raises(DataError, match=r"CODE\] here has 1 case ids.*Rename\. a: /x/a and /y/a and /z/a$"):
        refuse_same_names([("a", f"/{f}/a") for f in "xyz"], code="CODE", place="here", remedy="Rename.")
    refuse_same_names([("a", "/x"), ("b", "/x")], code="CODE", place="here", remedy="Rename.")


def test_a_line_each_and_the_number_of_those_that_are_not_shown() -> None:
    assert one_a_line(["first\nof two lines", "second"]) == "\n  first of two lines\n  second"
    assert one_a_line(["first\nof two lines"]) == " first of two lines"
    assert one_a_line([str(n) for n in range(23)]).splitlines()[-2:] == ["  19", "  and 3 more"]
    assert some_of([str(n) for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
    assert some_of(["a"]) == "a"
