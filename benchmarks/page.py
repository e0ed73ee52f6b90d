"""How soon does the page follow its slider?

    python benchmarks/page.py

In Chromium, from a file, with the network of seed 0 and 5,000 digits: from a slider event until
the page shows an estimate from 200 images, from 1,000, and the figure of all. Timed in the page,
until the frame after the change has been drawn; and the longest pause between two frames
meanwhile, since the worker must not keep the page waiting.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import labutils as lab
from labutils.page.page import page

EVENTS = 60
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
NAMES = {
    "changed": "slider event to changed page, 200 images",
    "200": "the same, and the frame drawn",
    "1000": "1,000 images, drawn",
    "all": "all 5,000 images, drawn",
    "pause": "longest pause between two frames",
}


def main() -> None:
    """Print the figures."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
    from browser import chromium

    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        file = Path(folder) / "lab.html"
        file.write_text(page(lab.load_pretrained(), lab.load_mnist().test, 5_000), "utf-8")
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.goto(file.as_uri())
        tab.locator(".lab[aria-busy=false]").wait_for()
        tab.get_by_role("button", name="Skip").click()
        tab.locator(".curve .said", has_text="All 5,000").wait_for()
        print(f"Chromium {browser.version}, {EVENTS} slider events over 0 to 99%")
        for name, times in tab.evaluate(MOVES, EVENTS).items():
            high = statistics.quantiles(times, n=20)[-1]
            middle = statistics.median(times)
            print(f"{NAMES[name]:42} median {middle:6.1f} ms, 95th {high:6.1f} ms")


if __name__ == "__main__":
    main()
