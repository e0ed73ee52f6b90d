"""Search for the smallest networks that still read 99.5%, 99.3% and 99.0% of the digits.

    make smallest

Two ways to be small, measured alike:

- designed: a few convolutions with pooling between them, down to one pixel. Trained with batch
  norm, then with the rounding to few bits in it.
- pruned: filters taken out of a pretrained SimpleCNN, weights pruned while it is trained on (LAMP
  across the layers), then trained with the same rounding, zeros staying zero.

All are trained on the digits and on distorted copies of them. Each candidate is tried with one
seed; for each accuracy the one with the fewest bytes whose *validation* accuracy lies above it by
a margin gets four more, and the next one if the mean of five falls short. A row for each network
goes into models/smallest/search.csv as soon as it is known: an interrupted search goes on where it
stopped. The test images are read once, at the end, for the networks of those that were chosen.
"""

import argparse
import math
import platform
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, astuple, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import nn

import labutils as lab
from labutils import device
from labutils.base.writing import write_whole
from labutils.device.smallest import ACCURACIES, CANDIDATE, MARGIN, SEEDS, WAYS, choose
from labutils.fit.evaluation import mean_interval

PROJECT = Path(__file__).resolve().parents[1]
FOLDER, BUILD = PROJECT / "models" / "smallest", PROJECT / "build" / "smallest"
PROCESSES, TRIED = 2, 5  # seeds of what is chosen
COPIES = 4  # of the training images: as they are, and distorted


@dataclass(frozen=True)
class Trial:
    """One network to make.

    Attributes
    ----------
    made : "designed" or "pruned"
    widths : channels of each convolution; of a pruned SimpleCNN, those that stay
    kept : weights that stay, if it is pruned, else 0
    bits : of its weights, "8", "4", "2" or "ternary"; or two, the second of the linear layer
    epochs : with real weights, then with rounded ones, of all copies
    """

    made: str
    widths: str
    kept: int
    bits: str
    epochs: str
    seed: int = 0

    @property
    def path(self) -> Path:
        """Where its network is kept."""
        name = "_".join(str(value).replace(" ", "-") for value in asdict(self).values())
        return BUILD / f"{name}.json"


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


def designed(widths: list[int]) -> nn.Sequential:
    """Convolutions of 3 x 3 with pooling between them, down to one pixel."""
    layers: list[nn.Module] = []
    for place, (before, width) in enumerate(zip([1, *widths], widths, strict=False), 1):
        last = place == len(widths)
        layers += [
            nn.Conv2d(before, width, 3, padding=0 if last else 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Flatten() if last else nn.MaxPool2d(2),
        ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], 10))


def start(trial: Trial, digits: lab.Digits) -> nn.Module:
    """Return a trial's network, trained with real weights."""
    widths, epochs = [*map(int, trial.widths.split())], int(trial.epochs.split()[0])
    torch.manual_seed(trial.seed)
    if trial.made == "designed":
        model = designed(widths)
        lab.train(
            model, digits, epochs, trial.seed, learning_rate=0.02, weight_decay=0.0, progress=False
        )
        return model
    whole = lab.load_pretrained(trial.seed)
    shares = zip(whole.counted, widths, whole.widths, strict=True)
    amounts = {name: 1 - left / width for name, left, width in shares}
    model = lab.prune_filters(whole, amounts, "taylor", calibration=digits.train[:2_000])
    weights = sum(layer.weight.numel() for layer in lab.prunable_layers(model).values())
    lab.train_sparse(
        model,
        digits,
        1 - trial.kept / weights,
        end=0.6 * epochs,
        epochs=epochs,
        scope="lamp",
        seed=trial.seed,
        weight_decay=0.0,
        progress=False,
    )
    return model


def try_out(trial: Trial) -> dict[str, object]:
    """Make one network, keep it, and measure it on the validation images."""
    torch.set_num_threads(1)
    digits = lab.load_mnist()
    training = lab.Digits(distorted(digits.train, COPIES), digits.validation, digits.test)
    model, bits = start(trial, training), [int(b) if b.isdigit() else b for b in trial.bits.split()]
    network = device.train_int8(
        model,
        training,
        int(trial.epochs.split()[1]),
        {
            name: bits[-1] if isinstance(layer, nn.Linear) else bits[0]
            for name, layer in lab.prunable_layers(model).items()
        },
        trial.seed,
        progress=False,
    )
    device.save_int8(network, trial.path)
    firmware = device.Firmware(network, device.smallest_formats(network))
    cost = firmware.measure(network.integers(digits.validation.images[0]))
    return {
        **asdict(trial),
        "bytes": cost.weights,
        "instructions": cost.instructions,
        "validation": lab.evaluate(network, digits.validation).accuracy,
    }


def search(asked: list[Trial]) -> pd.DataFrame:
    """Run the trials that were not run yet; return all there are."""
    path, key = FOLDER / "search.csv", [*CANDIDATE, "seed"]
    kinds = {"bits": str, "epochs": str, "widths": str}
    known = pd.read_csv(path, dtype=kinds) if path.exists() else pd.DataFrame(columns=key)
    done = {Trial(*row) for row in known[key].itertuples(index=False, name=None)}
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        futures = [pool.submit(try_out, trial) for trial in asked if trial not in done]
        for future in as_completed(futures):
            row = pd.DataFrame([future.result()])
            known = pd.concat([known, row], ignore_index=True) if len(known) else row
            text = known.to_csv(index=False, lineterminator="\n")
            write_whole(path, lambda file, text=text: file.write(text.encode()))
            print(future.result(), flush=True)
    return known


def settle(trials: pd.DataFrame, way: str, accuracy: float) -> tuple[pd.DataFrame, list[Trial]]:
    """Return all trials, and the five of the smallest candidate whose mean is accurate enough."""
    while True:
        try:
            best = choose(trials[trials["made"] == way], accuracy)
        except ValueError as error:
            print(f"{way}, {accuracy}%: {error}", flush=True)
            return trials, []
        first = Trial(*best[CANDIDATE])
        seeds = [replace(first, seed=seed) for seed in range(TRIED)]
        if best["seeds"] == TRIED:
            return trials, seeds
        trials = search(seeds)


README = """# The smallest networks

Integers of few bits for a microcontroller: `labutils.device.load_smallest(99.0)`. Bytes are those
of flash: weights, with their places, code tables, biases and scales, each layer in its smallest
format; instructions those of a Cortex-M4 for one digit. Of the {trials} networks in
[search.csv](search.csv) the smallest candidate was chosen whose validation accuracy, as the mean
of {tried} seeds, lies at least {margin:.2f} points above what is wanted; only then the test images
were read, for this table. The worst, the median and the best of the seeds, by the test images, are
kept here, as JSON. Epochs are those with real weights, then with rounded ones, of {copies} copies
of the training images, all but one distorted; bytes, instructions and validation are means.

| way | wanted | widths | weights kept | bits | epochs | bytes | instructions | validation \
| test, mean of {tried} seeds | worst, median, best |
|---|---|---|---|---|---|---|---|---|---|---|
{rows}
{missing}
Made by `make smallest` with PyTorch {torch}, {machine}, in {processes} processes of one thread.
"""


def write_down(chosen: dict[tuple[str, float], list[Trial]], trials: pd.DataFrame) -> None:
    """Evaluate the chosen networks on the test images, keep three of each, write the README.

    Networks that were made on another machine are kept as they are, and their row of the README.
    """
    digits, rows, path = lab.load_mnist(), [], FOLDER / "README.md"
    known = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    for (way, wanted), seeds in chosen.items():
        if not seeds:
            continue
        _, widths, kept, bits, epochs, _ = astuple(seeds[0])
        begin = f"| {way} | {wanted}% | {widths} | {kept or 'all'} | {bits} | {epochs} |"
        if not all(trial.path.exists() for trial in seeds):
            if not (row := [line for line in known if line.startswith(begin)]):
                raise FileNotFoundError(
                    f"{BUILD} lacks networks of {seeds[0]}: take the rows of their seeds out of "
                    "search.csv, and they are made again."
                )
            rows += row
            continue
        networks = [device.load_int8(trial.path) for trial in seeds]
        found = [lab.evaluate(network, digits.test).accuracy for network in networks]
        order = sorted(range(len(seeds)), key=found.__getitem__)
        three = dict(zip(SEEDS, (order[0], order[len(order) // 2], order[-1]), strict=True))
        for name, place in three.items():
            device.save_int8(networks[place], FOLDER / f"{way}_{wanted}_{name}.json")
        mine = trials.merge(pd.DataFrame(map(asdict, seeds)))
        mean, low, high = mean_interval(found)
        rows.append(
            f"{begin} {mine['bytes'].mean():,.0f} | {mine['instructions'].mean():,.0f} "
            f"| {mine['validation'].mean():.2%} "
            f"| {mean:.2%} (95% interval {low:.2%} to {high:.2%}) "
            f"| {', '.join(f'{found[place]:.2%}' for place in three.values())} |"
        )
    missing = [f"{way} {wanted}%" for (way, wanted), seeds in chosen.items() if not seeds]
    text = README.format(
        copies=COPIES,
        trials=len(trials),
        tried=TRIED,
        margin=100 * MARGIN,
        rows="\n".join(rows),
        missing=f"\nNo candidate reached: {', '.join(missing)}.\n" if missing else "",
        torch=torch.__version__,
        machine=f"{platform.system()} {platform.machine()}",
        processes=PROCESSES,
    )
    path.write_text(text, encoding="utf-8")
    print(text)


# Narrowed down by some two dozen shorter trials, judged on validation: a teacher, other learning
# rates, digits without distortion, separable convolutions with pooling between, none better.
TRIALS = [
    Trial("designed", "8 16 8 16", 0, "ternary 4", "3 12"),
    Trial("designed", "8 12 12 16", 0, "ternary 4", "2 9"),
    Trial("designed", "8 12 12 16", 0, "ternary 4", "2 30"),
    Trial("designed", "8 16 12 16", 0, "ternary 4", "2 9"),
    Trial("designed", "8 16 16 16", 0, "ternary 4", "2 9"),
    Trial("designed", "8 16 24 32", 0, "ternary 4", "3 12"),
    *(Trial("pruned", "12 24 24", kept, "4", "2 9") for kept in (2_000, 3_000)),
]


def main() -> None:
    """Search, choose, write down."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    for folder in (FOLDER, BUILD):
        folder.mkdir(parents=True, exist_ok=True)
    trials, chosen = search(TRIALS), {}
    for way in WAYS:
        for accuracy in ACCURACIES:
            trials, chosen[way, accuracy] = settle(trials, way, accuracy)
    write_down(chosen, trials)


if __name__ == "__main__":
    main()
