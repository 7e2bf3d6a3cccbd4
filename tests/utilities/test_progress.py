"""Without a terminal a long command says now and then how far it is, and never more."""

import itertools
import logging

import pytest

from nnanomaly.utilities import progress
from nnanomaly.utilities.progress import all_shown, in_words, progress_bar, shown


@pytest.fixture
def ten_seconds_a_look(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    clock = itertools.count(step=10.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    caplog.set_level(logging.INFO)


def test_a_log_gets_a_plain_line_every_half_minute_and_none_at_the_end(
    ten_seconds_a_look: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(all_shown(range(9), "predicting")) == list(range(9))
    assert caplog.messages == ["predicting: 3 of 9, 60 s left", "predicting: 6 of 9, 30 s left"]


def test_what_is_counted_elsewhere_is_told_in_the_same_way(
    ten_seconds_a_look: None, caplog: pytest.LogCaptureFixture
) -> None:
    with progress_bar("drawing") as show:
        for done in range(1, 5):
            show(done, 4)
    assert caplog.messages == ["drawing: 3 of 4, 10 s left"]


def test_where_nobody_knows_the_end_only_what_is_done_is_told(
    ten_seconds_a_look: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(shown(iter("abcd"), "scenes")) == list("abcd")
    assert caplog.messages == ["scenes: 3 done"]


def test_quick_work_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert list(all_shown("abc", "letters")) == ["a", "b", "c"]
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("seconds", "words"), [(45.2, "45 s"), (600.0, "10 min"), (7199.0, "2 h 00 min"), (11_100.0, "3 h 05 min")]
)
def test_durations_are_read_as_people_say_them(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
