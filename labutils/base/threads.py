"""How long does a thread that waits for work keep its processor busy?

PyTorch shares its work among threads that wait for the next share by spinning. That suits a
machine that does nothing else; beside other work, each spins away the time that another needs.
Spinning for about as long as PyTorch pauses between two operations costs an idle machine little
and a busy one little: `benchmarks/waiting.py` measures both.
"""

import os
import sys

# Each OpenMP library reads its own variable: GNU's comes with PyTorch for Linux, LLVM's and
# Intel's with macOS, Windows and conda.
WAITING = {
    "GOMP_SPINCOUNT": "10000",  # rounds, where 300,000 are usual
    "KMP_BLOCKTIME": "1",  # milliseconds, where 200 are usual
}


def spin_less() -> None:
    """Let waiting threads sleep soon, unless the environment says how they should wait.

    It must come before PyTorch is loaded; later it does nothing.
    """
    if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
        for name, value in WAITING.items():
            os.environ.setdefault(name, value)
