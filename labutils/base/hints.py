"""In a notebook, say what a NameError usually means there: a cell above was not run."""

from types import TracebackType

from IPython import get_ipython
from IPython.core.interactiveshell import InteractiveShell


def explain_missing_names() -> None:
    """Add a remedy to every NameError of the running notebook; elsewhere do nothing."""
    shell = get_ipython()
    if shell is not None:
        shell.set_custom_exc((NameError,), _explain)


def _explain(
    shell: InteractiveShell,
    kind: type[BaseException],
    error: NameError,
    trace: TracebackType,
    tb_offset: int | None = None,
) -> None:
    """Show the usual traceback, with one sentence more."""
    error.args = (
        f"{error}. If a cell above makes it, that cell has not been run yet: choose "
        "Run > Run All Above Selected Cell, then run this one again.",
    )
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
