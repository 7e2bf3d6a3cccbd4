"""Three steps for every case, where the first of the next case and the last of the one before run in the background.

The middle step is the one that needs the device; it runs in the calling thread, in the order of the cases. The others
read, resample, compress and write, and let other threads run meanwhile. Which threads there are changes no result.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from threadpoolctl import threadpool_limits

Task = TypeVar("Task")
Prepared = TypeVar("Prepared")
Computed = TypeVar("Computed")
Outcome = TypeVar("Outcome")
Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def pipeline(
    tasks: Sequence[Task],
    *,
    prepare: Callable[[Task], Prepared],
    compute: Callable[[Prepared], Computed],
    finish: Callable[[Computed], Outcome],
    num_preparing: int,
    num_finishing: int,
) -> Iterator[Outcome]:
    """`finish(compute(prepare(task)))` of every task, in the order of the tasks.

    While a task is computed, up to `num_preparing` later ones are prepared and up to `num_finishing` earlier ones are
    finished, each in a thread of its own; with 0 in the calling thread, one after the other. That many more cases are
    held in memory. An exception ends the work at its task, after those that were computed before are finished.
    """
    waiting, remaining = deque[Future[Prepared]](), deque(tasks)
    finishing = deque[Future[Outcome]]()
    preparer, finisher = _executor(num_preparing), _executor(num_finishing)

    def look_ahead(number: int) -> None:
        while remaining and len(waiting) < number:
            waiting.append(preparer.submit(prepare, remaining.popleft()))

    try:
        for _ in tasks:
            look_ahead(1)
            prepared = waiting.popleft().result()
            look_ahead(num_preparing)
            finishing.append(finisher.submit(finish, compute(prepared)))
            del prepared  # or it would be held beside the next one
            while len(finishing) > num_finishing:
                yield finishing.popleft().result()
        while finishing:
            yield finishing.popleft().result()
    finally:
        preparer.shutdown(cancel_futures=True)
        finisher.shutdown()


class _CallingThread(Executor):
    """Does at once what is submitted."""

    def submit(
        self, fn: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> "Future[Result]":
        future: Future[Result] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def _executor(num_threads: int) -> Executor:
    if num_threads == 0:
        return _CallingThread()
    return ThreadPoolExecutor(num_threads, initializer=_use_one_blas_thread)


def _use_one_blas_thread() -> None:
    threadpool_limits(limits=1, user_api="blas")  # some libraries count their threads per thread that calls them
