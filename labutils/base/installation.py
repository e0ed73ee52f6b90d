"""Is this machine ready for the lessons? A row a question, with a remedy for each no."""

import importlib.metadata
import platform
import shutil
from collections.abc import Callable

import pandas as pd
import torch
from packaging.requirements import Requirement

from labutils.base.digits import load_mnist
from labutils.base.files import load_pretrained
from labutils.base.home import DISTRIBUTION, lab_home

FREE_DISK = 0.5e9  # bytes: the unpacked digits, the networks and the pages the lessons write
GREEN, RED = "#00704F", "#B34700"
Row = tuple[str, str, str]  # what was looked at, what was found, what to do if that will not do


def check_installation() -> "pd.io.formats.style.Styler":
    """Look at versions, device, threads, data, networks and free disk; change nothing.

    Nothing is raised for what is missing: it becomes a red row with its remedy. (Loading
    the digits unpacks them the first time.)

    Returns
    -------
    A table shown in green and red; its ``data`` is the plain table, with `ok` True or False.
    """
    rows = [
        ("Python", platform.python_version(), ""),  # an older one than 3.10 does not get here
        *_packages(),
        ("computes on", _processors(), ""),
        _answer("MNIST", lambda: f"{' + '.join(_counts())} digits, verified"),
        _answer("pretrained network", lambda: f"SimpleCNN, widths {load_pretrained().widths}"),
        _answer("free disk", _disk),
    ]
    table = pd.DataFrame(rows, columns=["what", "found", "to do"])
    table.insert(0, "ok", table["to do"] == "")
    return (
        table.style.hide(axis="index")
        .format({"ok": lambda ok: "✓ ok" if ok else "✗ fix"}, escape="html")
        .map(lambda ok: f"color: white; background: {GREEN if ok else RED}", subset="ok")
        .set_table_styles([{"selector": "th, td", "props": "text-align: left"}])
        .set_uuid("installation")
    )


def _packages() -> list[Row]:
    """Compare the installed versions with what the package asks for."""
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        remedy = "in the project's folder, run `python start.py` or `pip install .`"
        return [("labutils", "not installed", remedy)]
    rows = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
            fits = requirement.specifier.contains(found, prereleases=True)
        except importlib.metadata.PackageNotFoundError:
            found, fits = "not installed", False
        remedy = "" if fits else f'pip install "{requirement.name}{requirement.specifier}"'
        rows.append((requirement.name, found, remedy))
    return rows


def _processors() -> str:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    gpu = "".join(f'; with device="{kind}" on the GPU' for kind, found in there.items() if found)
    return f"CPU, {torch.get_num_threads()} threads{gpu}"


def _answer(what: str, question: Callable[[], str]) -> Row:
    """Ask a question that raises an error where the answer is no: its message is the remedy."""
    try:
        return what, question(), ""
    except Exception as error:  # whatever it is, it belongs into the table
        return what, type(error).__name__, str(error) or "ask for help"


def _counts() -> list[str]:
    return [f"{len(split):,}" for split in vars(load_mnist()).values()]


def _disk() -> str:
    folder = next(place for place in (lab_home(), *lab_home().parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    if free < FREE_DISK:
        raise OSError(
            f"{free / 1e9:.1f} GB are left: free {FREE_DISK / 1e9:.1f} GB on the disk that "
            f"holds {folder}"
        )
    return f"{free / 1e9:.1f} GB"
