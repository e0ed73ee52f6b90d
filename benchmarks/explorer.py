"""How soon does the explorer answer, and what does pruning itself cost?

    python benchmarks/explorer.py

In the kernel: time from moving the slider to the first answer (sampled accuracy, histogram or
widths, counts, time for one image), and to the exact figure from 10,000 images (with the time
for 64). In JupyterLab, if there is a browser: time from a key press
to the changed page. And how long pruning takes, alone and in a sweep.
"""

import statistics
import time

import torch

import labutils as lab

EVENTS = 50


def milliseconds(action) -> float:  # noqa: ANN001
    """Time one call."""
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1e3


def spread(name: str, times: list[float], limit: float) -> None:
    """Print median and range in milliseconds beside what was aimed at."""
    print(
        f"{name:48} median {statistics.median(times):6.1f} ms "
        f"({min(times):.1f} to {max(times):.1f}), aim {limit:g} ms"
    )


def pruning(model: lab.SimpleCNN, digits: lab.Digits) -> None:
    """Time pruning, and a sweep of 20 amounts against 20 plain evaluations, in turn."""
    amounts = [amount / 20 for amount in range(20)]
    lab.prune_magnitude(model, 0.5)
    times = [milliseconds(lambda: lab.prune_magnitude(model, 0.5)) for _ in range(EVENTS)]
    spread("prune SimpleCNN globally", times, 5)
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


def in_the_kernel(model: lab.SimpleCNN, digits: lab.Digits, remove: str) -> None:
    """Time slider events, then exact figures, of an explorer on all test images."""
    explorer = lab.pruning_explorer(model, digits, remove=remove)

    def move(percent: int) -> None:
        explorer.amount.value = percent

    first = [milliseconds(lambda p=p: move(p)) for p in range(1, EVENTS + 1)]
    spread(f"kernel, {remove}: slider event to first answer", first, 100)

    def work_out() -> None:
        for _ in explorer.views.exact(explorer.setting):
            pass
        explorer.views.measure(explorer.setting)
        explorer.views.look(explorer.setting)

    exact = []
    for percent in range(51, 71):
        move(percent)
        exact.append(milliseconds(work_out))
    spread(f"kernel, {remove}: and to the exact figure", exact, 1000)


def in_the_browser() -> None:
    """Time key presses in a real JupyterLab, from the press to the changed page."""
    import sys
    from pathlib import Path

    sys.path.append(str(Path(__file__).resolve().parents[1] / "tools"))
    from browser import NoBrowserError, chromium, jupyterlab, open_lesson, run_all, server

    try:
        with chromium() as browser, server() as address:
            page = jupyterlab(browser, address)
            open_lesson(page, "00_start_here")
            run_all(page)
            page.locator(".lab-explorer-page").scroll_into_view_if_needed()
            page.wait_for_timeout(8000)  # until the curve is drawn and the kernel is idle
            page.locator(".noUi-handle").first.focus()
            times = page.evaluate(PRESSES, EVENTS)
    except NoBrowserError as missing:
        print(missing)
        return
    spread("JupyterLab: key press to changed page", times, 200)


# Measured inside the page, so that the test's own messages don't count: press the key as a
# keyboard would, then wait until the sparsity shown is another one and has been drawn.
PRESSES = """async count => {
    const handle = document.querySelector('.noUi-handle');
    const shown = () => document.querySelector('[data-figure=sparsity]').textContent;
    const drawn = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
    const times = [];
    for (let i = 0; i < count; i++) {
        const before = shown(), key = i % 20 < 10 ? 'ArrowRight' : 'ArrowLeft';
        const started = performance.now();
        handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
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
    in_the_kernel(model, digits, "weights")
    in_the_kernel(model, digits, "filters")
    in_the_browser()


if __name__ == "__main__":
    main()
