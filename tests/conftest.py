from pathlib import Path

import pytest
from browser import NoBrowserError, chromium

import labutils as lab

PROJECT = Path(__file__).resolve().parents[1]


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
