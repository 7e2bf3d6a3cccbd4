import errno
import logging
from pathlib import Path

import numpy as np  # noqa: F401 (loads the BLAS)
import pytest
from threadpoolctl import threadpool_info

from nnanomaly.utilities.case_faults import KILLED, CaseFault
from nnanomaly.utilities.case_runner import run_cases
from nnanomaly.utilities.errors import DataError, EnvironmentFault

DIES = "__import__('os')._exit(9)"


def test_outcomes_come_in_the_order_of_the_tasks_in_this_process():
    calls = []
    assert run_cases(lambda task: task * 2, [3, 1, 2], num_processes=1, progress=lambda *n: calls.append(n)) == [
        6,
        2,
        4,
    ]
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_no_tasks_need_no_process():
    assert run_cases(eval, [], num_processes=4) == []


def test_a_killed_worker_costs_only_its_own_case():
    calls = []
    tasks = ["1 + 1", DIES, "2 + 2", "3 + 3"]
    outcomes = run_cases(eval, tasks, num_processes=2, progress=lambda *n: calls.append(n))
    assert outcomes == [2, KILLED, 4, 6]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_blas_works_with_one_thread_and_is_set_back():
    def threads(_):
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads(None)
    assert before
    assert run_cases(threads, [0], num_processes=1) == [[1] * len(before)]
    assert threads(None) == before


def raise_it(error: Exception | int) -> int:
    if isinstance(error, Exception):
        raise error
    return error


@pytest.mark.parametrize("num_processes", [1, 2])
def test_any_exception_is_the_fault_of_its_case_alone(
    num_processes: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    tasks = [1, ZeroDivisionError("division by zero"), DataError("JSON", "bad file"), OSError(errno.EIO, "?", "/f"), 2]
    with caplog.at_level(logging.DEBUG, "nnanomaly"):
        outcomes = run_cases(raise_it, tasks, num_processes=num_processes)
    faults = [outcome for outcome in outcomes if isinstance(outcome, CaseFault)]
    assert [outcome for outcome in outcomes if outcome not in faults] == [1, 2]
    assert [fault.error.code for fault in faults] == ["INTERNAL", "JSON", "IO-DEVICE"]
    assert faults[0].reason.startswith("[NNA-INTERNAL] ZeroDivisionError: division by zero (utilities/case_runner.py:")
    assert [bool(fault.traceback) for fault in faults] == [True, False, False]
    assert caplog.text.count("in raise_it") == 1
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    path = line.partition("The traceback is in ")[2].partition(";")[0]
    assert "ZeroDivisionError: division by zero" in Path(path).read_text()


@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/full"), EnvironmentFault),
        (EnvironmentFault("IO-WRITE", "full"), EnvironmentFault),
        (OSError(errno.EMFILE, "Too many open files"), EnvironmentFault),
        (MemoryError("no memory"), MemoryError),
    ],
    ids=["disk", "fault", "files", "memory"],
)
def test_what_the_machine_lacks_ends_the_work(num_processes: int, error: Exception, raised: type[Exception]) -> None:
    with pytest.raises(raised):
        run_cases(raise_it, [1, error, 2], num_processes=num_processes)


def test_without_quote_nothing_that_was_read_is_kept() -> None:
    (fault,) = run_cases(raise_it, [ValueError("Doe^Jane")], num_processes=1, quote=False)
    assert isinstance(fault, CaseFault)
    assert "Doe" not in fault.reason + fault.traceback
    (fault,) = run_cases(raise_it, [OSError(errno.EIO, "?", "/Doe^Jane")], num_processes=1, quote=False)
    assert isinstance(fault, CaseFault)
    assert "Doe" not in fault.reason
