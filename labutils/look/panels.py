"""The explorer's page: pure functions from a `View` to HTML with small SVG pictures."""

import base64
import functools
import io

import matplotlib.image
import numpy as np
from torch import Tensor

from labutils.base.digits import PIXEL_MEAN, PIXEL_STD, Split
from labutils.look.svg import (
    HALO,
    HEIGHT,
    INNER_HEIGHT,
    INNER_WIDTH,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    as_image,
    bar,
    curve,
    line,
    picture,
    text,
)
from labutils.look.views import Histogram, Slimming, View, label_bytes

KEPT, REMOVED, POINT, BESIDE = "#0072B2", "#E69F00", "#D55E00", "#009E73"


def page(view: View, examples: Split) -> str:
    """Return the whole page for one setting."""
    pictures = "".join(_pictures(view))
    return (
        '<div class="lab-explorer" style="color: var(--jp-ui-font-color1, black)">'
        f'{_figures(view)}<div style="display: flex; flex-wrap: wrap; gap: 8px">{pictures}</div>'
        f"{_digits(view, examples)}</div>"
    )


def snapshot(view: View, examples: Split) -> str:
    """Return the page for print and for viewers without widgets: its pictures are images."""
    images = "".join(as_image(drawn) for drawn in _pictures(view))
    return f"<div>{_figures(view)}<div>{images}</div>{_digits(view, examples)}</div>"


def _pictures(view: View) -> tuple[str, ...]:
    """Draw what is shown of this kind of pruning."""
    if isinstance(view.detail, Slimming):
        return _network(view), _costs(view), _curve(view)
    return _histogram(view.detail), _layers(view), _curve(view)


def _figures(view: View) -> str:
    """Say in words and numbers what the network still does and what it costs."""
    low, high = view.evaluation.interval
    change = (view.evaluation.accuracy - view.dense.accuracy) * 100
    basis = "all" if view.exact else "estimate from"
    rows = {
        "accuracy": f'<b data-figure="accuracy">{view.evaluation.accuracy:.2%}</b> '
        f"({low:.2%} to {high:.2%}; {basis} {view.evaluation.total:,} images)",
        "unpruned": f"{view.dense.accuracy:.2%} "
        f'(change <span data-figure="change">{change:+.2f}</span> points)',
        **(_slim_rows(view) if isinstance(view.detail, Slimming) else _zero_rows(view)),
    }
    if view.goal:
        rows["goal"] = f'<b data-figure="goal">{view.goal}</b>'
    cells = "".join(
        f'<div style="opacity: 0.75">{name}</div><div>{text}</div>' for name, text in rows.items()
    )
    style = "display: grid; grid-template-columns: max-content 1fr; gap: 0 12px; line-height: 1.5"
    return f'<div style="{style}" aria-live="polite">{cells}</div>'


def _zero_rows(view: View) -> dict[str, str]:
    """Say what is zero."""
    return {
        "sparsity": f'<span data-figure="sparsity">{view.removed:.1%}</span> of the weights are 0',
        "parameters": f'<span data-figure="nonzero">{view.nonzero:,}</span> of '
        f"{view.parameters:,} are not 0",
        "bytes": f"{label_bytes(view.bytes_dense)} as it is; without the zeros "
        f'<span data-figure="bytes">{label_bytes(view.bytes_pruned)}</span>, indices included',
    }


def _slim_rows(view: View) -> dict[str, str]:
    """Say what is gone, and what that saves."""
    slim = view.detail
    left = ", ".join(str(width) for width, _ in slim.widths.values())
    rows = {
        "filters": f'<span data-figure="removed">{view.removed:.1%}</span> are gone; left are '
        f'<span data-figure="widths">{left}</span>',
        "parameters": f'<span data-figure="nonzero">{view.nonzero:,}</span> of {view.parameters:,}',
        "bytes": f'<span data-figure="bytes">{label_bytes(view.bytes_pruned)}</span> of '
        f"{label_bytes(view.bytes_dense)}",
        "MACs": f'<span data-figure="macs">{slim.macs:,}</span> of {slim.macs_dense:,} '
        f"for one image: {slim.macs_dense / slim.macs:.1f} times fewer",
    }
    times = [
        f'{"one image" if batch == 1 else f"{batch} images"} <span data-figure="time{batch}">'
        f"{now:.3g} ms</span>, {before / now:.1f} times faster"
        for batch, (now, before) in slim.times.items()
    ]
    return {**rows, "time": "; ".join(times)}


def _network(view: View) -> str:
    """Draw each layer as it was (dashed) and as it is.

    Pictures are blocks, as high as the pictures and as thick as there are channels; numbers
    are a column.
    """
    slim = view.detail
    step = (WIDTH - 16) / len(slim.widths)
    middle, marks = TOP + INNER_HEIGHT / 2, []
    for i, (name, (width, whole)) in enumerate(slim.widths.items()):
        centre = 8 + step * (i + 0.5)
        side = slim.sides[name]
        if side:
            high = INNER_HEIGHT * (0.25 + 0.65 * side / max(slim.sides.values()))
            thick = step * 0.75 * (whole / _widest(slim)) ** 0.5
            shapes = [(thick, high), (thick * width / whole, high)]
        else:
            shapes = [(14, 0.95 * INNER_HEIGHT), (14, 0.95 * INNER_HEIGHT * width / whole)]
        (full_x, full_y), (now_x, now_y) = shapes
        dashed = ' fill-opacity="0" stroke="currentColor" stroke-dasharray="2 3"'
        marks += [
            bar(centre - full_x / 2, middle - full_y / 2, full_x, full_y, "none", dashed),
            bar(centre - full_x / 2, middle + full_y / 2 - now_y, now_x, now_y, KEPT),
            text(centre, HEIGHT - 18, name),
            text(centre, HEIGHT - 4, f"{width} of {whole}"),
        ]
    left = ", ".join(f"{name} {width} of {whole}" for name, (width, whole) in slim.widths.items())
    return picture("What is left of each layer", f"Filters left: {left}.", marks)


def _widest(slim: Slimming) -> int:
    return max(whole for name, (_, whole) in slim.widths.items() if slim.sides[name])


def _costs(view: View) -> str:
    """Draw what the network costs as a share of what it cost unpruned."""
    slim = view.detail
    shares = {
        "filters": 1 - view.removed,
        "bytes": view.bytes_pruned / view.bytes_dense,
        "MACs": slim.macs / slim.macs_dense,
        **{f"ms ({b})": now / before for b, (now, before) in sorted(slim.times.items())},
    }
    step = INNER_HEIGHT / 5  # there may be no time for many images yet
    marks = []
    for i, (name, share) in enumerate(shares.items()):
        y = TOP + i * step
        marks += [
            bar(LEFT, y + 2, INNER_WIDTH, step - 4, "currentColor", ' fill-opacity="0.1"'),
            bar(LEFT, y + 2, INNER_WIDTH * min(share, 1), step - 4, KEPT),
            text(LEFT - 4, y + step / 2 + 4, name, "end"),
            text(WIDTH - RIGHT - 4, y + step / 2 + 4, f"{share:.1%}", "end", HALO),
        ]
    marks += [
        text(LEFT, HEIGHT - 18, "0%", "start"),
        text(WIDTH - RIGHT, HEIGHT - 18, "100%", "end"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 4, "of the unpruned network"),
    ]
    alt = "Cost left: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
    return picture("What it still costs", alt + ".", marks)


def _histogram(histogram: Histogram) -> str:
    """Draw the weights by value: bars of those that stay and, on top, those that go."""
    top = max(1, int((histogram.kept + histogram.removed).max()))
    step = INNER_WIDTH / len(histogram.kept)
    reach = float(histogram.edges[-1])
    marks = []
    for i, (kept, removed) in enumerate(zip(histogram.kept, histogram.removed, strict=True)):
        x, base = LEFT + i * step, TOP + INNER_HEIGHT
        for count, colour, dash in ((kept, KEPT, ""), (removed, REMOVED, ' fill-opacity="0.75"')):
            height = INNER_HEIGHT * int(count) / top
            base -= height
            if count:
                marks.append(bar(x, base, step - 0.5, height, colour, dash))
    if histogram.cut is not None and histogram.cut < reach:
        for value in (-histogram.cut, histogram.cut):
            x = LEFT + INNER_WIDTH * (value + reach) / (2 * reach)
            marks.append(line(x, TOP, x, TOP + INNER_HEIGHT, "currentColor", "3 3"))
    marks += [
        text(LEFT, HEIGHT - 18, f"{-reach:.2f}", "start"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 18, "0"),
        text(WIDTH - RIGHT, HEIGHT - 18, f"{reach:.2f}", "end"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 4, "value of the weight"),
        text(LEFT - 4, TOP + 8, f"{top:,}", "end"),
    ]
    kept, removed = int(histogram.kept.sum()), int(histogram.removed.sum())
    alt = f"Histogram of the weights: {kept:,} stay, {removed:,} near zero go."
    return picture("Weights: stay (blue), go (orange)", alt, marks)


def _layers(view: View) -> str:
    """Draw the share of zeros in each layer."""
    step = INNER_HEIGHT / max(1, len(view.layers))
    marks = []
    for i, (name, share) in enumerate(view.layers.items()):
        y = TOP + i * step
        marks += [
            bar(LEFT, y + 2, INNER_WIDTH, step - 4, "currentColor", ' fill-opacity="0.1"'),
            bar(LEFT, y + 2, INNER_WIDTH * share, step - 4, REMOVED),
            text(LEFT - 4, y + step / 2 + 4, name, "end"),
            text(LEFT + 4, y + step / 2 + 4, f"{share:.1%}", "start", HALO),
        ]
    marks += [
        text(LEFT, HEIGHT - 18, "0%", "start"),
        text(WIDTH - RIGHT, HEIGHT - 18, "100%", "end"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 4, "share of zeros"),
    ]
    alt = "Zeros by layer: " + ", ".join(f"{n} {share:.0%}" for n, share in view.layers.items())
    return picture("Sparsity of each layer", alt + ".", marks)


def _curve(view: View) -> str:
    """Draw accuracy against the share removed as far as it is known, and where we are."""

    def x(amount: float) -> float:
        return LEFT + INNER_WIDTH * amount

    def y(accuracy: float) -> float:
        return TOP + INNER_HEIGHT * (1 - accuracy)

    marks = [line(LEFT, y(v), WIDTH - RIGHT, y(v), "currentColor", "1 4") for v in (0, 0.5, 1)]
    marks += [text(LEFT - 4, y(v) + 4, f"{v:.0%}", "end") for v in (0, 0.5, 1)]
    marks.append(curve(((x(amount), y(accuracy)) for amount, accuracy in view.curve), KEPT))
    for i, points in enumerate(view.beside.values()):
        drawn = ((x(amount), y(accuracy)) for amount, accuracy in sorted(points.items()))
        marks.append(curve(drawn, BESIDE, f"{6 - 4 * (i % 2)} 3"))
    if view.beside:
        marks.append(
            text(LEFT + 4, HEIGHT - 44, f"dashed: {', '.join(view.beside)}", "start", HALO)
        )
    accuracy, (low, high) = view.evaluation.accuracy, view.evaluation.interval
    here = x(view.removed)
    marks += [
        line(here, y(low), here, y(high), POINT, "", 2),
        f'<circle cx="{here:.1f}" cy="{y(accuracy):.1f}" r="5" fill="{POINT}"/>',
        text(LEFT, HEIGHT - 18, "0%", "start"),
        text(WIDTH - RIGHT, HEIGHT - 18, "100%", "end"),
        text(LEFT + INNER_WIDTH / 2, HEIGHT - 4, "removed"),
    ]
    rule = view.curve_scope
    alt = f"Accuracy against the share removed; here {accuracy:.1%} at {view.removed:.0%}."
    for name, points in view.beside.items():
        found = (f"{right:.1%} at {at:.0%}" for at, right in sorted(points.items()))
        alt += f" {name}: {', '.join(found)}."
    return picture(f"Accuracy ({rule}, {view.setting.method})", alt, marks)


def _digits(view: View, examples: Split) -> str:
    """Show the example digits with what the network reads; flipped ones get a frame."""
    cells = []
    for image, label, answer in zip(examples.images, examples.labels, view.answers, strict=True):
        flipped = int(label) != answer
        frame = f"2px solid {POINT}" if flipped else "2px solid transparent"
        text = f"<b>{int(label)} → {answer}</b>" if flipped else f"{answer}"
        alt = f"a {int(label)}, read as {answer}"
        cells.append(
            f'<div style="text-align: center" data-flipped="{int(flipped)}">'
            f'<img alt="{alt}" src="{digit_png(image)}" style="width: 40px; border: {frame}; '
            f'image-rendering: pixelated"><br>{text}</div>'
        )
    wrong = sum(int(label) != a for label, a in zip(examples.labels, view.answers, strict=True))
    return (
        f"<div>{len(examples)} digits the unpruned network reads correctly, the shakiest first: "
        f'<span data-figure="flipped">{wrong}</span> misread now</div>'
        '<div style="display: flex; flex-wrap: wrap; gap: 6px">' + "".join(cells) + "</div>"
    )


def digit_png(image: Tensor) -> str:
    """Return an image 1 x 28 x 28 as a data address, ink on paper."""
    return _png(image.numpy().tobytes())


@functools.lru_cache(maxsize=256)  # the example digits are drawn again at every move
def _png(values: bytes) -> str:
    buffer = io.BytesIO()
    pixels = 1 - (np.frombuffer(values, np.float32).reshape(28, 28) * PIXEL_STD + PIXEL_MEAN)
    matplotlib.image.imsave(buffer, np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
