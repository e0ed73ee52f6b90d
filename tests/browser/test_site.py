"""The course as a site, in a real browser with the network cut: every page, every link."""

import contextlib
import re
import subprocess
import sys
from urllib.parse import unquote, urldefrag, urljoin

import nbformat
import pytest
import website
from axe_playwright_python.sync_playwright import Axe
from conftest import PROJECT
from lessons import lessons
from pages import Page, served

from classroom.assignment import SOURCE
from classroom.handout import leaks

OPTIONS = {"resultTypes": ["violations"], "preload": False}  # loads no style sheet again
GRAVE = ("serious", "critical")
PROGRAMS = ("labutils/prune/filters.py.html", "labutils/device/c/network.c.html")  # for all
COLOURS = ("notebooks/02_magnitude_pruning.html", *PROGRAMS)  # of code, for all; it takes long
DARK = {f"notebooks/{name}.html" for name in ("02_magnitude_pruning", "04_comparison")}
DARK |= {"index.html", *PROGRAMS}

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site():
    subprocess.run([sys.executable, PROJECT / "tools" / "website.py"], check=True)
    return website.SITE


@pytest.fixture(scope="module")
def files(site):
    names = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    return {name: path for name, path in names.items() if not name.startswith("_static/")}


@pytest.fixture(scope="module")
def address(site):
    with served(site) as found:
        yield found


def test_every_lesson_and_text_is_a_page(files):
    texts = [name for name in files if not name.startswith(("labutils/", "benchmarks/"))]
    expected = {f"notebooks/{path.stem}.html" for path in lessons([])}
    expected |= {"index.html", "api.html", "notebooks/assignment/tasks.html", "pruning-lab.html"}
    assert expected <= set(texts)
    for name in files:
        text = files[name].read_text(encoding="utf-8")
        if name not in ("pruning-lab.html", "search.html"):
            for other in expected - {name, "pruning-lab.html"}:
                assert f"{other.rpartition('/')[2]}" in text, f"{name} has no link to {other}"


def test_no_link_is_broken_and_nothing_is_loaded_from_elsewhere(files, site):
    places = {name: set(re.findall(r'\bid="([^"]+)"', files[name].read_text())) for name in files}
    checked = 0
    for name, path in files.items():
        for link in Page(path.read_text(encoding="utf-8")).addresses:
            target, anchor = urldefrag(urljoin(f"/{name}", unquote(link)))
            if re.match(r"(https?:|mailto:|data:)", link) or link == "#":
                continue
            checked += 1
            target = target.partition("?")[0].lstrip("/")
            assert (site / target).is_file(), f"{name} links to {link}"
            if anchor and target in places and target != "pruning-lab.html":
                assert anchor in places[target], f"{name} links to {link}"
    assert checked > 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_by_all_and_asks_nobody_else(files, address, browser, scheme):
    context = browser.new_context(
        color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1300, "height": 900}
    )
    context.set_default_timeout(90_000)  # on a busy machine explorers count for long
    page = context.new_page()
    outside, missing, errors, inside = [], [], [], ("data:", "blob:", address)
    page.on("request", lambda r: r.url.startswith(inside) or outside.append(r.url))
    page.on("response", lambda r: r.status >= 400 and missing.append(r.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name in sorted(files):
        if name.startswith(("labutils/", "benchmarks/")) and name not in PROGRAMS:
            continue
        if scheme == "dark" and name not in DARK:
            continue
        page.goto(address + name)
        for explorer in page.locator("[data-explorer]").all():
            explorer.scroll_into_view_if_needed()
            explorer.and_(page.locator("[aria-busy=false]")).wait_for()  # until then it is pale
        checked = None if name in COLOURS else {"exclude": [[".highlight"]]}
        found = Axe().run(page, checked, OPTIONS).response["violations"]
        grave = [(v["id"], v["nodes"][0]["html"]) for v in found if v["impact"] in GRAVE]
        assert grave == [], name
    context.close()
    assert (outside, missing, errors) == ([], [], [])


def test_search_and_explorer_work_and_a_page_can_be_opened_as_a_file(site, browser, address):
    context = browser.new_context()
    context.set_default_timeout(90_000)
    page = context.new_page()
    page.goto(f"{address}search.html?q=momentum")
    page.locator("#search-results").get_by_role("link", name="05 Recovery").wait_for()
    page.goto((site / "notebooks" / "00_start_here.html").as_uri())
    page.locator("[data-explorer]").first.scroll_into_view_if_needed()
    slider = page.locator("[data-explorer] input[type=range]").first
    slider.focus()
    before = page.locator(".big b").first.inner_text()
    slider.press("End")
    page.wait_for_function(f"document.querySelector('.big b').innerText != {before!r}")
    context.close()


def test_nothing_on_the_site_gives_a_solution_away(site):
    secrets = leaks.secrets(nbformat.read(SOURCE, as_version=4))
    texts = [path for path in site.rglob("*") if path.suffix in (".html", ".md", ".ipynb", ".txt")]
    tasks = [path for path in texts if "tasks" in path.name]
    assert len(tasks) >= 2
    leaks.refuse({path.name: path.read_bytes() for path in tasks}, secrets)
    assert not [path for path in site.rglob("*") if "lab2_pruning" in path.name]


@pytest.mark.parametrize("path", lessons([]), ids=lambda path: path.stem[:2])
def test_a_clean_copy_has_all_but_the_code(path, site):
    whole = nbformat.read(path, as_version=4)
    clean = nbformat.read(site / "clean" / path.name, as_version=4)
    nbformat.validate(clean)
    assert [cell.id for cell in clean.cells] == [cell.id for cell in whole.cells]
    for cell, original in zip(clean.cells, whole.cells, strict=True):
        if cell.cell_type == "markdown":
            assert cell.source == original.source
        else:
            assert cell.outputs == []
            for line in cell.source.splitlines():
                assert line in original.source
    sources = {cell.id: cell.source for cell in whole.cells}
    filled = [sources[cell.id] for cell in clean.cells]
    assert filled == [cell.source for cell in whole.cells], "filled, it is the lesson, which runs"
    code = "\n".join(cell.source for cell in clean.cells if cell.cell_type == "code")
    assert "import labutils as lab" in code
    assert "def " not in code
    with contextlib.redirect_stdout(None):
        exec(code, {})  # what is left runs by itself
