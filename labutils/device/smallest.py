"""The smallest networks of `models/make_smallest.py`: how they are chosen, where they lie."""

import pandas as pd

from labutils.base import given
from labutils.base.files import load_model
from labutils.base.home import lab_home
from labutils.base.networks import SimpleCNN

ACCURACIES = (99.3, 99.0)
MARGIN = 0.001  # by which validation accuracy must lie above them, since choosing flatters


def load_smallest(accuracy: float) -> SimpleCNN:
    """Load the smallest network found that reaches an accuracy.

    Parameters
    ----------
    accuracy : in percent, 99.3 or 99.0

    Raises
    ------
    ValueError
        Another accuracy.
    FileNotFoundError
        The file is missing, as when files of the project or the installation were lost.
    """
    if given.positive(accuracy, "accuracy") not in ACCURACIES:
        raise ValueError(f"accuracy={accuracy!r}: choose {' or '.join(map(str, ACCURACIES))}.")
    return load_model(lab_home(f"models/smallest/simple_cnn_{accuracy}.pth"))


def read_trials() -> pd.DataFrame:
    """Return what the search tried: `widths`, `kept`, `epochs`, `bytes` and `validation`."""
    return pd.read_csv(lab_home("models/smallest/search.csv"))


def choose(trials: pd.DataFrame, accuracy: float, margin: float = MARGIN) -> pd.Series:
    """Return the trial with the fewest bytes that is accurate enough on the validation images.

    Parameters
    ----------
    trials : columns `bytes` and `validation`, in [0, 1]
    accuracy : wanted, in percent
    margin : by which validation accuracy, in [0, 1], must lie above it

    Returns
    -------
    Its row, and what was `wanted`.
    """
    given.numbers(trials, ["bytes", "validation"], "trials")
    if not 1 < given.positive(accuracy, "accuracy") <= 100:
        raise ValueError(f"accuracy={accuracy!r}: give percent, as 99.3.")
    good = trials[trials["validation"] >= accuracy / 100 + given.fraction(margin, "margin")]
    if good.empty:
        raise ValueError(
            f"None of {len(trials)} networks reaches {accuracy}% and a margin of {margin:.2%} (the "
            f"best has {trials['validation'].max():.2%}): try wider ones."
        )
    return pd.concat([good.loc[good["bytes"].idxmin()], pd.Series({"wanted": accuracy})])
