"""Which boards are there to fit on, and does a firmware fit?"""

from collections.abc import Mapping
from dataclasses import dataclass

from labutils.base import given


@dataclass(frozen=True)
class Board:
    """A board, by its maker's page and the data sheet of its microcontroller.

    Attributes
    ----------
    name : of the board, its microcontroller in brackets
    processor : which of `emulator.PROCESSORS` it has
    flash, ram : bytes
    clock : MHz
    """

    name: str
    processor: str
    flash: int
    ram: int
    clock: int


BOARDS = {
    short: Board(name, processor, flash * 1024, ram * 1024, clock)
    for short, name, processor, flash, ram, clock in (
        ("L011", "ST Nucleo-L011K4 (STM32L011K4)", "Cortex-M0+", 16, 2, 32),
        ("L031", "ST Nucleo-L031K6 (STM32L031K6)", "Cortex-M0+", 32, 8, 32),
        ("G031", "ST Nucleo-G031K8 (STM32G031K8)", "Cortex-M0+", 64, 8, 64),
        ("Zero", "Arduino Zero (SAMD21G18)", "Cortex-M0+", 256, 32, 48),
        ("Pico", "Raspberry Pi Pico (RP2040)", "Cortex-M0+", 2048, 264, 133),
        ("L432", "ST Nucleo-L432KC (STM32L432KC)", "Cortex-M4F", 256, 64, 80),
        ("micro:bit", "BBC micro:bit v2 (nRF52833)", "Cortex-M4F", 512, 128, 64),
        ("Nano 33", "Arduino Nano 33 BLE (nRF52840)", "Cortex-M4F", 1024, 256, 64),
        ("Teensy", "PJRC Teensy 4.0 (i.MX RT1062)", "Cortex-M7", 1984, 1024, 600),
    )
}  # fmt: skip


def check_board(name: str) -> Board:
    """Return a board by its short name, refusing one that is not in the table."""
    return BOARDS[given.choice(name, "board", BOARDS)]


def check_fit(board: Board, needs: Mapping[str, int], largest: Mapping[str, str]) -> None:
    """Refuse a firmware that is too large for a board, saying by how much.

    Parameters
    ----------
    needs : bytes of "flash" and of "RAM", the stack included
    largest : what takes most of each, in words
    """
    short = [
        f"{needs[kind]:,} bytes of {kind} where there are {have:,}, {needs[kind] - have:,} too "
        f"many (most for {largest[kind]})"
        for kind, have in (("flash", board.flash), ("RAM", board.ram))
        if needs[kind] > have
    ]
    if short:
        raise ValueError(
            f"This network does not fit the {board.name}: it needs {' and '.join(short)}. Remove "
            "filters, quantize it, or choose a larger board."
        )
