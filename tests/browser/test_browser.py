"""The lessons as a student meets them: a real JupyterLab, a real browser, a real kernel."""

import re

import pytest
from browser import errors_shown, open_lesson, run_all, run_only, server
from conftest import PROJECT

import labutils as lab
from labutils import device
from labutils.look.panels import digit_png

pytestmark = pytest.mark.browser

SCREENSHOTS = PROJECT / "build" / "screenshots"  # `make pictures` takes the README's from here


@pytest.fixture(scope="module")
def address(browser):  # after the browser: without one, no server is needed
    with server() as address:
        yield address


@pytest.fixture(scope="module")
def magnitude(browser, address):
    """Lesson 02, run from top to bottom."""
    page = open_lesson(browser, address, "02_magnitude_pruning")
    run_all(page)
    assert errors_shown(page) == []
    return page


def screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.wait_for_timeout(500)
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
    page.close()


def test_a_cell_run_too_early_says_so(browser, address):
    page = open_lesson(browser, address, "00_start_here")
    early = page.locator(".jp-CodeCell", has_text="digits = lab.load_mnist()").first
    early.scroll_into_view_if_needed()
    page.evaluate("void window.jupyterapp.commands.execute('notebook:restart-kernel')")
    page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']")
    run_cell(page, early, "import labutils as lab\nmodel = network")
    page.get_by_text("Run All Above Selected Cell").first.wait_for()
    page.close()


def run_cell(page, cell, source):
    """Replace what stands in a cell, then run it."""
    editor = cell.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")


# JupyterLab may drop cells far from the window from the page; ask it to bring this one back.
SCROLL_TO = """fragment => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    const wanted = cell => cell.source.includes(fragment);
    void notebook.scrollToItem(notebook.model.sharedModel.cells.findIndex(wanted), 'center');
}"""


def first_explorer(page):
    """The first explorer of a lesson, its slider, and what it should show by the functions."""
    page.evaluate(SCROLL_TO, "lab.pruning_explorer(")
    explorer = page.locator(".widget-vbox", has=page.locator(".lab-explorer-page")).first
    handle = explorer.locator(".noUi-handle").first
    handle.evaluate("node => node.scrollIntoView({block: 'center'})")
    return explorer, handle


def wait_for_figures(explorer, model, split, percent):
    """Wait until the page shows what pruning and evaluating give for this slider position."""
    pruned = lab.prune_magnitude(model, percent / 100)
    found = lab.evaluate(pruned, split)
    nonzero = sum(int(parameter.count_nonzero()) for parameter in pruned.parameters())
    texts = {
        "accuracy": f"{found.accuracy:.2%}",
        "sparsity": f"{lab.sparsity(pruned):.1%}",
        "nonzero": f"{nonzero:,}",
    }
    for name, text in texts.items():
        explorer.locator(f"[data-figure={name}]", has_text=text).wait_for(timeout=20_000)
    explorer.get_by_text(f"all {len(split):,} images").wait_for(timeout=20_000)


def test_slider_by_keyboard(magnitude, model, digits):
    explorer, handle = first_explorer(magnitude)
    wait_for_figures(explorer, model, digits.validation, 90)
    before = explorer.locator("svg").first.inner_html()
    handle.focus()
    for _ in range(4):
        magnitude.keyboard.press("ArrowRight")
    wait_for_figures(explorer, model, digits.validation, 94)
    assert explorer.locator("svg").first.inner_html() != before
    assert explorer.locator("[data-flipped='1']").count() > 0
    assert errors_shown(magnitude) == []
    assert explorer.get_by_role("alert").count() == 0


def test_slider_by_mouse(magnitude, model, digits):
    explorer, handle = first_explorer(magnitude)
    box, track = handle.bounding_box(), explorer.locator(".noUi-base").first.bounding_box()
    magnitude.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    magnitude.mouse.down()
    for share in (0.9, 0.6, 0.2, 0.4, 0.7):  # to and fro: only the last position counts
        magnitude.mouse.move(track["x"] + share * track["width"], box["y"] + 5, steps=4)
    magnitude.mouse.up()
    percent = int(explorer.locator(".widget-readout").first.inner_text())
    assert 65 <= percent <= 75
    wait_for_figures(explorer, model, digits.validation, percent)
    assert errors_shown(magnitude) == []
    screenshot(magnitude, "explorer")


def test_scope_and_reset(magnitude, model, digits):
    explorer, _ = first_explorer(magnitude)
    explorer.locator("select").first.select_option("a share of its own for each layer")
    explorer.get_by_text("fc1 (%)").wait_for()
    explorer.get_by_role("button", name="Reset").click()
    wait_for_figures(explorer, model, digits.validation, 0)
    assert not explorer.get_by_text("fc1 (%)").is_visible()


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)" (WCAG 2)."""
    values = [int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_readable_in_the_dark_theme(magnitude):
    change = "theme => void window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    magnitude.evaluate(change, "JupyterLab Dark")
    magnitude.wait_for_selector("body[data-jp-theme-light='false']", state="attached")
    explorer, _ = first_explorer(magnitude)
    page = explorer.locator(".lab-explorer").first
    text = page.evaluate("node => getComputedStyle(node).color")
    ground = magnitude.evaluate(
        "getComputedStyle(document.querySelector('.jp-Notebook')).backgroundColor"
    )
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    screenshot(magnitude, "explorer_dark")
    assert (light + 0.05) / (dark + 0.05) > 4.5
    magnitude.evaluate(change, "JupyterLab Light")


def test_readable_at_double_zoom(magnitude):
    magnitude.set_viewport_size({"width": 640, "height": 450})  # 1280 x 900, magnified twice
    explorer, _ = first_explorer(magnitude)
    page = explorer.locator(".lab-explorer").first
    assert page.evaluate("node => node.scrollWidth <= node.clientWidth + 1")
    screenshot(magnitude, "explorer_zoomed")
    magnitude.set_viewport_size({"width": 1280, "height": 900})


def test_filters_by_keyboard(browser, address, model, digits):
    """Lesson 03's explorer: the network shrinks, and is timed."""
    page = open_lesson(browser, address, "03_structured_pruning")
    run_only(page, ["digits = lab.load_mnist()", "lab.pruning_explorer("])
    explorer, handle = first_explorer(page)
    handle.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    slim = lab.prune_filters(model, 0.4)
    found = lab.evaluate(slim, digits.validation)
    texts = {
        "accuracy": f"{found.accuracy:.2%}",
        "widths": ", ".join(map(str, slim.widths)),
        "macs": f"{lab.count_macs(slim):,}",
        "nonzero": f"{sum(p.numel() for p in slim.parameters()):,}",
        "time64": " ms",
    }
    for name, text in texts.items():
        explorer.locator(f"[data-figure={name}]", has_text=text).wait_for(timeout=20_000)
    explorer.get_by_role("img", name="Filters left: conv1 10 of 16").wait_for()
    explorer.get_by_role("img", name="Cost left: filters 60%").wait_for()
    assert errors_shown(page) == []
    assert explorer.get_by_role("alert").count() == 0
    screenshot(page, "filters")
    page.close()


def test_chooser_by_keyboard(browser, address):
    """Lesson 04's chooser: limits by slider, networks within them listed."""
    page = open_lesson(browser, address, "04_comparison")
    cells = ["digits = lab.load_mnist()", "methods = {", "candidates = lab.compare("]
    run_only(page, [*cells, "lab.network_chooser("])
    page.evaluate(SCROLL_TO, "lab.network_chooser(")
    chooser = page.locator(".widget-vbox", has=page.locator(".lab-chooser-page")).first
    kilobytes, _, accuracy = (chooser.locator(".noUi-handle").nth(i) for i in range(3))
    kilobytes.evaluate("node => node.scrollIntoView({block: 'center'})")
    count = "[data-figure=qualify]"
    accuracy.focus()
    page.keyboard.press("Home")  # accuracy: at least 0
    kilobytes.focus()
    page.keyboard.press("End")  # size: at most the largest
    chooser.locator(count, has_text=re.compile("^21$")).wait_for()
    screenshot(page, "chooser")
    rows = chooser.locator("tbody tr")
    shown = [re.search(r"(\d+\.\d\d)%", text)[1] for text in rows.all_inner_texts()]
    accuracies = [float(text) for text in shown]
    assert len(accuracies) > 5
    assert accuracies == sorted(accuracies, reverse=True)
    kilobytes.focus()
    page.keyboard.press("Home")  # size: at most 0
    chooser.get_by_text("Loosen a limit").wait_for()
    assert errors_shown(page) == []
    page.close()


def test_recovery_runs_and_stops(browser, address):
    """Lesson 05's widget: run to the end, then one that is stopped."""
    page = open_lesson(browser, address, "05_recovery")
    page.set_default_timeout(60_000)
    run_only(page, ["digits = lab.load_mnist()", "network = lab.load_pretrained()\npruned"])
    run_only(page, ["lab.recovery_explorer("])
    page.evaluate(SCROLL_TO, "lab.recovery_explorer(")
    explorer = page.locator(".widget-vbox", has=page.locator(".lab-recovery-page")).first
    first = explorer.locator("tr[data-run='0'] [data-figure=result]")
    first.filter(has_text=re.compile(r"^\d+\.\d\d% \(")).wait_for()
    explorer.get_by_role("button", name="Run").click()
    second = explorer.locator("tr[data-run='1'] [data-figure=result]")
    second.filter(has_text="running").wait_for()
    explorer.get_by_role("button", name="Stop").click()
    second.filter(has_text=re.compile(r"stopped at \d+")).wait_for()
    assert explorer.locator("polyline").count() == 4
    explorer.get_by_role("img", name="Accuracy, 1,000 validation images").wait_for()
    assert errors_shown(page) == []
    assert explorer.get_by_role("alert").count() == 0
    screenshot(page, "recovery")
    page.close()


def test_digit_on_two_machines(browser, address, digits):
    """Lesson 06's widget: picked by keyboard, drawn with the mouse, the same bits on both."""
    page = open_lesson(browser, address, "06_deployment")
    page.set_default_timeout(60_000)
    run_only(page, ["digits = lab.load_mnist()"])
    page.evaluate(SCROLL_TO, "explorer = device.device_explorer(")
    cell = page.locator(".jp-CodeCell", has_text="explorer = device.device_explorer(").first
    source = (
        "whole = device.quantize_int8(network, calibration)\n"
        "device.device_explorer({'float': device.Variant(network), "
        "'int8': device.Variant(whole)}, digits)"
    )
    run_cell(page, cell, source)
    shown = page.locator(".lab-device-page")
    shown.locator("[data-figure=same]", has_text="the same to").wait_for()
    explorer = page.locator(".widget-vbox", has=shown).first
    slider, number = (explorer.locator(".noUi-handle").nth(i) for i in range(2))
    slider.evaluate("node => node.scrollIntoView({block: 'center'})")
    slider.focus()
    page.keyboard.press("ArrowRight")
    shown.locator("[data-figure=same]", has_text="bit for bit the same").wait_for()
    number.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    shown.get_by_text(f"(it is a {int(digits.test.labels[3])})").wait_for()
    explorer.get_by_role("button", name="draw a digit").click()
    field = explorer.get_by_role("img", name="Draw a digit here")
    field.scroll_into_view_if_needed()
    box = field.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"]
    page.mouse.move(x, y + 30)
    page.mouse.down()
    page.mouse.move(x, y + 190, steps=10)
    page.mouse.up()
    shown.locator("[data-figure=read]", has_text="1").wait_for()
    shown.locator("[data-figure=same]", has_text="bit for bit the same").wait_for()
    screenshot(page, "device")
    ink = "node => node.getContext('2d').getImageData(0, 0, 112, 112).data.some(v => v > 0)"
    assert field.evaluate(ink)
    explorer.get_by_role("button", name="Clear").click()
    empty = digit_png(device.as_digit(bytes(112 * 112)))
    shown.locator(f"img[src='{empty}']").wait_for()
    page.wait_for_function(f"node => !({ink})(node)", arg=field.element_handle())
    assert errors_shown(page) == []
    assert explorer.get_by_role("alert").count() == 0
    page.close()
