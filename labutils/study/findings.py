"""What does a comparison say? The classic report, the Pareto front, verdicts on claims."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import pandas as pd

from labutils.base import given
from labutils.fit.evaluation import mean_interval
from labutils.study.tables import UNPRUNED

TITLES = {
    "magnitude": "MAGNITUDE-BASED PRUNING",
    "structured": "STRUCTURED PRUNING",
    "random": "RANDOM PRUNING",
}
REPORTED = ["method", "amount", "network", "part", "images", "accuracy", "change", "sparsity"]
REPORTED += ["parameters", "nonzero", "bytes_dense", "bytes_compressed"]


def report(table: pd.DataFrame) -> None:
    """Print what `compare` measured: the original network, then each method by amount.

    With several seeds, the figures are means over them, and the change comes with its 95%
    interval.
    """
    table = given.table(table, REPORTED)
    if "error" in table:
        table = table[table["error"] == ""]
    original = table[table["method"] == UNPRUNED]
    if original.empty:
        raise ValueError("The table has no unpruned network: give a whole table of compare().")
    networks = original["network"].nunique()
    whole = original.mean(numeric_only=True)
    seen = f"{whole['images']:,.0f} {original['part'].iloc[0]} images"
    lines = [
        "ORIGINAL MODEL" + (f" (mean of {networks} networks)" if networks > 1 else ""),
        f"  accuracy    {whole['accuracy']:.2%} on {seen}",
        f"  size        {whole['bytes_dense'] / 1000:.1f} kB",
        f"  parameters  {whole['parameters']:,.0f}, of which {whole['nonzero']:,.0f} are not zero",
    ]
    for method, rows in table[table["method"] != UNPRUNED].groupby("method", sort=False):
        lines += ["", TITLES.get(method, method.upper()), _HEAD]
        lines += [_line(amount, group) for amount, group in rows.groupby("amount", sort=False)]
    print("\n".join(lines))


_HEAD = (
    f"{'amount':>6} {'accuracy':>8} {'change, points':>25} {'sparsity':>8} "
    f"{'non-zero/total':>15} {'size, kB':>8} {'no zeros':>8}"
)


def _line(amount: float, rows: pd.DataFrame) -> str:
    found = rows.mean(numeric_only=True)
    change = f"{found['change']:+.2f}"
    if len(rows) > 1:
        _, low, high = mean_interval(rows["change"])
        change += f" ({low:+.2f} to {high:+.2f})"
    counts = f"{found['nonzero']:,.0f}/{found['parameters']:,.0f}"
    return (
        f"{amount:6.0%} {found['accuracy']:8.2%} {change:>25} {found['sparsity']:8.1%} "
        f"{counts:>15} {found['bytes_dense'] / 1000:8.1f} {found['bytes_compressed'] / 1000:8.1f}"
    )


def paired_latency(table: pd.DataFrame) -> pd.Series:
    """Return milliseconds that can be compared between rows measured at different moments.

    Each network was timed in turn with its unpruned one, so their ratio is sound even where
    the machine was busier for some rows. The milliseconds are that ratio applied to the median
    of the unpruned networks; where there are none, those measured.
    """
    table = given.table(table, ("method", "latency", "speedup"))
    unpruned = table.loc[table["method"] == UNPRUNED, "latency"]
    return table["latency"] if unpruned.empty else unpruned.median() / table["speedup"]


def pareto_front(table: pd.DataFrame, cost: str, worth: str = "accuracy") -> pd.Series:
    """Tell which rows no other row beats: none costs as little or less and is worth more.

    Parameters
    ----------
    cost, worth : columns; the first should be small, the second large

    Returns
    -------
    A boolean for each row. Of rows equal in both, all are on the front or none.

    >>> table = pd.DataFrame({"kB": [1, 2, 3], "accuracy": [0.9, 0.8, 0.95]})
    >>> pareto_front(table, "kB").tolist()
    [True, False, True]
    """
    given.table(table, (cost, worth))
    for column in (cost, worth):
        if not pd.api.types.is_numeric_dtype(table[column]):
            raise TypeError(f"The column {column!r} holds no numbers: choose another.")
    costs, worths = table[cost].to_numpy(), table[worth].to_numpy()
    beaten = [
        bool(((costs <= c) & (worths >= w) & ((costs < c) | (worths > w))).any())
        for c, w in zip(costs, worths, strict=True)
    ]
    known = table[[cost, worth]].notna().all(axis="columns")
    return known & ~pd.Series(beaten, index=table.index, dtype=bool)


@dataclass(frozen=True)
class Verdict:
    """Whether a claim holds.

    Attributes
    ----------
    word : "holds", "does not hold" or "can't tell"
    mean, low, high : of the values it was judged by, and the 95% interval of their mean
    """

    word: str
    mean: float
    low: float
    high: float


def verdict(
    values: Sequence[float], *, at_least: float | None = None, at_most: float | None = None
) -> Verdict:
    """Judge a claim about a mean by values from several seeds.

    It holds where the whole 95% interval is on the right side of the limit, does not hold where
    the whole interval is on the wrong side, and in between these seeds cannot tell.

    Parameters
    ----------
    values : one for each seed, two or more
    at_least, at_most : the limit, fixed before looking; give one of them

    >>> verdict([0.3, 0.4, 0.5], at_least=0.1).word
    'holds'
    """
    limit = at_most if at_least is None else at_least
    if None not in (at_least, at_most) or not isinstance(limit, Real) or not math.isfinite(limit):
        raise ValueError(
            f"at_least={at_least!r}, at_most={at_most!r}: give one limit, a finite number."
        )
    mean, low, high = mean_interval(values)
    above, below = (low >= limit, high < limit) if at_most is None else (high <= limit, low > limit)
    word = "holds" if above else "does not hold" if below else "can't tell"
    return Verdict(word, mean, low, high)
