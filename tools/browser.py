"""A real JupyterLab in a real browser, to look at the lessons as a student does."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from playwright.sync_api import Browser, Error, Page, sync_playwright

PROJECT = Path(__file__).resolve().parents[1]

# The first for containers; the others keep Chromium from calling home.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOW_TO_GET_ONE = (
    "no browser: `apt install chromium` or `.venv/bin/playwright install chromium` gets one"
)


class NoBrowserError(RuntimeError):
    """There is no browser on this machine; the message says how to get one."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Start Debian's Chromium or Playwright's own.

    Raises
    ------
    NoBrowserError
        There is neither.
    """
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        except Error as error:
            if found is None:
                raise NoBrowserError(HOW_TO_GET_ONE) from error
            raise RuntimeError(f"{found} does not start") from error
        yield browser
        browser.close()


def lessons(folder: Path) -> None:
    """Copy the notebooks, since JupyterLab saves what it runs."""
    hidden = shutil.ignore_patterns(".*")
    shutil.copytree(PROJECT / "notebooks", folder / "notebooks", ignore=hidden)
    (folder / "models").mkdir()


@contextlib.contextmanager
def server(fill: Callable[[Path], None] = lessons) -> Iterator[str]:
    """Serve a new folder; yield the address of JupyterLab, token included.

    Parameters
    ----------
    fill : puts into the folder what is to be served; the project's data and networks are used
    """
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder))
        settings = Path(folder) / "@jupyterlab" / "apputils-extension"
        settings.mkdir(parents=True)  # no question about news over the lesson
        (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
        environment = {**os.environ, "JUPYTER_CONFIG_DIR": folder, "IPYTHONDIR": folder}
        command = [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"),
            *("--ServerApp.root_dir=" + folder, "--LabApp.expose_app_in_browser=True"),
            *("--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",),
            *("--LabApp.workspaces_dir=" + folder, "--LabApp.user_settings_dir=" + folder),
        ]
        log = Path(folder) / "log.txt"
        with log.open("w") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, cwd=folder
            )
        try:
            yield _address(process, log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen) -> None:
    """Ask the server to stop; on a busy machine its kernels may take too long to say goodbye."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()  # the kernels end by themselves when their server is gone
        process.wait()


def _address(process: subprocess.Popen, log: Path) -> str:
    """Wait until the server says where it is and answers there."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", log.read_text())
        if found:
            with contextlib.suppress(OSError), urllib.request.urlopen(found[0], timeout=30):
                return found[0]
        time.sleep(0.2)
    raise RuntimeError("JupyterLab did not start:\n" + log.read_text())


# Cells are drawn only near the window, so the notebook's model is asked, not the page.
PANEL = "window.jupyterapp.shell.currentWidget"
CODE_CELLS = f"{PANEL}.content.model.sharedModel.cells.filter(cell => cell.cell_type === 'code')"
ERRORS = f"{CODE_CELLS}.flatMap(cell => cell.outputs).filter(o => o.output_type === 'error')"


def jupyterlab(browser: Browser, address: str) -> Page:
    """Open JupyterLab, without what was open in it before."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(90_000)  # of waiting for a condition: a busy machine is slow
    page.goto(address.replace("/lab?", "/lab/tree/notebooks?reset&"))
    page.wait_for_function("window.jupyterapp?.restored.then(() => true)")
    return page


def open_lesson(page: Page, lesson: str) -> None:
    """Open a lesson in place of the one before, and wait until its kernel is ready."""
    page.evaluate(
        """async path => {
            const {commands, serviceManager, shell} = window.jupyterapp;
            const before = [...shell.widgets('main')];
            await serviceManager.sessions.shutdownAll();
            await commands.execute('docmanager:open', {path});
            before.forEach(panel => panel.dispose());
        }""",
        f"notebooks/{lesson}.ipynb",
    )
    page.wait_for_function(
        """() => {
            const panel = window.jupyterapp.shell.currentWidget;
            return panel?.context?.isReady && panel.content.model.cells.length > 1
                && panel.sessionContext.session?.kernel?.status === 'idle';
        }"""
    )


def run_all(page: Page) -> None:
    """Clear all outputs, run every cell, and wait until each one has finished or one failed."""
    page.evaluate("void window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-all-cells')")
    ended = f"{CODE_CELLS}.every(cell => cell.execution_count !== null) || {ERRORS}.length"
    page.wait_for_function(ended, timeout=600_000)


def go_to(page: Page, fragment: str) -> None:
    """Select the first cell whose source holds this, and bring it into the window."""
    page.evaluate(
        f"""fragment => {{
            const notebook = {PANEL}.content, cells = notebook.model.sharedModel.cells;
            notebook.deselectAll();
            notebook.activeCellIndex = cells.findIndex(cell => cell.source.includes(fragment));
            return notebook.scrollToItem(notebook.activeCellIndex, 'center');
        }}""",
        fragment,
    )


def run_only(page: Page, *fragments: str) -> None:
    """Clear all outputs, then run only the cells whose source holds these, one after another."""
    page.evaluate("void window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    for fragment in fragments:
        run_cell(page, fragment)


def run_cell(page: Page, fragment: str) -> None:
    """Run the first code cell whose source holds this, once more if it has been run."""
    go_to(page, fragment)
    page.evaluate("void window.jupyterapp.commands.execute('notebook:run-cell')")
    found = f"{CODE_CELLS}.find(cell => cell.source.includes(fragment))"
    page.wait_for_function(f"fragment => {found}.execution_count !== null", arg=fragment)


def errors_shown(page: Page) -> list[str]:
    """Return every error among the outputs of the open lesson."""
    return page.evaluate(f"{ERRORS}.map(o => o.ename + ': ' + o.evalue)")
