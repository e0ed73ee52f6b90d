"""A field to draw a digit in, and what makes MNIST's kind of image of it."""

from pathlib import Path

import anywidget
import torch
import torch.nn.functional as F
import traitlets
from torch import Tensor

from labutils.base.digits import PIXEL_MEAN, PIXEL_STD

SIDE = 112  # of the field, in pixels, as in pad.js
IMAGE, INNER = 28, 20  # MNIST's digits fit a square of 20 and are centred by mass in one of 28


class Pad(anywidget.AnyWidget):
    """The field. ``pixels`` holds what was drawn as bytes, row by row; empty if nothing."""

    _esm = Path(__file__).with_name("pad.js")
    pixels = traitlets.Bytes(b"").tag(sync=True, from_json=lambda sent, _pad: bytes(sent))
    cleared = traitlets.Int(0).tag(sync=True)  # how often: a change tells the page to wipe

    def clear(self) -> None:
        """Wipe the field."""
        self.cleared += 1
        self.pixels = b""


def as_digit(pixels: bytes) -> Tensor:
    """Return what was drawn the way MNIST's images were made (LeCun et al. 1998).

    The drawing is shrunk so that its longer side is 20 pixels, then its centre of mass is put
    in the middle of 28 x 28.

    Parameters
    ----------
    pixels : 112 x 112 bytes, 0 for the ground and 255 for the pen

    Returns
    -------
    An image 1 x 28 x 28, normalised as `load_mnist` does.
    """
    if not isinstance(pixels, (bytes, bytearray)):
        raise TypeError(f"The drawing is a {type(pixels).__name__}: give {SIDE} x {SIDE} bytes.")
    if len(pixels) != SIDE * SIDE:
        raise ValueError(f"The drawing has {len(pixels)} bytes: {SIDE} x {SIDE} are expected.")
    drawn = torch.frombuffer(bytearray(pixels), dtype=torch.uint8).view(SIDE, SIDE) / 255
    image = torch.zeros(IMAGE, IMAGE)
    rows, columns = (drawn.amax(axis).nonzero().flatten() for axis in (1, 0))
    if len(rows):
        part = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        scale = INNER / max(part.shape)
        size = [max(1, round(length * scale)) for length in part.shape]
        small = F.interpolate(part[None, None], size, mode="bilinear", antialias=True)[0, 0]
        top, left = (_start(small.sum(axis)) for axis in (1, 0))
        image[top : top + size[0], left : left + size[1]] = small.clamp(0, 1)
    return ((image - PIXEL_MEAN) / PIXEL_STD)[None]


def _start(mass: Tensor) -> int:
    """Return where a strip must begin for its centre of mass to lie in the image's middle."""
    middle = float((mass * torch.arange(len(mass))).sum() / mass.sum())
    return min(max(round((IMAGE - 1) / 2 - middle), 0), IMAGE - len(mass))
