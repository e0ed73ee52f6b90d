"""When does Ctrl-C end the grading? Between two steps, so that none is left half done.

Python raises KeyboardInterrupt wherever it happens to be: in the middle of recording somebody's
marks, or in a hook whose errors nobody gets to see (as while a process is copied), and is lost.
"""

import signal
import threading
from types import FrameType


class Interrupts:
    """Keeps Ctrl-C until `obey` is called; pressed once more, it counts at once.

    Used as a context: outside it, Ctrl-C is what it was before. Only the main thread of a program
    is told of Ctrl-C; in any other this changes nothing.
    """

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> "Interrupts":
        self._concerned = threading.current_thread() is threading.main_thread()
        if self._concerned:
            self._before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._concerned:
            signal.signal(signal.SIGINT, self._before)
        if self.pressed and kind is not None and issubclass(kind, Exception):
            raise KeyboardInterrupt  # a helper program was told of Ctrl-C too, and failed of it

    def obey(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed: here nothing is half done."""
        if self.pressed:
            raise KeyboardInterrupt

    def _press(self, _number: int, _frame: FrameType | None) -> None:
        self.obey()
        self.pressed = True
