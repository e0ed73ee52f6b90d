"""How does the page become one file? `make page` writes it, by `python -m labutils.page.page`.

Nothing is bundled by a tool: joining the modules takes no more than dropping the lines that import
and the word export, as long as no two of them name the same thing.
"""

import argparse
import html
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from torch import nn

from labutils.base.digits import Split, load_mnist
from labutils.base.files import load_pretrained
from labutils.base.writing import write_whole
from labutils.fit.evaluation import evaluate
from labutils.page.data import ENGINE, packed
from labutils.prune.weights import prune_magnitude

HERE = Path(__file__).parent
IN_THE_WORKER = ("network.js", "pruning.js", "worker.js")
IN_THE_PAGE = ("draw.js", "pad.js", "explorer.js")
ZIG = "0.17.1"  # of ziglang, which compiled engine.wasm
OPTIONS = (
    *("-target", "wasm32-freestanding", "-O3", "-msimd128", "-nostdlib", "-fno-builtin"),
    *("-Wl,--no-entry", "-Wl,--export-dynamic", "-Wl,--export=__heap_base", "-Wl,--strip-all"),
)
MOST_BYTES = 2_000_000
STILL_AMOUNTS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.0)


def page(model: nn.Module, split: Split, most: int | None = None) -> str:
    """Return the page for a network and images, see `packed`; nothing has to lie beside it."""
    parts = {
        "/* STYLE */": (HERE / "explorer.css").read_text(encoding="utf-8"),
        "<!-- STILL -->": _still(model, split[:1000]),
        "/* DATA */": _quoted(packed(model, split, most)),
        "/* SCRIPT */": front_end(),
    }
    text = (HERE / "page.html").read_text(encoding="utf-8")
    for place, part in parts.items():
        before, after = text.split(place)
        text = before + part + after
    return text


def front_end() -> str:
    """Return the modules as one: ``mount`` is what the outside calls."""
    worker, shown = ("".join(map(_plain, names)) for names in (IN_THE_WORKER, IN_THE_PAGE))
    return f"const WORKER = {_quoted(worker)};\n{shown}"


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
    return re.sub(r"^(import [^;]*;\n|export )", "", text, flags=re.MULTILINE)


def _quoted(value: object) -> str:
    """Write a value as JSON that can stand in a page's script."""
    return json.dumps(value).replace("<", "\\u003c")


def _still(model: nn.Module, split: Split) -> str:
    """Draw accuracy by the share of weights removed, for who sees no explorer."""
    found = [(a, evaluate(prune_magnitude(model, a), split).accuracy) for a in STILL_AMOUNTS]
    points = " ".join(f"{20 + 300 * amount:.0f},{170 - 150 * share:.0f}" for amount, share in found)
    said = "Read correctly: " + ", ".join(f"{s:.1%} with {a:.0%} removed" for a, s in found) + "."
    return (
        f'<svg role="img" aria-label="{html.escape(said)}" viewBox="0 0 340 190">'
        '<path d="M20 20V170H320" fill="none" stroke="currentColor"/>'
        f'<polyline points="{points}" fill="none" stroke="#0072B2" stroke-width="3"/></svg>'
        f"<p>{said}</p>"
    )


def main(arguments: list[str] | None = None) -> None:
    """Write the page with the network of seed 0 and digits of the test set."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--to", type=Path, default=Path("dist/pruning-lab.html"))
    parser.add_argument("--images", type=int, default=5_000, help="how many digits lie in it")
    parser.add_argument("--engine", action="store_true", help="compile engine.c again first")
    asked = parser.parse_args(arguments)
    if asked.engine:
        engine = compiled()
        write_whole(ENGINE, lambda file: file.write(engine))
    content = page(load_pretrained(0), load_mnist().test, asked.images).encode()
    if len(content) > MOST_BYTES:
        raise SystemExit(f"The page takes {len(content):,} bytes, more than {MOST_BYTES:,}.")
    asked.to.parent.mkdir(parents=True, exist_ok=True)
    write_whole(asked.to, lambda file: file.write(content))
    print(f"{asked.to}: {len(content):,} bytes")


if __name__ == "__main__":
    main()
