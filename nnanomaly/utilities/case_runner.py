"""One function over many cases, in worker processes, so that a bad case costs only itself.

`multiprocessing.Pool` waits for ever when the kernel kills a worker; `ProcessPoolExecutor` reports it, but breaks as a
whole. So only as many tasks as there are workers are handed out at a time: when the pool breaks, those few are tried
again one by one, each alone, and only the one that is killed a second time is lost.

BLAS gets one thread a case: the matrix products of resampling are many and small, and threads that wait for each
other on a busy machine made them ten times slower than one thread was.
"""

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")
Progress = Callable[[int, int], None]
"""Called with the number of finished cases and the number of all."""


def run_cases(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], *, num_processes: int, progress: Progress | None = None
) -> list[Outcome | None]:
    """Outcome of every task, in the order of the tasks; None where the worker process was killed.

    `work` must be a function of a module (workers are spawned); with one process or fewer it runs in this one.
    Exceptions of `work` are not caught: it reports the faults of its case in its outcome.
    """
    if num_processes > 1:
        return run_isolated(work, tasks, num_processes=num_processes, progress=progress)
    outcomes: list[Outcome | None] = []
    for task in tasks:
        outcomes.append(_with_one_thread(work, task))
        if progress is not None:
            progress(len(outcomes), len(tasks))
    return outcomes


def run_isolated(
    work: Callable[[Task], Outcome], tasks: Sequence[Task], *, num_processes: int, progress: Progress | None = None
) -> list[Outcome | None]:
    """`run_cases`, but never in this process: for work that may crash, or that sets limits for its own process."""
    outcomes: dict[int, Outcome | None] = {}

    def finish(index: int, outcome: Outcome | None) -> None:
        outcomes[index] = outcome
        if progress is not None:
            progress(len(outcomes), len(tasks))

    waiting = deque(range(len(tasks)))
    while waiting:
        suspects = _run_pool(work, tasks, waiting, num_processes=max(1, num_processes), finish=finish)
        for index in suspects:
            if _run_pool(work, tasks, deque([index]), num_processes=1, finish=finish):
                finish(index, None)
    return [outcomes[index] for index in range(len(tasks))]


def _run_pool(
    work: Callable[[Task], Outcome],
    tasks: Sequence[Task],
    waiting: deque[int],
    *,
    num_processes: int,
    finish: Callable[[int, Outcome], None],
) -> list[int]:
    """Work until nothing waits; if a worker is killed, stop and return the tasks that were handed out then."""
    running: dict[Future[Outcome], int] = {}
    size = min(num_processes, len(waiting))
    with ProcessPoolExecutor(size, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            while waiting or running:
                while waiting and len(running) < size:
                    running[pool.submit(_with_one_thread, work, tasks[waiting[0]])] = waiting[0]
                    waiting.popleft()
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    outcome = future.result()
                    finish(running.pop(future), outcome)
        except BrokenProcessPool:
            return sorted(running.values())
    return []


def _with_one_thread(work: Callable[[Task], Outcome], task: Task) -> Outcome:
    with threadpool_limits(limits=1, user_api="blas"):
        return work(task)
