import os
import re
import subprocess
import sys

import pandas as pd
import pytest
from conftest import PROJECT
from IPython.core.interactiveshell import InteractiveShell

from labutils.base import hints


@pytest.fixture
def shell(monkeypatch):
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    hints.prepare_notebook()
    return shell


@pytest.mark.parametrize(
    ("cell", "times"),
    [
        ("digits.test", 1),
        ("def f():\n    x += 1\nf()", 0),  # an UnboundLocalError, which no other cell repairs
        ("1 / 0", 0),
        ("1 +", 0),
        ("1", 0),
    ],
)
def test_a_missing_name_gets_one_hint(shell, capsys, cell, times):
    hints.prepare_notebook()  # asked for twice, it prints once
    shell.run_cell(cell)
    assert capsys.readouterr().out.count("Run All Above Selected Cell") == times


def test_tables_have_no_empty_headers(shell):
    frame = pd.DataFrame({"a": [1, 2]}, index=pd.Index(["x", "y"], name="name"))
    for shown in (frame, frame.reset_index(), frame.style):
        data, _ = shell.display_formatter.format(shown)
        assert re.search(r"<th[^>]*>(\s|&nbsp;)*</th>", shown._repr_html_())
        assert not re.search(r"<th[^>]*>(\s|&nbsp;)*</th>", data["text/html"])
        assert re.findall(r"<th[^>]*>([^<]+)</th>", data["text/html"])


def test_handlers_of_others_stay(capsys):
    shell = InteractiveShell()
    shell.set_custom_exc((NameError,), lambda *_, **__: print("mine"))
    hints.load_ipython_extension(shell)
    shell.run_cell("digits")
    assert capsys.readouterr().out.startswith("mine\nHint: if a cell above")


@pytest.mark.slow
def test_the_hint_is_there_before_labutils_is_imported(tmp_path):
    """IPython, configured as in an installed environment, without PyTorch, and once only."""
    code = (
        f"import sys; sys.path.insert(0, {str(PROJECT)!r})\n"
        "from IPython.terminal.ipapp import TerminalIPythonApp\n"
        "app = TerminalIPythonApp.instance()\n"
        f"app.initialize(['--config={PROJECT / 'etc' / 'ipython_config.py'}'])\n"
        "app.shell.run_cell('lab.load_mnist')\n"
        "print('torch' in sys.modules)\n"
        "from labutils.base import hints\n"
        "hints.prepare_notebook()\n"
        "app.shell.run_cell('lab.load_mnist')"
    )
    environment = {**os.environ, "IPYTHONDIR": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    before, _, after = shown.partition("False\n")
    for part in (before, after):
        assert part.count("NameError") >= 1
        assert part.count("Hint: if a cell above makes this name") == 1
