import numpy as np  # noqa: F401 (loads the BLAS)
from threadpoolctl import threadpool_info

from nnanomaly.utilities.case_runner import run_cases

KILLED = "__import__('os')._exit(9)"


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
    tasks = ["1 + 1", KILLED, "2 + 2", "3 + 3"]
    outcomes = run_cases(eval, tasks, num_processes=2, progress=lambda *n: calls.append(n))
    assert outcomes == [2, None, 4, 6]
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_blas_works_with_one_thread_and_is_set_back():
    def threads(_):
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads(None)
    assert before
    assert run_cases(threads, [0], num_processes=1) == [[1] * len(before)]
    assert threads(None) == before
