"""How do the modules become a page, or part of one? See also `python -m labutils.page`.

Nothing is bundled by a tool: joining the modules takes no more than dropping the lines that import
and the word export, as long as no two of them name the same thing.
"""

import html
import itertools
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from torch import nn

from labutils.base.digits import Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.structure import fingerprint
from labutils.fit.evaluation import evaluate
from labutils.look import svg
from labutils.page.data import packed
from labutils.prune.weights import prune_magnitude

HERE = Path(__file__).parent
IN_THE_WORKER = ("network.js", "pruning.js", "worker.js")
IN_THE_PAGE = ("setting.js", "draw.js", "pad.js", "inside.js", "explorer.js")
STYLE = (HERE / "explorer.css").read_text(encoding="utf-8")
ZIG = "0.17.1"  # of ziglang, which compiled engine.wasm
OPTIONS = (
    *("-target", "wasm32-freestanding", "-O3", "-msimd128", "-nostdlib", "-fno-builtin"),
    *("-Wl,--no-entry", "-Wl,--export-dynamic", "-Wl,--export=__heap_base", "-Wl,--strip-all"),
)
LOOKS = [("#0072B2", ""), ("#009E73", "6 3"), ("#D55E00", "2 3")]
MARK = r"data-explorer='([^']*)'"
ALIVE = """const known = /* DATA */;
const watch = new IntersectionObserver((seen) => seen.forEach(({ isIntersecting, target }) => {
    if (!isIntersecting) return; // out of sight it would compute for nobody
    watch.unobserve(target);
    const { network, part, state, options } = JSON.parse(target.dataset.explorer);
    const data = known[`${network} ${part}`];
    if (data) mount(target, data, { ...options, start: state });
}));
document.querySelectorAll("[data-explorer]").forEach((element) => watch.observe(element));"""
CALIBRATION = 1_000  # training images for the rules that look at images
AMOUNTS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


def page(model: nn.Module, split: Split, most: int | None = None) -> str:
    """Return the page for a network and images, see `packed`; nothing has to lie beside it."""
    few = split[:1000]
    found = {a: evaluate(prune_magnitude(model, a), few).accuracy for a in AMOUNTS}
    parts = {
        "/* STYLE */": STYLE,
        "<!-- STILL -->": still({"Read correctly": found}),
        "/* DATA */": quoted(packed(model, split, most)),
        "/* SCRIPT */": front_end(),
    }
    text = (HERE / "page.html").read_text(encoding="utf-8")
    for place, part in parts.items():
        before, after = text.split(place)
        text = before + part + after
    return text


def front_end(*more: str) -> str:
    """Return the modules as one: ``mount`` is what the outside calls."""
    worker, shown = (
        "".join(map(_plain, names)) for names in (IN_THE_WORKER, (*IN_THE_PAGE, *more))
    )
    template = (HERE / "explorer.html").read_text(encoding="utf-8")
    return f"const WORKER = {quoted(worker)};\nconst TEMPLATE = {quoted(template)};\n{shown}"


def still(curves: dict[str, dict[float, float]]) -> str:
    """Draw accuracies by the share removed, by the curve's name, for who sees no explorer."""
    right, base = svg.WIDTH - svg.RIGHT, svg.TOP + svg.INNER_HEIGHT
    marks, said = [], []
    for height in (0, 0.5, 1):
        y = base - svg.INNER_HEIGHT * height
        marks.append(svg.line(svg.LEFT, y, right, y, "currentColor", "1 4"))
        marks.append(svg.text(svg.LEFT - 4, y + 4, f"{height:.0%}", "end"))
    for x, share, anchor in ((svg.LEFT, 0, "start"), (right, 1, "end")):
        marks.append(svg.text(x, base + 14, f"{share:.0%} removed", anchor))
    for look, (name, points) in zip(itertools.cycle(LOOKS), curves.items(), strict=False):
        amounts = sorted(points)
        places = [(a * svg.INNER_WIDTH, points[a] * svg.INNER_HEIGHT) for a in amounts]
        marks.append(svg.curve(((svg.LEFT + x, base - y) for x, y in places), *look))
        found = ", ".join(f"{points[amount]:.1%} with {amount:.0%} removed" for amount in amounts)
        said.append(f"{name}: {found}.")
    title = "Accuracy against the share removed"
    return svg.as_image(svg.picture(title, " ".join(said), marks)) + f"<p>{' '.join(said)}</p>"


def alive(text: str) -> str:
    """Put networks and digits into an exported lesson, so that its explorers live.

    Those of a network that is not one of the pretrained ones stay pictures.
    """
    data = known(text)
    if not data:
        return text
    script = f"<style>{STYLE}</style><script type='module'>{front_end()}{ALIVE}</script>"
    content = script.replace("/* DATA */", quoted(data))
    return text.replace("</body>", f"{content}</body>")


def known(text: str) -> dict[str, dict]:
    """Return what the explorers in a text need: networks and digits, as ALIVE looks them up."""
    marks = [json.loads(html.unescape(found)) for found in re.findall(MARK, text)]
    models = {fingerprint(model): model for model in map(load_pretrained, range(5 if marks else 0))}
    wanted = {(mark["network"], mark["part"]) for mark in marks if mark["network"] in models}
    digits = load_mnist() if wanted else None
    return {
        f"{network} {part}": packed(
            models[network], getattr(digits, part), calibration=digits.train[:CALIBRATION]
        )
        for network, part in sorted(wanted)
    }


def quoted(value: object) -> str:
    """Write a value as JSON that can stand in a page's script."""
    return json.dumps(value).replace("<", "\\u003c")


def compiled() -> bytes:
    """Compile engine.c to WebAssembly with ziglang, which has to be installed."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "engine.wasm"
        command = [sys.executable, "-m", "ziglang", "cc", *OPTIONS, str(HERE / "engine.c")]
        subprocess.run([*command, "-o", str(target)], check=True, capture_output=True)
        return target.read_bytes()


def _plain(name: str) -> str:
    """Return a module without the lines that import, and without the word export."""
    text = (HERE / name).read_text(encoding="utf-8")
    return re.sub(r"^(import [^;]*;\n|export (?!default))", "", text, flags=re.MULTILINE)
