"""How soon does the explorer answer, and what does pruning itself cost?

    python benchmarks/explorer.py

In Chromium, if there is one: from a slider event until the page shows an estimate from 200 images,
from 1,000, and the figure of all, and the longest pause between two frames meanwhile, since the
workers must not keep the page waiting; the same in JupyterLab, from a key press. And how long
pruning takes, alone and in a sweep.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from playwright.sync_api import Browser

import labutils as lab
from labutils.page.page import page

sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
from browser import (
    NoBrowserError,
    chromium,
    go_to,
    jupyterlab,
    open_lesson,
    run_only,
    server,
)

EVENTS = 60


def milliseconds(action) -> float:  # noqa: ANN001
    """Time one call."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def spread(name: str, limit: float, times: list[float]) -> None:
    """Print median and 95th percentile in milliseconds beside what was aimed at."""
    high = statistics.quantiles(times, n=20)[-1]
    print(f"{name:48} median {statistics.median(times):6.1f} ms, 95th {high:6.1f}, aim {limit:g}")


def pruning(model: lab.SimpleCNN, digits: lab.Digits) -> None:
    """Time pruning, and a sweep of 20 amounts against 20 plain evaluations, in turn."""
    amounts = [amount / 20 for amount in range(20)]
    lab.prune_magnitude(model, 0.5)
    times = [milliseconds(lambda: lab.prune_magnitude(model, 0.5)) for _ in range(EVENTS)]
    spread("prune SimpleCNN globally", 5, times)
    ratios = []
    for _ in range(3):
        plain = swept = 0.0
        for amount in amounts:
            plain += milliseconds(lambda: lab.evaluate(model, digits.test))
            swept += milliseconds(
                lambda amount=amount: lab.evaluate(lab.prune_magnitude(model, amount), digits.test)
            )
        ratios.append(swept / plain)
    print(
        f"{'sweep of 20 amounts / 20 evaluations':48} median {statistics.median(ratios):6.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}), aim 1.1"
    )


# The slider goes to and fro over all amounts; each move waits for all images before the next one.
MOVES = """async count => {
    const element = document.querySelector('.lab'), slider = element.querySelector('[name=amount]');
    const times = {changed: [], 200: [], 1000: [], all: [], pause: []};
    const drawn = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)));
    let last = 0, longest = 0, watching = true;
    requestAnimationFrame(function watch(now) {
        if (last) longest = Math.max(longest, now - last);
        last = now;
        if (watching) requestAnimationFrame(watch);
    });
    for (let i = 0; i < count; i++) {
        await new Promise((done) => setTimeout(done, 100));
        longest = 0;
        slider.value = (i * 37 + 5) % 100;
        const started = performance.now();
        await new Promise((done) => {
            element.addEventListener('lab-view', async function seen({detail: {tested, total}}) {
                if (tested === 200) times.changed.push(performance.now() - started);
                if (tested === total) element.removeEventListener('lab-view', seen);
                await drawn();
                times[tested === total ? 'all' : tested].push(performance.now() - started);
                if (tested === total) done();
            });
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        });
        times.pause.push(longest);
    }
    watching = false;
    return times;
}"""
NAMES = {  # and milliseconds that are aimed at
    "changed": ("page: slider event to changed page, 200 images", 16),
    "200": ("page: the same, and the frame drawn", 33),
    "1000": ("page: 1,000 images, drawn", 120),
    "all": ("page: all 5,000 images, drawn", 1500),
    "pause": ("page: longest pause between two frames", 17),
}


def from_a_file(browser: Browser, model: lab.SimpleCNN, digits: lab.Digits) -> None:
    """Time slider events in the page that `make page` writes, and the pauses between its frames."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "lab.html"
        file.write_text(page(model, digits.test, 5_000), encoding="utf-8")
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(file.as_uri())
        tab.locator(".lab[aria-busy=false]").wait_for()
        tab.get_by_role("button", name="Skip").click()
        tab.locator(".curve .said", has_text="From 1,000").wait_for()
        for name, times in tab.evaluate(MOVES, EVENTS).items():
            spread(*NAMES[name], times)


def in_jupyterlab(browser: Browser) -> None:
    """Time key presses in a real JupyterLab, from the press to the changed page."""
    with server() as address:
        tab = jupyterlab(browser, address)
        open_lesson(tab, "02_magnitude_pruning")
        run_only(tab, "digits = lab.load_mnist()", "lab.pruning_explorer(")
        go_to(tab, "lab.pruning_explorer(")
        tab.get_by_role("button", name="Skip").click()
        tab.locator(".curve .said", has_text="From 1,000").wait_for(state="attached")
        tab.locator("[name=amount]").first.focus()
        spread("JupyterLab: key press to changed page", 33, tab.evaluate(PRESSES, EVENTS))


# Measured inside the page, so that the test's own messages don't count: what a key press does to
# a slider, then wait until the sparsity shown is another one and has been drawn.
PRESSES = """async count => {
    const slider = document.activeElement;
    const shown = () => document.querySelector('[data-figure=sparsity]').textContent;
    const drawn = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    const times = [];
    for (let i = 0; i < count; i++) {
        const before = shown(), started = performance.now();
        slider.value = Number(slider.value) + (i % 20 < 10 ? 1 : -1);
        slider.dispatchEvent(new Event('input', {bubbles: true}));
        slider.dispatchEvent(new Event('change', {bubbles: true}));
        while (shown() === before && performance.now() - started < 5000)
            await new Promise(done => setTimeout(done, 1));
        await drawn();
        times.push(performance.now() - started);
        await new Promise(done => setTimeout(done, 400));
    }
    return times;
}"""


def main() -> None:
    """Print the figures."""
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads")
    model, digits = lab.load_pretrained(), lab.load_mnist()
    pruning(model, digits)
    try:
        with chromium() as browser:
            print(f"Chromium {browser.version}, {EVENTS} slider events over 0 to 99%")
            from_a_file(browser, model, digits)
            in_jupyterlab(browser)
    except NoBrowserError as missing:
        print(missing)


if __name__ == "__main__":
    main()
