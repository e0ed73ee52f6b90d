import importlib
import sys
from pathlib import Path

import pytest
from browser import NoBrowserError, chromium

import labutils as lab
from labutils import device

PROJECT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that no worker is left with one at the end."""
    long = {i.path for i in items if i.get_closest_marker("slow") or i.path.suffix == ".ipynb"}
    items.sort(key=lambda i: (not i.get_closest_marker("browser"), i.path not in long))


@pytest.fixture(scope="session")
def digits() -> lab.Digits:
    return lab.load_mnist()


@pytest.fixture(scope="session")
def few_digits(digits: lab.Digits) -> lab.Digits:
    """Enough to train on for a second."""
    return lab.Digits(digits.train[:2560], digits.validation[:500], digits.test[:500])


@pytest.fixture
def model() -> lab.SimpleCNN:
    return lab.load_pretrained(0)


@pytest.fixture(scope="module")
def browser():
    try:
        with chromium() as browser:
            yield browser
    except NoBrowserError as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def calibration(digits) -> lab.Split:
    return digits.train[:500]


@pytest.fixture(scope="session")
def quantized(calibration):
    return device.quantize_int8(lab.load_pretrained(), calibration)


@pytest.fixture(scope="session")
def quantized_small(calibration):
    """Quick to run on the emulator."""
    return device.quantize_int8(lab.prune_filters(lab.load_pretrained(), 0.8), calibration)


@pytest.fixture
def without(monkeypatch):
    """Make a package impossible to import, also for modules of the device room."""

    def take_away(package: str, *modules: str) -> None:
        for module in modules:
            importlib.import_module(f"labutils.device.{module}")
            monkeypatch.delitem(sys.modules, f"labutils.device.{module}")
        monkeypatch.setitem(sys.modules, package, None)

    return take_away
