import os
import signal
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import pytest

from labutils.study.sweep import AHEAD, ATTEMPTS, run_tasks


def square(number):
    if number == 3:
        raise ValueError("not 3")
    return number * number


def die(number):
    if number in (2, 4):
        time.sleep(0.2)  # others are under way
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def pool(processes):
    return ProcessPoolExecutor(processes, get_context("spawn"))


def results(executor, count=8):
    found = dict(run_tasks(square, list(range(count)), executor))
    error = found.pop(3)
    assert isinstance(error, ValueError)
    assert str(error) == "not 3"
    return found


def test_same_results_everywhere():
    expected = {n: n * n for n in range(8) if n != 3}
    assert results(None) == expected
    assert results(2) == expected
    with ThreadPoolExecutor(3) as threads:
        assert results(threads) == expected
    with pool(2) as processes:
        assert results(processes) == expected
        assert processes.submit(square, 5).result() == 25  # left open for its owner


@pytest.mark.parametrize("executor", [2, "foreign"])
def test_a_task_that_kills_its_process_harms_no_other(executor):
    foreign = pool(2) if executor == "foreign" else None
    found = dict(run_tasks(die, list(range(6)), foreign or executor))
    if foreign:
        foreign.shutdown()
    for killer in (2, 4):
        error = found.pop(killer)
        assert isinstance(error, RuntimeError)
        assert f"died {ATTEMPTS} times" in str(error)
    assert found == {0: 0, 1: 1, 3: 3, 5: 5}


class Recording(Executor):
    """Runs a task when it is submitted; notes how many are handed over before one is taken."""

    def __init__(self):
        self.submitted = 0

    def submit(self, work, task):
        self.submitted += 1
        future = Future()
        future.set_result(work(task))
        return future


def test_a_cluster_is_not_flooded():
    executor = Recording()
    tasks = run_tasks(str, list(range(1000)), executor)
    next(tasks)
    assert 1 < executor.submitted <= 200
    assert len(list(tasks)) == 999


def leave_a_trace(path):
    path.touch()
    time.sleep(0.1)
    return path.name


def test_stopping_half_way_starts_no_more(tmp_path):
    traces = [tmp_path / str(number) for number in range(40)]
    tasks = run_tasks(leave_a_trace, traces, 1)
    place, name = next(tasks)  # of those that have ended any may come first
    assert name == str(place)
    tasks.close()
    # One under way, those that a pool has handed to its process already, and none beyond.
    assert 1 <= sum(path.exists() for path in traces) <= 2 * AHEAD + 2
