"""When does Ctrl-C end the grading? Between two steps, so that none is left half done.

Python raises KeyboardInterrupt wherever it happens to be: in the middle of recording somebody's
marks, or in a hook whose errors nobody gets to see (as while a process is copied), and is lost.
"""

import contextlib
import signal
from collections.abc import Callable, Iterator
from types import FrameType


@contextlib.contextmanager
def interrupts_kept() -> Iterator[Callable[[], None]]:
    """Keep Ctrl-C until the function that this gives is called, where nothing is half done.

    Pressed once more, it counts at once.
    """
    pressed = False

    def obey() -> None:
        if pressed:
            raise KeyboardInterrupt

    def press(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        obey()
        pressed = True

    before = signal.signal(signal.SIGINT, press)
    try:
        yield obey
    except Exception:
        obey()  # a helper program was told of Ctrl-C too, and failed of it
        raise
    finally:
        signal.signal(signal.SIGINT, before)
