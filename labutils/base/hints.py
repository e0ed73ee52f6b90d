"""In a notebook, say what a NameError usually means there: a cell above was not run.

IPython loads this file by itself too (see etc/ipython_config.py), so that the hint is there
before labutils is imported: it must import nothing that takes time.
"""

import sys
from typing import Any


def explain_missing_names() -> None:
    """Add a hint to every NameError of the running notebook; elsewhere do nothing."""
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None:
            load_ipython_extension(shell)


def load_ipython_extension(shell: Any) -> None:
    """Have IPython call `explain` after each cell; asked for twice, it still calls once."""
    shell.events.register("post_run_cell", explain)


def explain(result: Any) -> None:
    """Print one sentence after a cell that ended with a NameError."""
    if type(result.error_in_exec) is NameError:  # one of its kind is an UnboundLocalError
        print(
            "Hint: if a cell above makes this name, that cell has not been run yet: choose "
            "Run > Run All Above Selected Cell, then run this one again."
        )
