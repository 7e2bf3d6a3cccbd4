"""Three steps in threads: the same outcomes in the same order as one after the other, and never too far ahead."""

import threading
from collections.abc import Iterator

import pytest

from nnanomaly.utilities.pipeline import pipeline

COUNTS = [(0, 0), (1, 0), (0, 1), (1, 1), (2, 3), (9, 9)]


class Steps:
    """prepare, compute, finish of letters; writes down what happens, and in which thread."""

    def __init__(self, faulty: str = "") -> None:
        self.faulty, self.events, self.threads = faulty, [], {}
        self.lock = threading.Lock()

    def note(self, step: str, task: str) -> str:
        with self.lock:
            self.events.append(f"{step} {task}")
            self.threads.setdefault(step, set()).add(threading.current_thread() is threading.main_thread())
        if self.faulty == f"{step} {task}":
            raise OSError(f"{step} {task} failed")
        return task

    def run(self, tasks: str, num_preparing: int, num_finishing: int) -> Iterator[str]:
        return pipeline(
            list(tasks),
            prepare=lambda task: self.note("prepare", task),
            compute=lambda task: self.note("compute", task),
            finish=lambda task: self.note("finish", task) * 2,
            num_preparing=num_preparing,
            num_finishing=num_finishing,
        )


@pytest.mark.parametrize("counts", COUNTS, ids=str)
def test_outcomes_come_in_the_order_of_the_tasks(counts: tuple[int, int]) -> None:
    steps = Steps()
    assert list(steps.run("abcd", *counts)) == ["aa", "bb", "cc", "dd"]
    assert [event for event in steps.events if event.startswith("compute")] == [f"compute {task}" for task in "abcd"]
    assert sorted(steps.events) == sorted(
        f"{step} {task}" for step in ("prepare", "compute", "finish") for task in "abcd"
    )
    assert list(Steps().run("", *counts)) == []


def test_with_no_threads_one_case_follows_the_other() -> None:
    steps = Steps()
    list(steps.run("ab", 0, 0))
    assert steps.events == [f"{step} {task}" for task in "ab" for step in ("prepare", "compute", "finish")]
    assert steps.threads == {"prepare": {True}, "compute": {True}, "finish": {True}}


def test_only_the_middle_step_is_in_the_calling_thread() -> None:
    steps = Steps()
    list(steps.run("abc", 1, 1))
    assert steps.threads == {"prepare": {False}, "compute": {True}, "finish": {False}}


def test_the_next_case_is_prepared_and_the_last_one_finished_while_one_is_computed() -> None:
    next_is_ready, last_is_done = threading.Event(), threading.Event()

    def prepare(task: int) -> int:
        if task == 2:
            next_is_ready.set()
        return task

    def compute(task: int) -> int:
        if task == 1:
            assert next_is_ready.wait(10)
            assert last_is_done.wait(10)
        return task

    def finish(task: int) -> int:
        if task == 0:
            last_is_done.set()
        return task

    work = pipeline([0, 1, 2], prepare=prepare, compute=compute, finish=finish, num_preparing=1, num_finishing=1)
    assert list(work) == [0, 1, 2]


@pytest.mark.parametrize(("ahead", "behind"), [(1, 1), (2, 3)])
def test_no_more_cases_are_held_than_was_said(ahead: int, behind: int) -> None:
    held, most, lock = set(), [0], threading.Lock()

    def prepare(task: int) -> int:
        with lock:
            held.add(task)
            most[0] = max(most[0], len(held))
        return task

    def finish(task: int) -> int:
        with lock:
            held.remove(task)
        return task

    tasks = list(range(50))
    work = pipeline(tasks, prepare=prepare, compute=int, finish=finish, num_preparing=ahead, num_finishing=behind)
    assert list(work) == tasks
    assert 1 <= most[0] <= ahead + 1 + behind + 1  # and the one that is handed over


@pytest.mark.parametrize("counts", COUNTS, ids=str)
@pytest.mark.parametrize("step", ["prepare", "compute", "finish"])
def test_an_exception_ends_the_work_after_the_cases_before_it(step: str, counts: tuple[int, int]) -> None:
    steps = Steps(faulty=f"{step} c")
    outcomes = []
    with pytest.raises(OSError, match=f"{step} c failed"):
        for outcome in steps.run("abcdefghijklmnopqrstuvwxyz", *counts):
            outcomes.append(outcome)
    assert {"finish a", "finish b"} <= set(steps.events)
    assert outcomes == ["aa", "bb"][: len(outcomes)]
    assert "finish z" not in steps.events
