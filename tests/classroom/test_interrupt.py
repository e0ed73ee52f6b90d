"""Ctrl-C while grading waits for the end of a step; a second one does not."""

import os
import signal
from collections.abc import Iterator

import pytest

from classroom.interrupt import interrupts_kept


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def grading(*, pressing: tuple[int, ...], obeying: bool) -> Iterator[str]:
    """Go through three steps of two halves each; press Ctrl-C in the middle of some."""
    with interrupts_kept() as obey:
        for step in range(3):
            if obeying:
                obey()
            yield f"begin {step}"
            if step in pressing:
                press()
            yield f"end {step}"


def until_stopped(steps: Iterator[str]) -> list[str]:
    done = []
    with pytest.raises(KeyboardInterrupt):
        done.extend(steps)
    return done


def test_it_waits_until_it_is_obeyed_and_the_second_one_does_not() -> None:
    steps = until_stopped(grading(pressing=(1,), obeying=True))
    assert steps == ["begin 0", "end 0", "begin 1", "end 1"]
    steps = until_stopped(grading(pressing=(0, 1), obeying=False))
    assert steps == ["begin 0", "end 0", "begin 1"]


def failing(*, pressed: bool) -> None:
    with interrupts_kept():
        if pressed:
            press()
        raise RuntimeError("a helper program was stopped")


def test_what_fails_of_it_is_the_interrupt() -> None:
    with pytest.raises(KeyboardInterrupt):
        failing(pressed=True)
    with pytest.raises(RuntimeError, match="a helper program was stopped"):
        failing(pressed=False)


def test_outside_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_kept() as obey:
        obey()
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
    with pytest.raises(KeyboardInterrupt):
        press()
