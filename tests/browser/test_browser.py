"""The lessons as a student meets them: a real JupyterLab, a real browser, a real kernel."""

import math
import os
import re
import signal

import pytest
from blanks import ASKED, HELP
from browser import (
    CODE_CELLS,
    PANEL,
    errors_shown,
    go_to,
    jupyterlab,
    open_lesson,
    run_all,
    run_cell,
    run_only,
    server,
)
from conftest import PROJECT

import labutils as lab
from labutils import device
from labutils.look.svg import digit_png

pytestmark = pytest.mark.browser

SCREENSHOTS = PROJECT / "build" / "screenshots"  # `make pictures` takes the README's from here


@pytest.fixture(scope="module")
def page(browser):
    """JupyterLab, one for all tests: it shows one lesson at a time."""
    with server() as address:
        yield jupyterlab(browser, address)


@pytest.fixture(scope="module")
def start(page):
    """Lesson 00, run from top to bottom."""
    open_lesson(page, "00_start_here")
    run_all(page)
    return page


@pytest.fixture(scope="module")
def magnitude(page):
    """Lesson 02, its first explorer shown."""
    open_lesson(page, "02_magnitude_pruning")
    run_only(page, "digits = lab.load_mnist()", "lab.pruning_explorer(")
    return page


def no_problem_shown(page):
    return (
        errors_shown(page) == [] and page.locator(".jp-Notebook [role=alert]:visible").count() == 0
    )


def screenshot(page, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


def test_start_here(start):
    assert no_problem_shown(start)
    go_to(start, "lab.check_installation()")
    start.locator(".jp-RenderedHTML tr", has_text="✓ ok").nth(10).wait_for()
    assert start.get_by_text("✗ fix").count() == 0
    go_to(start, "Twenty handwritten digits")
    picture = start.get_by_role("img", name="Twenty handwritten digits")
    picture.scroll_into_view_if_needed()
    assert picture.bounding_box()["width"] > 300
    go_to(start, "The network from image to ten outputs")
    diagram = start.get_by_role("img", name="The network from image to ten outputs")
    diagram.scroll_into_view_if_needed()
    screenshot(start, "start_here")


def test_a_cell_run_too_early_says_so(start):
    start.evaluate(f"{PANEL}.sessionContext.session.kernel.restart()")
    run_instead(start, "digits = lab.load_mnist()", "import labutils as lab\nmodel = network")
    start.get_by_text("Run All Above Selected Cell").first.wait_for()


def run_instead(page, fragment, source):
    """Replace what stands in the cell with this source, then run it."""
    go_to(page, fragment)
    page.locator(".jp-CodeCell", has_text=fragment).first.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(source)
    page.keyboard.press("Shift+Enter")


def widget(page, fragment, marker):
    """The widget that the cell with this source shows, its sliders in the window."""
    go_to(page, fragment)
    box = page.locator(".widget-vbox", has=page.locator(marker)).first
    box.locator(".noUi-handle").first.scroll_into_view_if_needed()
    return box


def first_explorer(page, fragment="lab.pruning_explorer("):
    """The first explorer, its slider in the window."""
    go_to(page, fragment)
    explorer = page.locator(".lab[aria-busy]").first
    slider = explorer.get_by_role("slider", name="Remove")
    slider.scroll_into_view_if_needed()
    return explorer, slider


def wait_for_figures(explorer, **texts):
    for name, text in texts.items():
        explorer.locator(f"[data-figure={name}]", has_text=text).wait_for()


def wait_until_pruned(explorer, model, split, percent):
    """Wait until the page shows what pruning and evaluating give for this slider position."""
    pruned = lab.prune_magnitude(model, percent / 100)
    nonzero = sum(int(parameter.count_nonzero()) for parameter in pruned.parameters())
    said = f"{percent}% of the weights removed, all {len(split):,} images"
    explorer.locator(".basis", has_text=said).wait_for()
    wait_for_figures(
        explorer,
        accuracy=f"{lab.evaluate(pruned, split).accuracy:.2%}",
        sparsity=f"{lab.sparsity(pruned):.1%}",
        nonzero=f"{nonzero:,}",
    )


def test_slider_by_keyboard(magnitude, model, digits):
    explorer, slider = first_explorer(magnitude)
    wait_until_pruned(explorer, model, digits.validation, 50)
    slider.press("End")
    for _ in range(6):
        slider.press("ArrowLeft")
    wait_until_pruned(explorer, model, digits.validation, 94)
    explorer.locator(".flipped").first.wait_for(state="attached")
    assert no_problem_shown(magnitude)


def test_slider_by_mouse(magnitude, model, digits):
    explorer, slider = first_explorer(magnitude)
    slider.hover()  # waits until nothing moves any more
    magnitude.mouse.down()
    track = slider.bounding_box()
    middle = track["y"] + track["height"] / 2
    for share in (0.9, 0.6, 0.2, 0.4, 0.7):  # to and fro: only the last position counts
        magnitude.mouse.move(track["x"] + share * track["width"], middle, steps=4)
    magnitude.mouse.up()
    percent = int(slider.input_value())
    assert 65 <= percent <= 75
    wait_until_pruned(explorer, model, digits.validation, percent)
    explorer.get_by_role("button", name="Skip").click()
    explorer.locator(".curve .said", has_text="From 1,000 images.").wait_for()
    assert no_problem_shown(magnitude)
    magnitude.set_viewport_size({"width": 1280, "height": 1500})
    first_explorer(magnitude)
    screenshot(magnitude, "explorer")
    magnitude.set_viewport_size({"width": 1280, "height": 900})


def test_scope_undo_and_reset(magnitude, model, digits):
    explorer, slider = first_explorer(magnitude)
    before = int(slider.input_value())
    explorer.get_by_label("a share of its own for each layer").check()
    explorer.get_by_role("slider", name="fc1").wait_for()
    explorer.get_by_role("button", name="Undo").click()
    wait_until_pruned(explorer, model, digits.validation, before)
    explorer.get_by_role("button", name="Reset").click()
    wait_until_pruned(explorer, model, digits.validation, 50)  # where the cell began
    explorer.get_by_role("slider", name="fc1").wait_for(state="hidden")


def luminance(colour):
    """Relative luminance of "rgb(r, g, b)" (WCAG 2)."""
    values = [int(part) / 255 for part in colour.strip("rgba()").split(",")[:3]]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_readable_in_the_dark_theme(magnitude):
    change = "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})"
    magnitude.evaluate(change, "JupyterLab Dark")
    first_explorer(magnitude)
    magnitude.locator(".lab[data-theme=dark]").first.wait_for()
    style = "getComputedStyle(document.querySelector('.lab .card')).{}"
    text, ground = (magnitude.evaluate(style.format(p)) for p in ("color", "backgroundColor"))
    light, dark = sorted((luminance(text), luminance(ground)), reverse=True)
    screenshot(magnitude, "explorer_dark")
    magnitude.evaluate(change, "JupyterLab Light")
    assert luminance(text) > luminance(ground)
    assert (light + 0.05) / (dark + 0.05) > 4.5
    magnitude.locator(".lab[data-theme=light]").first.wait_for()


def test_readable_at_double_zoom(magnitude):
    magnitude.set_viewport_size({"width": 640, "height": 450})  # 1280 x 900, magnified twice
    first_explorer(magnitude)
    page = "document.querySelector('.lab')"
    assert 0 < magnitude.evaluate(f"{page}.clientWidth") <= 640
    assert magnitude.evaluate(f"{page}.scrollWidth <= {page}.clientWidth + 1")
    screenshot(magnitude, "explorer_zoomed")
    magnitude.set_viewport_size({"width": 1280, "height": 900})


def test_python_and_page_hear_each_other(magnitude, model, digits):
    explorer, slider = first_explorer(magnitude)
    slider.press("End")
    wait_until_pruned(explorer, model, digits.validation, 100)
    run_instead(magnitude, "measured = {}", "print('heard', explorer.amount.value)")
    magnitude.get_by_text("heard 100").wait_for()
    run_instead(magnitude, "print('heard'", "explorer.amount.value = 30  # from Python")
    wait_until_pruned(explorer, model, digits.validation, 30)
    sent = (
        "explorer._trait_values['state'] = {'amount': 1000, 'scope': '__proto__', 'x': '<b>'}\n"
        "explorer.send_state('state')  # nonsense"
    )
    run_instead(magnitude, "# from Python", sent)
    said = explorer.locator(".problem")
    said.filter(has_text="amount=1000 is ignored: it must be a whole number of percent").wait_for()
    assert "x=<b> is ignored" in said.inner_text()
    wait_until_pruned(explorer, model, digits.validation, 0)


def test_the_slider_goes_on_without_python(magnitude, model, digits):
    """A kernel that computes and computes, then one that was restarted."""
    explorer, slider = first_explorer(magnitude)
    run_instead(magnitude, "# nonsense", "import os; print(f'process {os.getpid()}.')")
    found = magnitude.locator(".jp-OutputArea-output", has_text=re.compile(r"process \d+\."))
    kernel = int(re.search(r"\d+", found.inner_text())[0])
    first_explorer(magnitude)
    alone = explorer.get_by_text("Python is not listening")
    os.kill(kernel, signal.SIGSTOP)
    try:
        slider.press("End")
        wait_until_pruned(explorer, model, digits.validation, 100)
        alone.wait_for()
    finally:
        os.kill(kernel, signal.SIGCONT)
    alone.wait_for(state="hidden")  # it answers what was said meanwhile
    magnitude.evaluate(f"{PANEL}.sessionContext.session.kernel.restart()")
    first_explorer(magnitude)
    slider.press("Home")
    wait_until_pruned(explorer, model, digits.validation, 0)
    alone.wait_for()


def test_filters_by_keyboard(page, model, digits):
    """Lesson 03's explorer: the network shrinks."""
    open_lesson(page, "03_structured_pruning")
    run_only(page, "digits = lab.load_mnist()", "lab.pruning_explorer(")
    explorer, slider = first_explorer(page)
    for _ in range(15):
        slider.press("ArrowRight")
    slim = lab.prune_filters(model, 0.45)
    wait_for_figures(
        explorer,
        accuracy=f"{lab.evaluate(slim, digits.validation).accuracy:.2%}",
        macs=f"{lab.count_macs(slim):,}",
        nonzero=f"{sum(p.numel() for p in slim.parameters()):,}",
        goal="at most 400,000 MACs: met; the same share of each layer (l1), just so: ",
    )
    explorer.get_by_text("9 of 16 left").wait_for()
    explorer.get_by_label("a share of its own for each layer").check()
    wait_for_figures(explorer, goal="your best: ")
    explorer.locator(
        "[data-figure=goal]", has_text="(l1; conv1 44%, conv2 44%, fc1 45%)"
    ).wait_for()
    assert no_problem_shown(page)
    screenshot(page, "filters")


def test_chooser_by_keyboard(page):
    """Lesson 04's chooser: limits by slider, networks within them listed."""
    open_lesson(page, "04_comparison")
    cells = ["digits = lab.load_mnist()", "methods = {", "candidates = lab.compare("]
    run_only(page, *cells, "lab.network_chooser(")
    chooser = widget(page, "lab.network_chooser(", ".lab-chooser-page")
    kilobytes, _, accuracy = chooser.locator(".noUi-handle").all()
    accuracy.press("Home")  # at least 0
    kilobytes.press("End")  # at most the largest
    chooser.locator("[data-figure=qualify]", has_text=re.compile("^21$")).wait_for()
    screenshot(page, "chooser")
    rows = chooser.locator("tbody tr").all_inner_texts()
    accuracies = [float(re.search(r"(\d+\.\d\d)%", row)[1]) for row in rows]
    assert len(accuracies) > 5
    assert accuracies == sorted(accuracies, reverse=True)
    kilobytes.press("Home")  # at most 0
    chooser.get_by_text("Loosen a limit").wait_for()
    assert no_problem_shown(page)


def test_recovery_runs_and_stops(page):
    """Lesson 05's widget: run to the end, then one that is stopped."""
    open_lesson(page, "05_recovery")
    cells = ["digits = lab.load_mnist()", "network = lab.load_pretrained()\npruned"]
    run_only(page, *cells, "lab.recovery_explorer(")
    explorer = widget(page, "lab.recovery_explorer(", ".lab-recovery-page")
    first, second = (
        explorer.locator(f"tr[data-run='{run}'] [data-figure=result]") for run in range(2)
    )
    first.filter(has_text=re.compile(r"^\d+\.\d\d% \(")).wait_for()
    explorer.locator(".noUi-handle").nth(1).press("End")  # epochs: time enough to stop it
    explorer.get_by_role("button", name="Run").click()
    second.filter(has_text="running").wait_for()
    explorer.get_by_role("button", name="Stop").click()
    second.filter(has_text=re.compile(r"^\d+\.\d\d% \(")).wait_for()
    assert explorer.locator("polyline").count() == 4
    explorer.get_by_role("img", name="Accuracy, 1,000 validation images").wait_for()
    assert no_problem_shown(page)
    screenshot(page, "recovery")


def test_digit_on_two_machines(page, digits):
    """Lesson 06's widget: picked by keyboard, drawn with the mouse, the same bits on both."""
    open_lesson(page, "06_deployment")
    run_only(page, "digits = lab.load_mnist()")
    source = (
        "whole = device.quantize_int8(network, calibration)\n"
        "device.device_explorer({'float': device.Variant(network), "
        "'int8': device.Variant(whole)}, digits)"
    )
    run_instead(page, "explorer = device.device_explorer(", source)
    explorer = widget(page, "device.device_explorer(", ".lab-device-page")
    wait_for_figures(explorer, same="the same to")
    slider, number = explorer.locator(".noUi-handle").all()
    slider.press("ArrowRight")
    wait_for_figures(explorer, same="bit for bit the same")
    for _ in range(3):
        number.press("ArrowRight")
    explorer.get_by_text(f"(it is a {int(digits.test.labels[3])})").wait_for()
    explorer.get_by_role("button", name="draw a digit").click()
    field = explorer.get_by_role("img", name="Draw a digit here")
    field.hover()  # waits until nothing moves any more
    box = field.bounding_box()
    empty = digit_png(device.as_digit(bytes(112 * 112)))
    preview = explorer.get_by_role("img", name="the image that is read")
    explorer.locator(f"img[src='{empty}']").wait_for()
    turns = [math.radians(10 * step - 90) for step in range(37)]
    seven = [(60, 40), (164, 40), (96, 190)]
    zero = [(112 + 48 * math.cos(turn), 112 + 76 * math.sin(turn)) for turn in turns]
    ink = "node => node.getContext('2d').getImageData(0, 0, 112, 112).data.some(v => v > 0)"
    for read, points in (("7", seven), ("0", zero)):
        page.mouse.move(box["x"] + points[0][0], box["y"] + points[0][1])
        page.mouse.down()
        for x, y in points[1:]:
            page.mouse.move(box["x"] + x, box["y"] + y, steps=10)
        page.mouse.up()
        wait_for_figures(explorer, read=read, same="bit for bit the same")
        assert preview.get_attribute("src") != empty
        assert field.evaluate(ink)
        screenshot(page, "device")
        explorer.get_by_role("button", name="Clear").click()
        explorer.locator(f"img[src='{empty}']").wait_for()
        page.wait_for_function(f"node => !({ink})(node)", arg=field.element_handle())
    assert no_problem_shown(page)


# A slider in 05, choices in the others; what they ask is tested for all lessons elsewhere.
@pytest.mark.parametrize("lesson", ["02_magnitude_pruning", "05_recovery", "08_your_own_network"])
def test_a_student_writes_and_guesses(page, lesson):
    """One blank as it is, filled wrongly, then correctly; one guess, which the notebook keeps."""
    name, (blank, _, text) = next(iter(ASKED[lesson].items()))
    open_lesson(page, lesson)
    run_only(page, "find_spec(", f"def {name}(")
    head = blank.source[: blank.source.index(":") + 1]
    answers = {"not attempted": blank.source, "wrong": f"{head}\n    pass"}
    for verdict, source in (answers | {"right": HELP.fullmatch(text.source)[1]}).items():
        run_instead(page, f"def {name}(", source)
        run_cell(page, f"practice.{name}(")
        page.get_by_text(f"Your turn, {name}: {verdict}").wait_for()
    screenshot(page, f"{lesson}_turn")
    run_cell(page, "= lab.guess(")
    field = page.locator(".lab-guess").first
    if field.locator(".noUi-handle").count():
        handle = field.locator(".noUi-handle")
        handle.hover()  # at its middle, which nothing may cover
        page.mouse.down()
        page.mouse.move(handle.bounding_box()["x"] + 60, handle.bounding_box()["y"], steps=3)
        page.mouse.up()
    elif field.locator("button").count():
        field.locator("button").first.click()
    else:
        field.locator("input").fill("7")
    page.get_by_text("Your guess: ").first.wait_for()
    kept = f"{CODE_CELLS}.flatMap(cell => cell.outputs).filter(o => o.metadata?.guess).length"
    assert page.evaluate(kept) == 1
    assert no_problem_shown(page)
    screenshot(page, f"{lesson}_guess")
