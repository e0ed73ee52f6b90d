"""Which boards are there to fit on?"""

from dataclasses import dataclass


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
