"""Ctrl-C while grading waits for the end of a step; a second one does not."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from classroom.interrupt import Interrupts


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def grading(*, pressing: tuple[int, ...], obeying: bool) -> Iterator[str]:
    """Go through three steps of two halves each; press Ctrl-C in the middle of some."""
    with Interrupts() as interrupts:
        for step in range(3):
            if obeying:
                interrupts.obey()
            yield f"begin {step}"
            if step in pressing:
                press()
            yield f"end {step}"


def until_stopped(steps: Iterator[str]) -> list[str]:
    done = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(steps)
    return done


def failing(error: Exception, *, pressed: bool) -> None:
    with Interrupts():
        if pressed:
            press()
        raise error


def test_it_waits_until_it_is_obeyed() -> None:
    steps = until_stopped(grading(pressing=(1,), obeying=True))
    assert steps == ["begin 0", "end 0", "begin 1", "end 1"]


def test_the_second_one_counts_at_once() -> None:
    steps = until_stopped(grading(pressing=(0, 1), obeying=False))
    assert steps == ["begin 0", "end 0", "begin 1"]


def test_what_fails_of_it_is_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        failing(RuntimeError("a helper program was stopped"), pressed=True)
    with pytest.raises(RuntimeError, match="by itself"):
        failing(RuntimeError("by itself"), pressed=False)


def test_outside_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
    with pytest.raises(KeyboardInterrupt):
        press()


def test_another_thread_than_the_main_one_changes_nothing() -> None:
    before, inside = signal.getsignal(signal.SIGINT), []

    def in_a_thread() -> None:
        with Interrupts() as interrupts:
            interrupts.obey()
            inside.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert inside == [before]
