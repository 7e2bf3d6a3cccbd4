"""One function over many cases, in worker processes, so that a bad case costs only itself.

Whatever is raised for a case is the outcome of that case (`CaseFault`); what the machine lacks ends the work.

`multiprocessing.Pool` waits for ever when the kernel kills a worker; `ProcessPoolExecutor` reports it, but breaks as a
whole. So only as many tasks as there are workers are handed out at a time: when the pool breaks, those few are tried
again one by one, each alone, and only the one that is killed a second time is lost.

BLAS gets one thread a case: the matrix products of resampling are many and small, and threads that wait for each
other on a busy machine made them ten times slower than one thread was.
"""

import functools
import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from threadpoolctl import threadpool_limits

from nnanomaly.utilities.case_faults import KILLED, CaseFault, case_fault, record
from nnanomaly.utilities.child_processes import ended_with_block, follow_parent, interrupts_held

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
Progress = Callable[[int, int], None]
"""Called with the number of finished cases and the number of all."""


def run_cases(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    *,
    num_processes: int,
    progress: Progress | None = None,
    quote: bool = True,
) -> list[Outcome | CaseFault]:
    """Outcome of every task, in the order of the tasks, or its fault.

    `work` must be a function of a module (workers are spawned); with one process or fewer it runs in this one.
    An exception of `work` is the fault of its task, and so is the end of its process (`KILLED`); what the machine lacks
    is raised, an EnvironmentFault or a lack of memory. Without `quote` nothing of the text of exceptions that are not
    ours is said or kept: it may hold what was read of a patient.
    """
    if num_processes > 1:
        return run_isolated(work, tasks, num_processes=num_processes, progress=progress, quote=quote)
    outcomes: list[Outcome | CaseFault] = []
    for task in tasks:
        outcomes.append(_recorded(_work_on(work, task, quote=quote), task))
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return outcomes


def run_isolated(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    *,
    num_processes: int,
    progress: Progress | None = None,
    quote: bool = True,
) -> list[Outcome | CaseFault]:
    """`run_cases`, but never in this process: for work that may crash, or that sets limits for its own process."""
    outcomes: dict[int, Outcome | CaseFault] = {}

    def finish(index: int, outcome: Outcome | CaseFault) -> None:
        outcomes[index] = _recorded(outcome, tasks[index])
        if progress is not None:
            progress(len(outcomes), len(tasks))

    waiting = deque(range(len(tasks)))
    run = functools.partial(_run_pool, functools.partial(_work_on, work, quote=quote), tasks, finish=finish)
    while waiting:
        suspects = run(waiting, num_processes=max(1, num_processes))
        for index in suspects:
            if run(deque([index]), num_processes=1):
                finish(index, KILLED)
    return [outcomes[index] for index in range(len(tasks))]


def _run_pool(
    work: Callable[[Task], Outcome | CaseFault],
    tasks: Sequence[Task],
    waiting: deque[int],
    *,
    num_processes: int,
    finish: Callable[[int, Outcome | CaseFault], None],
) -> list[int]:
    """Work until nothing waits; if a worker is killed, stop and return the tasks that were handed out then."""
    running: dict[Future[Outcome | CaseFault], int] = {}
    size = min(num_processes, len(waiting))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(size, mp_context=spawn, initializer=follow_parent) as pool:
        try:
            with ended_with_block():
                while waiting or running:
                    while waiting and len(running) < size:
                        with interrupts_held():
                            running[pool.submit(work, tasks[waiting[0]])] = waiting[0]
                        waiting.popleft()
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        outcome = future.result()
                        finish(running.pop(future), outcome)
        except BrokenProcessPool:
            return sorted(running.values())
    return []


def _work_on(work: Callable[[Task], Outcome], task: Task, *, quote: bool) -> Outcome | CaseFault:
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            return work(task)
    except Exception as error:  # noqa: BLE001 (the boundary around one case)
        return case_fault(error, quote=quote)


def _recorded(outcome: Outcome | CaseFault, task: object) -> Outcome | CaseFault:
    """The outcome; the traceback of a fault is kept under the name of its case, if the task tells it."""
    name = getattr(task, "case", task if isinstance(task, str) else "a task")
    if isinstance(outcome, CaseFault):
        record(name, outcome.reason, outcome.traceback)
    return outcome
