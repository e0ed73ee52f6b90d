"""Run many independent tasks, here or elsewhere, each until it has a result."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing import get_context
from typing import TypeVar

Task, Result = TypeVar("Task"), TypeVar("Result")
ATTEMPTS = 3  # for a task whose process dies: once in company, then alone
AHEAD = 2  # tasks waiting for each process, so that none is idle
CLUSTER_AHEAD = 200  # the same where the number of workers is not known


def run_tasks(
    work: Callable[[Task], Result], tasks: Sequence[Task], executor: Executor | int | None = None
) -> Iterator[tuple[int, Result | Exception]]:
    """Work on tasks; yield the place of each with its result, or its error, as they end.

    Parameters
    ----------
    executor : None for this process; a number of processes of our own; or anything with the
        interface of `concurrent.futures.Executor`, such as a Dask client's. Where a process
        pool breaks, since a worker was killed, its unfinished tasks go to a pool of our own.
    """
    if executor is None:
        yield from ((place, _outcome(work, task)) for place, task in enumerate(tasks))
        return
    pools = _Pools(executor)
    try:
        yield from _run_in(pools, work, tasks)
    finally:
        pools.close()


def _outcome(work: Callable[[Task], Result], task: Task) -> Result | Exception:
    try:
        return work(task)
    except Exception as error:
        return error


def _run_in(
    pools: "_Pools", work: Callable[[Task], Result], tasks: Sequence[Task]
) -> Iterator[tuple[int, Result | Exception]]:
    waiting, suspects, deaths = deque(range(len(tasks))), deque(), Counter()
    while waiting or suspects or pools.running:
        # Of the tasks that were under way when a process died, one is to blame: each is tried
        # again alone, so that it takes no other along.
        queue = suspects or waiting
        while queue and pools.has_room(alone=bool(suspects)):
            if not pools.submit(queue[0], work, tasks[queue[0]]):
                break
            queue.popleft()
            if queue is suspects:
                break
        for place, future in pools.finished():
            error = future.exception()
            if isinstance(error, BrokenExecutor):
                deaths[place] += 1
                if deaths[place] < ATTEMPTS:
                    suspects.append(place)
                    continue
                error = RuntimeError(
                    f"the process that ran it died {ATTEMPTS} times (killed, or out of memory)"
                )
            yield place, error if error is not None else future.result()


class _Pools:
    """The executor in use, and its successor when it breaks."""

    def __init__(self, executor: Executor | int) -> None:
        self.own: ProcessPoolExecutor | None = None
        self.running: dict[Future, int] = {}
        if isinstance(executor, Executor):
            self.pool = executor
            self.workers = getattr(executor, "_max_workers", None)
        else:
            self.workers = executor
            self._renew()

    def has_room(self, alone: bool) -> bool:
        if alone:
            return not self.running
        return len(self.running) < (AHEAD * self.workers if self.workers else CLUSTER_AHEAD)

    def submit(self, place: int, work: Callable, task: object) -> bool:
        """Hand a task over; return False if the pool is broken and has nothing under way."""
        try:
            self.running[self.pool.submit(work, task)] = place
        except BrokenExecutor:
            if not self.running:
                self._renew()
            return False
        return True

    def finished(self) -> list[tuple[int, Future]]:
        """Wait for something to end; return it. What a broken pool held has all ended."""
        if not self.running:
            return []
        done, _ = wait(self.running, return_when=FIRST_COMPLETED)
        if any(isinstance(future.exception(), BrokenExecutor) for future in done):
            done, _ = wait(self.running)
            self._renew()
        return [(self.running.pop(future), future) for future in done]

    def close(self) -> None:
        for future in self.running:
            future.cancel()
        if self.own is not None:
            self.own.shutdown(cancel_futures=True)

    def _renew(self) -> None:
        if self.own is not None:
            self.own.shutdown(wait=False, cancel_futures=True)
        # Not forked: a process forked from one that has computed on threads may hang.
        self.pool = self.own = ProcessPoolExecutor(self.workers or 1, get_context("spawn"))
