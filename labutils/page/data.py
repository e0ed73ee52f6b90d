"""What does the page need to know of a network and of its images? Plain data, nothing to run."""

import base64
import gzip
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import PIXEL_MEAN, PIXEL_STD, Split
from labutils.base.layers import prunable_layers
from labutils.prune.filters import filter_scores

ENGINE = Path(__file__).with_name("engine.wasm")
MOST_WEIGHTS = 2**22  # what pruning.js can rank


def packed(model: nn.Module, split: Split, most: int | None = None) -> dict:
    """Describe a network and images as strings, numbers, lists and dictionaries.

    Parameters
    ----------
    model : a chain of convolutions, ReLU, max-pooling, Flatten and linear layers, any widths
    split : images as `load_mnist` gives them, and their labels
    most : how many of them, spread evenly over the split; all if not given

    Returns
    -------
    What ``mount`` in explorer.js takes; tensors are base64 of gzip.

    Raises
    ------
    TypeError, ValueError
        Another network, weights that are not finite, images that do not fit it or are no bytes.
    """
    given.split(split, "split")
    total = len(split) if most is None else given.whole(most, "most", 1, len(split))
    shape = tuple(split.images.shape[1:])
    layers = described(model, shape)
    tensors = [t.flatten() for la in prunable_layers(model).values() for t in (la.weight, bias(la))]
    chosen = split[spread(len(split), total)]
    return {
        "layers": layers,
        "weights": _text(torch.cat(tensors).detach().cpu().float()),
        "images": {"count": total, "shape": shape, "mean": PIXEL_MEAN, "deviation": PIXEL_STD},
        "pixels": _text(_pixels(chosen.images)),
        "labels": _text(chosen.labels.to(torch.uint8)),
        "engine": base64.b64encode(ENGINE.read_bytes()).decode(),
    }


def described(model: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> list[dict]:
    """Describe a network's layers in order, those with weights with the scores of their filters."""
    scores = {name: score.double() for name, score in filter_scores(model).items()}
    parts = [(n, la) for n, la in model.named_modules() if not isinstance(la, nn.Sequential)]
    layers = [_layer(name, layer, scores.get(name)) for name, layer in parts]
    if sum(math.prod(layer.get("weight", [0])) for layer in layers) >= MOST_WEIGHTS:
        raise ValueError(f"The page ranks fewer than {MOST_WEIGHTS:,} weights: give a smaller one.")
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape).to(next(model.parameters())))
    except RuntimeError as error:
        raise ValueError(f"Images of {shape} do not fit this network: {error}") from error
    return layers


def bias(layer: nn.Module) -> Tensor:
    """Return a layer's bias, zeros if it has none."""
    return torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias


def spread(count: int, most: int) -> Tensor:
    """Choose images evenly, in an order whose every beginning is spread evenly too.

    >>> spread(10, 5).tolist()
    [0, 6, 2, 8, 4]
    """
    step = next(s for s in range(max(1, round(0.618 * most)), 2 * most) if math.gcd(s, most) == 1)
    return torch.arange(most) * step % most * count // most


def _layer(name: str, layer: nn.Module, scores: Tensor | None) -> dict:
    """Describe one layer, or say in one sentence what the page can run."""
    side, stride = (_side(getattr(layer, option, None)) for option in ("kernel_size", "stride"))
    match layer:
        case nn.ReLU():
            return {"kind": "relu"}
        case nn.Flatten(start_dim=1, end_dim=-1):
            return {"kind": "flatten"}
        case nn.MaxPool2d(padding=0 | (0, 0), dilation=1 | (1, 1), ceil_mode=False) if (
            side and stride
        ):
            return {"kind": "pool", "side": side, "stride": stride}
        case nn.Conv2d(groups=1, dilation=(1, 1), padding_mode="zeros", padding=(_, _)) if stride:
            options = {"kind": "conv", "stride": stride, "padding": layer.padding}
        case nn.Linear():
            options = {"kind": "linear"}
        case _:
            raise ValueError(
                "The page runs chains of convolutions, ReLU, max-pooling, Flatten and linear "
                f"layers, with square strides and nothing unusual: {name} is {layer}."
            )
    options |= {"name": name, "weight": layer.weight.shape, "hasBias": layer.bias is not None}
    if scores is None:  # the last layer, whose rows stay
        return options
    # As `prune_filters` compares filters of different layers: each by its score over the mean.
    relative = scores / (scores.abs().mean() or 1)
    return options | {"scores": scores.tolist(), "relative": relative.tolist()}


def _side(size: int | tuple[int, int] | None) -> int | None:
    """Return the side of a square, None of what is none."""
    sides = set(size) if isinstance(size, tuple) else {size}
    return sides.pop() if len(sides) == 1 else None


def _pixels(images: Tensor) -> Tensor:
    """Return the bytes that images were made of, as published."""
    values = (images * PIXEL_STD + PIXEL_MEAN) * 255
    pixels = values.round()
    if not (values - pixels).abs().max() < 0.01 or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError("The images are not bytes normalised as load_mnist does: give those.")
    return pixels.to(torch.uint8)


def _text(values: Tensor) -> str:
    return base64.b64encode(gzip.compress(values.numpy().tobytes(), 9, mtime=0)).decode()
