"""The lessons as pages, on the screen and on paper, of whoever exports them."""

import lessons
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import PROJECT

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("[0-9]*.ipynb"))
PAPER = {"width": 720, "height": 1000}  # A4 at 96 dots an inch, less the margins
CUT_OFF = """[...document.querySelectorAll(".jp-Notebook :is(pre, table, img)")]
    .filter(node => node.getBoundingClientRect().right > innerWidth + 1
        || node.scrollWidth > node.clientWidth + 1 && node.tagName === 'PRE')
    .map(node => node.textContent.trim().slice(0, 60) || node.alt)"""


@pytest.fixture(scope="module")
def tab(browser):
    page = browser.new_page(viewport=PAPER)
    page.route("**/*", lambda route: route.abort())  # what the page needs is in it
    return page


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exported_page_can_be_read_by_all_and_printed(tab, path):
    page = lessons.exported(nbformat.read(path, as_version=4), path.stem)
    assert lessons.QUIET[2:] not in page  # folded code stays out
    tab.set_content(page)
    if path.stem.startswith("00"):  # its explorers live, without a kernel
        explorer = tab.locator("[data-explorer]").first
        explorer.scroll_into_view_if_needed()
        tab.locator(".lab[aria-busy=false] .basis", has_text="all 10,000 images").first.wait_for()
    found = Axe().run(tab).response["violations"]
    assert [(v["id"], [node["html"] for node in v["nodes"]]) for v in found] == []
    tab.emulate_media(media="print")
    tab.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert tab.locator("details").count() >= 3
    assert tab.locator("details:not([open])").count() == 0
    assert tab.evaluate(CUT_OFF) == []
    tab.emulate_media(media="screen")
