"""Measure, or show what was measured where the lesson was written."""

import io
import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pandas as pd

from labutils.base.writing import write_whole
from labutils.device._extra import PIP_LINE, missing

RESULTS = Path(__file__).parent / "results"
STORING = "EAI_LAB_STORE_RESULTS"  # set where the lessons' outputs are stored again
TOLD = ("torch", "onnxruntime", "ziglang", "unicorn")


def remembered(name: str, measure: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return what `measure` finds; without the extra `[device]`, what was found before, saying so.

    Parameters
    ----------
    name : of the result, as ``"variants"``
    """
    if not isinstance(name, str) or not name.isidentifier() or not callable(measure):
        raise TypeError(f"remembered({name!r:.40}, ...): give a name and a function that measures.")
    path = RESULTS / f"{name}.csv"
    absent = missing()
    if not absent:
        table = measure()
        if os.environ.get(STORING):
            _keep(table, path)
        return table
    if not path.is_file():
        raise FileNotFoundError(f"There is no stored result {name!r}, and {_sorry(absent)}")
    with path.open(encoding="utf-8") as file:
        origin = file.readline().removeprefix("#").strip()
    print(f"Not measured here: {_sorry(absent)} This was measured before, with {origin}.")
    return pd.read_csv(path, comment="#")


def _sorry(absent: list[str]) -> str:
    return f"{', '.join(absent)} cannot be imported; {PIP_LINE} may bring what is missing."


def _keep(table: pd.DataFrame, path: Path) -> None:
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in TOLD)
    text = io.StringIO()
    text.write(f"# {platform.system()} {platform.machine()}, {versions}\n")
    table.to_csv(text, index=False, lineterminator="\n")
    path.parent.mkdir(exist_ok=True)
    write_whole(path, lambda file: file.write(text.getvalue().encode()))
