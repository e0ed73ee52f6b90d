from pathlib import Path

import pytest
from browser import NoBrowserError, chromium

import labutils as lab

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
