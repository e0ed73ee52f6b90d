"""Is this machine ready for the lessons? A row a question, with a remedy for each no."""

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass
from html import escape

import torch
from packaging.requirements import Requirement

from labutils.base.digits import load_mnist
from labutils.base.files import load_pretrained
from labutils.base.home import lab_home

DISTRIBUTION = "eai-pruning-lab"
FREE_DISK = 0.5e9  # bytes: the unpacked digits, the networks and the pages the lessons write


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, what was found, whether that will do, what to do if not."""

    name: str
    found: str
    ok: bool
    remedy: str = ""


class Installation(list[Check]):
    """The rows of `check_installation`, shown in a notebook as a green and red table."""

    @property
    def ok(self) -> bool:
        """Whether every row is green."""
        return all(check.ok for check in self)

    def __str__(self) -> str:
        return "\n".join(
            f"{'ok ' if check.ok else 'NOT'}  {check.name}: {check.found}"
            + (f" -> {check.remedy}" if check.remedy else "")
            for check in self
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            '<tr><td style="color: white; background: '
            + ('#00704F">✓ ok' if check.ok else '#B34700">✗ fix')
            + "</td>"
            + "".join(
                f'<td style="text-align: left">{escape(text)}</td>'
                for text in (check.name, check.found, check.remedy)
            )
            + "</tr>"
            for check in self
        )
        heads = "".join(
            f'<th style="text-align: left">{head}</th>' for head in ("", "what", "found", "to do")
        )
        return f"<table><tr>{heads}</tr>{rows}</table>"


def check_installation() -> Installation:
    """Look at versions, device, threads, data, networks and free disk; change nothing.

    Nothing is raised for what is missing: it becomes a red row with its remedy. (Loading
    the digits unpacks them the first time.)
    """
    return Installation([_python(), *_packages(), _device(), _digits(), _pretrained(), _disk()])


def _python() -> Check:
    return Check(
        "Python",
        platform.python_version(),
        sys.version_info >= (3, 10),
        "" if sys.version_info >= (3, 10) else "install Python 3.10 or newer, then `make lab`",
    )


def _packages() -> list[Check]:
    """Compare the installed versions with what the package asks for."""
    try:
        wanted = importlib.metadata.requires(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        remedy = "in the project's folder, run `make lab` or `pip install -e .`"
        return [Check("labutils", "not installed", ok=False, remedy=remedy)]
    rows = []
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            found = "not installed"
        ok = found != "not installed" and requirement.specifier.contains(found, prereleases=True)
        remedy = "" if ok else f'pip install "{requirement.name}{requirement.specifier}"'
        rows.append(Check(requirement.name, found, ok, remedy))
    return rows


def _device() -> Check:
    device = torch.device("cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else device.type.upper()
    return Check("computes on", f"{name}, {torch.get_num_threads()} CPU threads", ok=True)


def _digits() -> Check:
    try:
        digits = load_mnist()
    except Exception as error:  # whatever it is, it belongs into the table
        return Check("MNIST", type(error).__name__, ok=False, remedy=str(error))
    parts = (len(digits.train), len(digits.validation), len(digits.test))
    found = " + ".join(f"{part:,}" for part in parts) + " digits, verified"
    return Check("MNIST", found, ok=True)


def _pretrained() -> Check:
    try:
        model = load_pretrained()
    except Exception as error:  # whatever it is, it belongs into the table
        return Check("pretrained network", type(error).__name__, ok=False, remedy=str(error))
    return Check("pretrained network", f"SimpleCNN, widths {model.widths}", ok=True)


def _disk() -> Check:
    folder = next(place for place in (lab_home(), *lab_home().parents) if place.is_dir())
    free = shutil.disk_usage(folder).free
    ok = free >= FREE_DISK
    remedy = "" if ok else f"free {FREE_DISK / 1e9:.1f} GB on the disk that holds {folder}"
    return Check("free disk", f"{free / 1e9:.1f} GB", ok, remedy)
