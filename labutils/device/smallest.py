"""The smallest networks of `models/make_smallest.py`: how they are chosen, where they lie."""

import pandas as pd

from labutils.base import given
from labutils.base.home import lab_home
from labutils.device.files import load_int8
from labutils.device.quantization import Int8Network

ACCURACIES = (99.5, 99.3, 99.0)
SEEDS = ("worst", "median", "best")
WAYS = ("designed", "pruned")
CANDIDATE = ["made", "widths", "kept", "bits", "epochs"]
MARGIN = 0.001  # by which validation accuracy must lie above them, since choosing flatters


def load_smallest(accuracy: float, seed: str = "median", made: str = "designed") -> Int8Network:
    """Load the smallest network found that reaches an accuracy, in int8 or fewer bits.

    Parameters
    ----------
    accuracy : in percent, 99.5, 99.3 or 99.0
    seed : of five seeds that one which read the most test images, or the fewest, or the median:
        "best", "worst" or "median"
    made : "designed" small from the start, or "pruned": filters and weights taken from a SimpleCNN

    Raises
    ------
    ValueError
        Another accuracy, seed or way.
    FileNotFoundError
        The file is missing, as when files of the project or the installation were lost.
    """
    given.choice(seed, "seed", SEEDS)
    given.choice(made, "made", WAYS)
    if given.positive(accuracy, "accuracy") not in ACCURACIES:
        raise ValueError(f"accuracy={accuracy!r}: choose {' or '.join(map(str, ACCURACIES))}.")
    return load_int8(lab_home(f"models/smallest/{made}_{accuracy}_{seed}.json"))


def read_trials() -> pd.DataFrame:
    """Return what the search tried, a row for each network.

    Columns: `made`, `widths`, `kept`, `bits`, `epochs` and `seed` say what was tried; `bytes`,
    `instructions` (on a Cortex-M4) and `validation` what it came to.
    """
    return pd.read_csv(lab_home("models/smallest/search.csv"))


def choose(
    trials: pd.DataFrame, accuracy: float, margin: float = MARGIN, seeds: int = 1
) -> pd.Series:
    """Return the candidate with the fewest bytes that is accurate enough on the validation images.

    Parameters
    ----------
    trials : as `read_trials` returns them
    accuracy : wanted, in percent
    margin : by which the mean validation accuracy over all seeds, in [0, 1], must lie above it
    seeds : of how many at least

    Returns
    -------
    What the candidate is, the means of `bytes` and `validation`, how many `seeds`, and what was
    `wanted`.
    """
    given.table(trials, CANDIDATE, "trials")
    given.numbers(trials, ["bytes", "validation"], "trials")
    if not 1 < given.positive(accuracy, "accuracy") <= 100:
        raise ValueError(f"accuracy={accuracy!r}: give percent, as 99.3.")
    found = trials.groupby(CANDIDATE, sort=False, dropna=False).agg(
        bytes=("bytes", "mean"), validation=("validation", "mean"), seeds=("validation", "size")
    )
    found = found[found["seeds"] >= given.whole(seeds, "seeds")].reset_index()
    bound = accuracy / 100 + given.fraction(margin, "margin")
    good = found[found["validation"].round(6) >= round(bound, 6)]  # however the sum was rounded
    if good.empty:
        raise ValueError(
            f"None of {len(found)} candidates reaches {accuracy}% and a margin of {margin:.2%} "
            f"(the best has {found['validation'].max():.2%}): try wider ones."
        )
    return pd.concat([good.loc[good["bytes"].idxmin()], pd.Series({"wanted": accuracy})])
