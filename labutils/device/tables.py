"""What do networks cost on a device, in one table?"""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from torch import nn
from tqdm import tqdm

from labutils.base import given
from labutils.base.digits import Split
from labutils.device.boards import BOARDS, Board
from labutils.device.packing import FORMATS
from labutils.device.quantization import Int8Network, quantize_int8
from labutils.device.source import check_network
from labutils.fit.evaluation import Evaluation, evaluate
from labutils.fit.training import BAR
from labutils.prune.weights import prune_magnitude

if TYPE_CHECKING:
    from labutils.device.firmware import Footprint

COMPARED = ("conv2", "fc1")  # the layers whose formats are compared
DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Variant(NamedTuple):
    """A network, and how its layers are packed; dense where not named."""

    network: nn.Module
    formats: Mapping[str, str] = {}


def check_variants(variants: Mapping[str, Variant]) -> dict[str, Variant]:
    """Return at least one variant of networks that can become firmware, by name."""
    for name, variant in given.named(variants, "variants", "{'dense': Variant(model)}").items():
        if not isinstance(variant, Variant):
            raise TypeError(
                f"variants[{name!r}] is a {type(variant).__name__}: give device.Variant(network)."
            )
        check_network(variant.network)
    return dict(variants)


def firmware_table(
    variants: Mapping[str, Variant],
    split: Split,
    board: str = "micro:bit",
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Compile every variant, run one image through it, and count.

    Parameters
    ----------
    variants : by name
    split : on which the networks are evaluated, by PyTorch; the firmware gives the same answers.
        Its first image is the one that is counted
    board : gives processor and clock. What does not fit it is measured all the same

    Returns
    -------
    Table with a row for each variant: `variant`; `accuracy`, `low`, `high`, in [0, 1];
    `weights`, `flash`, `ram` (stack included) in bytes; `instructions` for one image, in all and
    by layer; `ms`, what they take at the least, with one cycle each; `fits`.
    """
    from labutils.device.firmware import Firmware  # needs the extra, which this module does not

    variants, rows, answered = check_variants(variants), [], {}
    machine = BOARDS[given.choice(board, "board", BOARDS)]
    image = given.split(split).images[0]
    for name, (network, formats) in tqdm(
        variants.items(), disable=not progress, bar_format=BAR, file=sys.stdout, desc=f"{board} "
    ):
        firmware = Firmware(network, formats, machine.processor)
        is_int8 = isinstance(network, Int8Network)
        cost = firmware.measure(network.integers(image) if is_int8 else image.float())
        if id(network) not in answered:  # several variants may store one network
            answered[id(network)] = evaluate(network, split)
        rows.append({"variant": name, **_figures(answered[id(network)], cost, machine)})
    return pd.DataFrame(rows)


def _figures(answered: Evaluation, cost: "Footprint", machine: Board) -> dict[str, object]:
    """Return the figures of one row."""
    ram = cost.ram + cost.stack
    return {
        "accuracy": answered.accuracy,
        "low": answered.interval[0],
        "high": answered.interval[1],
        "weights": cost.weights,
        "flash": cost.flash,
        "ram": ram,
        "instructions": cost.instructions,
        "ms": cost.instructions / (machine.clock * 1e3),
        "fits": cost.flash <= machine.flash and ram <= machine.ram,
        **cost.by_layer,
    }


def format_table(
    model: nn.Module,
    calibration: Split,
    densities: Sequence[float] = DENSITIES,
    *,
    progress: bool = True,
) -> pd.DataFrame:
    """Prune conv2 and fc1 to several densities, pack them in every format, compile and count.

    Parameters
    ----------
    model : trained or not: only the places of the zeros matter
    calibration : training images for `quantize_int8`
    densities : shares of their weights that stay when they are pruned

    Returns
    -------
    Table with the columns `layer`; `density`, the share of int8 weights that are not zero, a
    little less since the smallest ones round to zero; `format`; and of that layer alone `bytes`
    in flash and `instructions` for one image on a Cortex-M4F.
    """
    from labutils.device.firmware import Firmware

    given.network(model)
    rows, image = [], given.split(calibration, "calibration").images[0]
    if isinstance(densities, str) or not isinstance(densities, Sequence) or not densities:
        raise TypeError(f"densities={densities!r:.60}: give a list with at least one share.")
    shares = [given.fraction(d, "densities", "the share that stays") for d in densities]
    with tqdm(
        total=len(shares) * len(FORMATS), disable=not progress, bar_format=BAR, file=sys.stdout
    ) as bar:
        for density in shares:
            pruned = prune_magnitude(model, dict.fromkeys(COMPARED, 1 - density))
            network = quantize_int8(pruned, calibration)
            weights = {layer.name: layer.weight for layer in network.layers}
            for kind in FORMATS:
                firmware = Firmware(network, dict.fromkeys(COMPARED, kind))
                cost = firmware.measure(network.integers(image))
                rows += [
                    {
                        "layer": layer,
                        "density": float((weights[layer] != 0).float().mean()),
                        "format": kind,
                        "bytes": firmware.constants()[layer],
                        "instructions": cost.by_layer[layer],
                    }
                    for layer in COMPARED
                ]
                bar.update()
    return pd.DataFrame(rows)


def break_even(table: pd.DataFrame) -> pd.DataFrame:
    """Return below which density a format beats dense rows, in bytes and in instructions.

    Parameters
    ----------
    table : what `format_table` returns

    Returns
    -------
    Table with a row for each layer and format, and the densities `bytes` and `instructions`,
    interpolated between those measured: 0 where dense rows always win, 1 where never.
    """
    rows = []
    for layer, of_layer in check_formats_table(table).groupby("layer", sort=False):
        wide = of_layer.pivot(index="density", columns="format").sort_index()
        for kind in FORMATS[1:]:
            found = {
                what: _crossing(wide[what][kind] - wide[what]["dense"])
                for what in ("bytes", "instructions")
            }
            rows.append({"layer": layer, "format": kind, **found})
    return pd.DataFrame(rows)


def check_formats_table(table: pd.DataFrame) -> pd.DataFrame:
    """Refuse a table that `format_table` cannot have returned."""
    given.table(table, ["layer", "format"])
    given.numbers(table, ["density", "bytes", "instructions"])
    if missing := set(FORMATS) - set(table["format"]):
        raise ValueError(f"table has no rows of the format {', '.join(sorted(missing))}.")
    return table


def _crossing(excess: pd.Series) -> float:
    """Return where a rising curve over densities crosses zero."""
    above = excess > 0
    if not above.any():
        return 1.0
    first = above.to_numpy().argmax()
    if first == 0:
        return 0.0
    (left, low), (right, high) = excess.iloc[first - 1 : first + 1].items()
    return float(left + (right - left) * -low / (high - low))
