"""Search for the smallest SimpleCNN that still reads 99.3%, and 99.0%, of the digits.

    make smallest

Each trial takes filters out of a pretrained network, then trains it on while its weights are
pruned (LAMP across the layers), on the digits and on distorted copies of them, with a larger
network as teacher; turns it into int8 and counts the bytes of its weights as the firmware stores
them. A row for each trial goes into models/smallest/search.csv as soon as it is known: an
interrupted search goes on where it stopped.

Then, for each accuracy wanted, the network with the fewest bytes is chosen whose *validation*
accuracy as int8 lies above it by a margin, which makes up for the luck that goes with choosing.
The test images are read once, for the two chosen ones.
"""

import argparse
import math
import platform
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F

import labutils as lab
from labutils import device
from labutils.base.writing import write_whole
from labutils.device.smallest import ACCURACIES, MARGIN, choose

PROJECT = Path(__file__).resolve().parents[1]
FOLDER, BUILD = PROJECT / "models" / "smallest", PROJECT / "build" / "smallest"
PROCESSES = 2
KEY = ["widths", "kept", "epochs"]  # of a trial, in search.csv
EPOCHS = 16  # of all copies
COPIES = 5  # of the training images: as they are, and distorted
TEACHER, TEACHER_EPOCHS = (32, 64, 128), 3  # epochs of all copies
SCORED, CALIBRATION = 2_000, 1_000  # training images, for filters and for int8


@dataclass(frozen=True)
class Trial:
    """What one trial tries: the widths, how many weights stay, and for how many epochs."""

    widths: tuple[int, int, int]
    kept: int
    epochs: int

    @property
    def path(self) -> Path:
        """Where its network is kept."""
        return BUILD / f"{'-'.join(map(str, self.widths))}_{self.kept}_{self.epochs}.pth"


# Around what a few trials with half as many epochs had shown, wide and sparse beating narrow; more
# amounts for the widths that turned out best.
TRIALS = [
    *(
        Trial(widths, kept, EPOCHS)
        for kept in (2_500, 5_500, 2_000)
        for widths in ((12, 24, 24), (12, 32, 32), (8, 24, 32))
    ),
    *(Trial((12, 24, 24), kept, EPOCHS) for kept in (4_000, 1_500)),
]


def distorted(split: lab.Split, copies: int, seed: int = 0) -> lab.Split:
    """Return a split and copies of it, each image turned, stretched, slanted and moved a little."""
    chance, count = torch.Generator().manual_seed(seed), len(split)
    paper, images = split.images.min(), [split.images]

    def within(reach: float) -> torch.Tensor:
        return (2 * torch.rand(count, generator=chance) - 1) * reach

    for _ in range(copies - 1):
        angle, slant = within(math.radians(10)), within(0.15)
        wide, tall = 1 + within(0.12), 1 + within(0.12)
        right, down = within(1 / 7), within(1 / 7)  # of half a picture: up to two pixels
        rows = (
            torch.stack([angle.cos() * wide, slant - angle.sin() * tall, right], 1),
            torch.stack([angle.sin() * wide, angle.cos() * tall, down], 1),
        )
        grid = F.affine_grid(torch.stack(rows, 1), split.images.shape, align_corners=False)
        images.append(F.grid_sample(split.images - paper, grid, align_corners=False) + paper)
    return lab.Split(torch.cat(images), split.labels.repeat(copies))


def read_digits() -> lab.Digits:
    """Return the digits, those to train on with distorted copies."""
    digits = lab.load_mnist()
    return lab.Digits(distorted(digits.train, COPIES), digits.validation, digits.test)


def teacher() -> torch.nn.Module:
    """Return the teacher, trained the first time it is asked for."""
    path = BUILD / "teacher.pth"
    if not path.exists():
        torch.manual_seed(0)
        model = lab.SimpleCNN(TEACHER)
        lab.train(model, read_digits(), TEACHER_EPOCHS)
        lab.save_model(model, path)
    return lab.load_model(path)


def try_out(trial: Trial) -> dict[str, object]:
    """Make one network, keep it, and measure it on the validation images."""
    torch.set_num_threads(1)
    digits = read_digits()
    start, plain = lab.load_pretrained(), digits.train[: len(digits.train) // COPIES]
    shares = zip(start.counted, trial.widths, start.widths, strict=True)
    model = lab.prune_filters(
        start,
        {name: 1 - left / width for name, left, width in shares},
        "taylor",
        calibration=plain[:SCORED],
    )
    weights = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    lab.train_sparse(
        model,
        digits,
        1 - trial.kept / weights,
        end=0.6 * trial.epochs,
        epochs=trial.epochs,
        scope="lamp",
        teacher=teacher(),
        weight_decay=0.0,
        progress=False,
    )
    lab.save_model(model, trial.path)
    quantized = device.quantize_int8(model, plain[:CALIBRATION])
    firmware = device.Firmware(quantized, device.smallest_formats(quantized))
    found = lab.evaluate(quantized, digits.validation)
    return {
        **asdict(trial),
        "widths": " ".join(map(str, trial.widths)),
        "bytes": sum(firmware.constants().values()),
        "validation": found.accuracy,
    }


def search(asked: list[Trial]) -> pd.DataFrame:
    """Run the trials that were not run yet; return all there are."""
    path = FOLDER / "search.csv"
    known = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=KEY)
    done = set(known[KEY].itertuples(index=False, name=None))
    left = [t for t in asked if (" ".join(map(str, t.widths)), t.kept, t.epochs) not in done]
    if left:
        teacher()
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        for future in as_completed([pool.submit(try_out, trial) for trial in left]):
            row = pd.DataFrame([future.result()])
            known = pd.concat([known, row], ignore_index=True) if len(known) else row
            text = known.to_csv(index=False, lineterminator="\n")
            write_whole(path, lambda file, text=text: file.write(text.encode()))
            print(future.result(), flush=True)
    return known


README = """# The smallest networks

`SimpleCNN` with filters removed and weights pruned, made to be int8 on a microcontroller. Load one
with `labutils.device.load_smallest(99.0)`. Bytes are those of the weights in flash, with their
places, biases and scales, each layer in its smallest format. Of the {trials} networks in
[search.csv](search.csv) the smallest was chosen whose validation accuracy as int8 is at least
{margin:.1f} points above what is wanted; the test images were read once, for this table.
(Widths and amounts were narrowed down by earlier trials of half the epochs, judged on validation
too; the test accuracies of two of those, none of the networks here, were seen: 99.35% with 8.9 kB
and 98.98% with 5.0 kB.)

| wanted | widths | weights left | bytes | validation, int8 | test, int8 |
|---|---|---|---|---|---|
{rows}

Made by `make smallest` with PyTorch {torch}, {machine}, in {processes} processes of one thread.
"""


def write_down(chosen: pd.DataFrame, trials: int) -> None:
    """Copy the chosen networks, evaluate them on the test images, and write the README."""
    digits, rows = lab.load_mnist(), []
    for row in chosen.itertuples():
        widths = tuple(map(int, row.widths.split()))
        model = lab.load_model(Trial(widths, row.kept, row.epochs).path)
        lab.save_model(model, FOLDER / f"simple_cnn_{row.wanted}.pth")
        quantized = device.quantize_int8(model, digits.train[:CALIBRATION])
        left = sum(int(layer.weight.count_nonzero()) for layer in quantized.layers)
        rows.append(
            f"| {row.wanted}% | {row.widths} | {left:,} | {row.bytes:,} | {row.validation:.2%} "
            f"| {lab.evaluate(quantized, digits.test)} |"
        )
    text = README.format(
        trials=trials,
        margin=100 * MARGIN,
        rows="\n".join(rows),
        torch=torch.__version__,
        machine=f"{platform.system()} {platform.machine()}",
        processes=PROCESSES,
    )
    (FOLDER / "README.md").write_text(text, encoding="utf-8")
    print(text)


def main() -> None:
    """Search, choose, write down."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--widths", type=int, nargs=3, action="append", help="of trials instead of the usual ones"
    )
    parser.add_argument("--kept", type=int, nargs="+", help="weights that stay, in those trials")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of all copies of the digits")
    given = parser.parse_args()
    asked = TRIALS
    if given.widths and given.kept:
        asked = [Trial(tuple(w), kept, given.epochs) for w in given.widths for kept in given.kept]
    elif given.widths or given.kept:
        parser.error("--widths and --kept belong together")
    for folder in (FOLDER, BUILD):
        folder.mkdir(parents=True, exist_ok=True)
    trials = search(asked)
    chosen = [choose(trials, wanted) for wanted in ACCURACIES]
    write_down(pd.DataFrame(chosen), len(trials))


if __name__ == "__main__":
    main()
