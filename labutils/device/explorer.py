"""One digit on two machines: the emulated microcontroller's logits beside the laptop's."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import ipywidgets
import torch
from torch import Tensor

from labutils.base import given
from labutils.base.digits import Digits, Split
from labutils.device.boards import BOARDS, Board
from labutils.device.pad import SIDE, Pad, as_digit
from labutils.device.quantization import Int8Network
from labutils.device.tables import Variant, check_variants
from labutils.look.svg import digit_png
from labutils.look.widgets import Controls, control

PICK, DRAW = "pick a test image", "draw a digit"
DEVICE, LAPTOP = "#0072B2", "#E69F00"
TIGHT = "padding: 0 6px; line-height: 1.4"  # of cells, which JupyterLab spaces widely
CLOSE = 1e-4  # how far apart real logits may lie


@dataclass(frozen=True)
class Answer:
    """What two machines make of one image, 1 x 28 x 28: ten logits each, int32 sums or float32."""

    image: Tensor
    label: int | None  # what it shows, if that is known
    laptop: Tensor
    device: Tensor | None  # none without the extra
    cost: str  # in words, what the device's took


def device_explorer(
    variants: Mapping[str, Variant], digits: Digits, board: str = "micro:bit"
) -> "DeviceExplorer":
    """Make a slider over networks that read a digit on the laptop and on a microcontroller.

    Parameters
    ----------
    variants : by name, as for `firmware_table`; compiled when they are first chosen
    digits : test images are picked from them
    board : gives processor and clock

    Returns
    -------
    A widget; as the last line of a cell it is displayed. ``.variant``, ``.source`` and
    ``.number`` are its controls, ``.pad`` the field to draw in, ``.answer`` what it shows.
    """
    test = given.split(given.digits(digits).test, "digits.test")
    machine = BOARDS[given.choice(board, "board", BOARDS)]
    return DeviceExplorer(check_variants(variants), test, machine)


class DeviceExplorer(Controls):
    """The widget of `device_explorer`."""

    what = "Controls for one digit on two machines"

    def __init__(self, variants: dict[str, Variant], split: Split, board: Board) -> None:
        super().__init__("lab-device-page")
        self.variants, self.split, self.board = variants, split, board
        self.compiled: dict[str, object] = {}
        self.variant = control(ipywidgets.SelectionSlider, "network", options=list(variants))
        self.source = ipywidgets.ToggleButtons(options=[PICK, DRAW], description="")
        self.number = control(ipywidgets.IntSlider, "test image", max=len(split) - 1)
        self.clear = ipywidgets.Button(description="Clear", layout={"width": "90px"})
        self.pad = Pad()
        self.pad.observe(lambda _change: self._answer(), "pixels")
        self.drawing = ipywidgets.HBox([self.pad, self.clear])
        for moved in (self.variant, self.source, self.number):
            moved.observe(lambda _change: self._answer(), "value")
        self.clear.on_click(lambda _button: self.pad.clear())
        self._answer()
        self.children = (self.variant, self.source, self.number, self.drawing, self.page)

    @property
    def image(self) -> tuple[Tensor, int | None]:
        """The image to read, and its label if it has one."""
        if self.source.value == PICK:
            return self.split.images[self.number.value], int(self.split.labels[self.number.value])
        return as_digit(self.pad.pixels or bytes(SIDE * SIDE)), None

    def _answer(self) -> None:
        """Let both machines read the image and show what they say."""
        drawing = self.source.value == DRAW
        self.number.layout.display = "none" if drawing else ""
        self.drawing.layout.display = "" if drawing else "none"
        with self.errors_shown():
            self.answer = self._ask(self.variant.value, *self.image)
            self.page.value = page(self.answer)

    def _ask(self, name: str, image: Tensor, label: int | None) -> Answer:
        network = self.variants[name].network
        if isinstance(network, Int8Network):
            read = network.integers(image)
            laptop = network.sums(read[None])[0]
        else:
            read = image.float()
            with torch.inference_mode():
                laptop = copy.deepcopy(network).cpu().float()(read[None])[0]
        try:
            from labutils.device.firmware import Firmware  # needs the extra

            if name not in self.compiled:
                self.compiled[name] = Firmware(*self.variants[name], self.board.processor)
        except ModuleNotFoundError as error:
            return Answer(image, label, laptop, None, str(error))
        firmware = self.compiled[name]
        cost = firmware.measure(read)
        words = (
            f"{cost.instructions:,} instructions, at least "
            f"{cost.instructions / (self.board.clock * 1e3):.1f} ms at {self.board.clock} MHz, "
            f"{cost.flash:,} bytes of flash"
        )
        return Answer(image, label, laptop, firmware.logits(read[None])[0], words)


def page(answer: Answer) -> str:
    """Return the answers as HTML: a row for each digit, and what it comes to."""
    logits = {"laptop": answer.laptop}
    if answer.device is not None:
        logits = {"microcontroller": answer.device, **logits}
    reach = max(float(values.abs().max()) for values in logits.values()) or 1.0
    head = "".join(f'<th style="{TIGHT}" colspan="2">{name}</th>' for name in logits)
    rows = "".join(
        f'<tr><th style="{TIGHT}">{digit}</th>'
        + "".join(_cells(values, digit, reach, name) for name, values in logits.items())
        + "</tr>"
        for digit in range(10)
    )
    known = "" if answer.label is None else f" (it is a {answer.label})"
    return (
        '<div style="display: flex; flex-wrap: wrap; gap: 16px; align-items: center; '
        'color: var(--jp-ui-font-color1, black)">'
        f'<img alt="the image that is read" src="{digit_png(answer.image)}" '
        'style="width: 140px; image-rendering: pixelated; border: 1px solid gray">'
        f'<table style="font-variant-numeric: tabular-nums"><tr><th style="{TIGHT}">digit</th>'
        f"{head}</tr>{rows}</table>"
        f'<div style="max-width: 320px" aria-live="polite">{_verdict(answer)}{known}<br>'
        f"{escape(answer.cost)}</div></div>"
    )


def _cells(values: Tensor, digit: int, reach: float, name: str) -> str:
    """Write one logit, and a bar of its size that grows to the right from a middle line."""
    value = values[digit].item()
    text = f"{value:,}" if isinstance(value, int) else f"{value:.5f}"
    strong = int(values.argmax()) == digit
    width, colour = 40 * abs(value) / reach, DEVICE if name == "microcontroller" else LAPTOP
    x = 40 if value >= 0 else 40 - width
    return (
        f'<td style="{TIGHT}; text-align: right" data-logit="{name}-{digit}">'
        f"{'<b>' if strong else ''}{text}{'</b>' if strong else ''}</td>"
        f'<td style="{TIGHT}"><svg width="82" height="10" aria-hidden="true">'
        f'<rect x="{x:.1f}" y="0" width="{width:.1f}" height="10" fill="{colour}"/>'
        '<line x1="40" x2="40" y1="0" y2="10" stroke="gray"/></svg></td>'
    )


def _verdict(answer: Answer) -> str:
    read = int(answer.laptop.argmax())
    if answer.device is None:
        return f'The laptop reads a <b data-figure="read">{read}</b>'
    if torch.equal(answer.device, answer.laptop):
        same = "bit for bit the same"
    else:
        apart = float((answer.device - answer.laptop).abs().max())
        word = "the same" if apart <= CLOSE else "NOT the same"
        same = f"{word} to {apart:.1g} (real numbers are rounded in another order)"
    return (
        f'The microcontroller reads a <b data-figure="read">{int(answer.device.argmax())}</b>, '
        f'the laptop a <b>{read}</b>; the logits are <span data-figure="same">{same}</span>'
    )
