"""What does the page need to know of a network and of its images? Plain data, nothing to run."""

import base64
import gzip
import math
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import PIXEL_MEAN, PIXEL_STD, Split
from labutils.base.layers import prunable_layers
from labutils.prune.filters import filter_scores

ENGINE = Path(__file__).with_name("engine.wasm")
MOST_WEIGHTS = 2**22  # what pruning.js can rank
PLAIN_POOLING = {"padding": (0, (0, 0)), "dilation": (1, (1, 1)), "ceil_mode": (False,)}
PLAIN_CONVOLUTION = {"groups": (1,), "dilation": ((1, 1),), "padding_mode": ("zeros",)}


def packed(
    model: nn.Module, split: Split, most: int | None = None, calibration: Split | None = None
) -> dict:
    """Describe a network and images as strings, numbers, lists and dictionaries.

    Parameters
    ----------
    model : a chain of convolutions, ReLU, max-pooling, Flatten and linear layers, any widths
    split : images as `load_mnist` gives them, and their labels
    most : how many of them, spread evenly over the split; all if not given
    calibration : training images; with them, the rules that look at images and random weights

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
    if (shape := tuple(split.images.shape[1:])) != (1, 28, 28):
        raise ValueError(f"The page draws images of 1 x 28 x 28, as MNIST's, and not {shape}.")
    layers = prunable_layers(model).values()
    steps = described(model, shape)
    rules = ("l1", "l2", "random") + (("activation", "taylor") if calibration else ())
    score = partial(filter_scores, model, calibration=calibration)
    found = {rule: score(rule) if len(layers) > 1 else {} for rule in rules}
    chosen = split[spread(len(split), total)]
    tensors = [t.flatten() for layer in layers for t in (layer.weight, bias(layer))]
    return {
        "steps": steps,
        "weights": _text(torch.cat(tensors).detach().cpu().float()),
        "methods": {
            "weights": {"magnitude": None} | ({"random": _drawn(model)} if calibration else {}),
            "filters": {
                r: [*map(_ranked, scores.values())] for r, scores in found.items() if scores
            },
        },
        "images": {"count": total, "shape": shape, "mean": PIXEL_MEAN, "deviation": PIXEL_STD},
        "pixels": _text(_pixels(chosen.images)),
        "labels": _text(chosen.labels.to(torch.uint8)),
        "engine": base64.b64encode(ENGINE.read_bytes()).decode(),
    }


def described(model: nn.Module, shape: tuple[int, ...] = (1, 28, 28)) -> list[dict]:
    """Describe a chain as steps: a layer with weights and the pooling and ReLU behind it.

    ReLU and max-pooling give the same in either order, so each step pools and then rectifies. A
    step without a layer pools or rectifies what the one before put out.
    """
    steps: list[dict] = []
    for name, layer in model.named_modules(remove_duplicate=False):
        match layer:
            case nn.Sequential() | nn.Flatten(start_dim=1, end_dim=-1):
                pass
            case nn.Dropout() | nn.Dropout2d() | nn.Identity():
                pass  # an evaluated network has none
            case nn.Conv2d() if _plain(layer, PLAIN_CONVOLUTION) and layer.padding != "same":
                padding = (0, 0) if layer.padding == "valid" else layer.padding
                steps.append({"stride": _side(layer.stride), "padding": padding})
            case nn.Linear():
                steps.append({})
            case nn.MaxPool2d() if _plain(layer, PLAIN_POOLING) and _side(layer.kernel_size):
                if not steps or "pool" in steps[-1]:
                    steps.append({})
                steps[-1]["pool"] = _side(layer.kernel_size), _side(layer.stride)
            case nn.ReLU():
                steps = steps or [{}]
                steps[-1]["relu"] = True
            case _:
                raise ValueError(
                    "The page runs chains of convolutions, ReLU, max-pooling, Flatten and linear "
                    "layers, with square strides and nothing unusual: "
                    f"{name or 'the network'} is {str(layer).splitlines()[0].strip('(')}."
                )
        if isinstance(layer, given.WEIGHTED):
            steps[-1] |= {"name": name, "weight": layer.weight.shape}
            steps[-1]["hasBias"] = layer.bias is not None
    weighted = [step["weight"] for step in steps if "weight" in step]
    if len(weighted) > len(prunable_layers(model)):
        raise ValueError(
            "The page runs chains in which each layer occurs once: copy the shared one."
        )
    if sum(map(math.prod, weighted)) >= MOST_WEIGHTS:
        raise ValueError(f"The page ranks fewer than {MOST_WEIGHTS:,} weights: give a smaller one.")
    try:
        with torch.no_grad():
            model(torch.zeros(1, *shape).to(next(model.parameters())))
    except RuntimeError as error:
        raise ValueError(f"Images of {shape} do not fit this network: {error}") from error
    return steps


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


def _plain(layer: nn.Module, allowed: dict[str, tuple]) -> bool:
    """Whether a layer's strides are square, and its options none but these."""
    usual = all(getattr(layer, option) in values for option, values in allowed.items())
    return usual and _side(layer.stride) is not None


def _side(size: int | tuple[int, int]) -> int | None:
    """Return the side of a square, None of what is none."""
    sides = set(size) if isinstance(size, tuple) else {size}
    return sides.pop() if len(sides) == 1 else None


def _ranked(scores: Tensor) -> list[tuple[int, float]]:
    """Return filters best first, with scores over their mean: `prune_filters` compares those."""
    order = scores.argsort(descending=True, stable=True)
    values = scores[order] / (scores.abs().mean() or 1)
    return list(zip(order.tolist(), values.tolist(), strict=True))


def _drawn(model: nn.Module) -> str:
    """Return for each weight how many others `prune_random` removes before it."""
    count = sum(layer.weight.numel() for layer in prunable_layers(model).values())
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(count, generator=generator, dtype=torch.float64)
    return _text(drawn.argsort().argsort().float())


def _pixels(images: Tensor) -> Tensor:
    """Return the bytes that images were made of, as published."""
    values = (images * PIXEL_STD + PIXEL_MEAN) * 255
    pixels = values.round()
    if not (values - pixels).abs().max() < 0.01 or pixels.min() < 0 or pixels.max() > 255:
        raise ValueError("The images are not bytes normalised as load_mnist does: give those.")
    return pixels.to(torch.uint8)


def _text(values: Tensor) -> str:
    return base64.b64encode(gzip.compress(values.numpy().tobytes(), 6, mtime=0)).decode()
