"""In a notebook: say what a NameError usually means there, and show tables that can be read aloud.

IPython loads this file by itself too (see etc/ipython_config.py), so that the hint is there
before labutils is imported: it must import nothing that takes time.
"""

import re
import sys
from typing import Any

TABLES = (("pandas", "DataFrame"), ("pandas.core.frame", "DataFrame"))
TABLES += (("pandas.io.formats.style", "Styler"),)


def prepare_notebook() -> None:
    """Have the running notebook do both; elsewhere do nothing."""
    if "IPython" in sys.modules:
        shell = sys.modules["IPython"].get_ipython()
        if shell is not None:
            load_ipython_extension(shell)


def load_ipython_extension(shell: Any) -> None:
    """Have IPython call `explain` after each cell, and `table` for pandas; twice is as once."""
    shell.events.register("post_run_cell", explain)
    for module, name in TABLES:
        shell.display_formatter.formatters["text/html"].for_type_by_name(module, name, table)


def explain(result: Any) -> None:
    """Print one sentence after a cell that ended with a NameError."""
    if type(result.error_in_exec) is NameError:  # one of its kind is an UnboundLocalError
        print(
            "Hint: if a cell above makes this name, that cell has not been run yet: choose "
            "Run > Run All Above Selected Cell, then run this one again."
        )


def table(frame: Any) -> str | None:
    """Return a table of pandas without headers that say nothing; None where pandas gives none."""
    html = frame._repr_html_()
    return html and re.sub(r"<th\b[^>]*>(\s|&nbsp;)*</th>", "<td></td>", html)
