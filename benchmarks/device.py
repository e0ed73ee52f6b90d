"""What does the emulated microcontroller cost those who use it: compiling, an image, a count?

    .venv/bin/python benchmarks/device.py

Each firmware is compiled anew in a folder of its own, the variants in turn; the first one, which
also builds the compiler's runtime, is shown apart.
"""

import os
import tempfile
import time

import pandas as pd

import labutils as lab
from labutils import device

ROUNDS, IMAGES = 3, 20
FORMATS = ("dense", "csr", "gaps", "bitmask")


def timed(call: object, *arguments: object) -> tuple[float, object]:
    """Return the seconds a call took, and its result."""
    started = time.perf_counter()
    result = call(*arguments)
    return time.perf_counter() - started, result


def main() -> None:
    """Compile, run and count, some times over."""
    digits, model = lab.load_mnist(), lab.prune_magnitude(lab.load_pretrained(), 0.9)
    whole = device.quantize_int8(model, digits.train[:500])
    images = whole.integers(digits.test.images[:IMAGES])
    rows, zig = [], None
    for round_ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CACHE_HOME"] = folder  # so that nothing is found compiled
            first, _ = timed(device.Firmware, device.quantize_int8(model, digits.train[:100]))
            zig = zig or first
            for kind in FORMATS:
                formats = dict.fromkeys(("conv2", "fc1", "fc2"), kind)
                compiling, firmware = timed(device.Firmware, whole, formats)
                again, _ = timed(device.Firmware, whole, formats)
                running, _ = timed(firmware.logits, images)
                counting, _ = timed(firmware.measure, images[0])
                rows.append((round_, kind, compiling, again, running / IMAGES, counting))
    names = ["round", "format", "compile", "again", "an image", "a counted image"]
    table = pd.DataFrame(rows, columns=names).drop(columns="round").groupby("format").median()
    print(f"the very first: {zig:.1f} s\nthen, medians of {ROUNDS} rounds, in seconds:")
    print(table.round(3).to_string())


if __name__ == "__main__":
    main()
