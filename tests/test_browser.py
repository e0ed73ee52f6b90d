"""The lessons as a student meets them: a real JupyterLab, a real browser, a real kernel."""

import os
from pathlib import Path

import pytest
from conftest import PROJECT
from jupyterlab import chromium, errors_shown, open_lesson, run_all, server

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

# `make pictures` keeps the screenshots the README shows.
SCREENSHOTS = Path(os.environ.get("SCREENSHOTS", PROJECT / "build" / "screenshots"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(browser):  # after the browser: without one, no server is needed
    with server() as address:
        yield address


def screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_start_here(browser, address):
    page = open_lesson(browser, address, "00_start_here")
    run_all(page)
    assert errors_shown(page) == []
    rows = page.locator(".jp-RenderedHTML tr", has_text="✓ ok")
    assert rows.count() > 10
    assert page.get_by_text("✗ fix").count() == 0
    picture = page.get_by_role("img", name="Twenty handwritten digits")
    picture.scroll_into_view_if_needed()
    assert picture.bounding_box()["width"] > 300
    diagram = page.get_by_role("img", name="The network from image to ten outputs")
    diagram.scroll_into_view_if_needed()
    screenshot(page, "start_here")


def test_a_cell_run_too_early_says_so(browser, address):
    page = open_lesson(browser, address, "00_start_here")
    early = page.locator(".jp-CodeCell", has_text="digits = lab.load_mnist()").first
    early.scroll_into_view_if_needed()
    page.evaluate("void window.jupyterapp.commands.execute('notebook:restart-kernel')")
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    run_cell(page, early, "import labutils as lab\nmodel = network")
    page.get_by_text("Run All Above Selected Cell").first.wait_for()


def run_cell(page, cell, source):
    """Replace what stands in a cell, then run it."""
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")
