"""The marks the widgets' small pictures are drawn with: SVG, one string a mark.

SVG rather than matplotlib: a page is written in a millisecond, stays sharp when zoomed, and
takes the colours of JupyterLab's theme.
"""

import base64
import io
from collections.abc import Iterable
from html import escape

import matplotlib.image
from torch import Tensor

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320, 200, 46, 8, 26, 34
INNER_WIDTH, INNER_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def picture(title: str, alt: str, marks: Iterable[str]) -> str:
    """Put marks under a title; `alt` says what the picture shows."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(alt)}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="flex: 1 1 260px; min-width: 240px; max-width: 420px" '
        f'font-size="11" font-family="sans-serif" fill="currentColor">'
        f'<text x="{LEFT}" y="14" font-weight="bold">{escape(title)}</text>'
        + "".join(marks)
        + "</svg>"
    )


def line(
    x1: float, y1: float, x2: float, y2: float, colour: str, dashes: str = "", width: float = 1
) -> str:
    """Draw a straight line."""
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{dash}/>'
    )


def text(x: float, y: float, words: str, anchor: str = "middle", more: str = "") -> str:
    """Write words whose middle, start or end is at (x, y)."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def as_image(drawn: str) -> str:
    """Return a picture as an image, for viewers that show no SVG of a page."""
    data = base64.b64encode(drawn.encode()).decode()
    alt = drawn.split('aria-label="', 1)[1].split('"', 1)[0]
    return (
        f'<img alt="{alt}" width="{WIDTH}" style="background: white" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def curve(points: Iterable[tuple[float, float]], colour: str, dashes: str = "") -> str:
    """Draw a line through points."""
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def digit_png(image: Tensor) -> str:
    """Return an image 1 x 28 x 28 as a data address, ink on paper."""
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, image.numpy()[0], cmap="gray_r")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
