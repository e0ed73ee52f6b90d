"""Keep an int8 network in a file: JSON, so that its integers can be read with any editor."""

import json
import os
from dataclasses import fields
from pathlib import Path

import torch

from labutils.base import given
from labutils.base.writing import write_whole
from labutils.device.quantization import RANGES, Int8Layer, Int8Network

FORMAT, VERSION = "eai-pruning-lab int8 network", 1
KINDS = {"weight": torch.int8, "bias": torch.int32, "multiplier": torch.int64}  # of its tensors
# What Python and PyTorch raise for layers that make no sense.
IMPOSSIBLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def save_int8(network: Int8Network, path: str | os.PathLike) -> Path:
    """Write what `quantize_int8` or `train_int8` made to a file, whole or not at all.

    Raises
    ------
    TypeError
        It is no network in int8.
    OSError
        The folder is not there, or cannot be written.
    """
    given.instance(network, Int8Network, "network", "what quantize_int8 or train_int8 made")
    path = given.path(path)
    layers = [
        {
            field.name: value.tolist() if isinstance(value, torch.Tensor) else value
            for field in fields(layer)
            if (value := getattr(layer, field.name)) != field.default
            or isinstance(value, torch.Tensor)
        }
        for layer in network.layers
    ]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "input_scale": network.input_scale,
        "output_scale": network.output_scale.tolist(),
        "layers": layers,
    }
    text = json.dumps(content, separators=(",", ":"))
    write_whole(path, lambda file: file.write(text.encode()))
    return path


def load_int8(path: str | os.PathLike) -> Int8Network:
    """Read a network that `save_int8` wrote.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is cut short, damaged, or not one of `save_int8`.
    """
    path = given.path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path.absolute()}: save_int8 writes such files.")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} could not be read ({path.stat().st_size:,} bytes): it is damaged, cut short, "
            "or no JSON. Write it again with save_int8."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} is not one of save_int8.")
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} has format version {content.get('version')!r}; this labutils reads version "
            f"{VERSION}: update the project, or write the file again."
        )
    try:
        layers = tuple(map(_layer, content["layers"]))
        scale = torch.tensor(content["output_scale"], dtype=torch.float32)
        network = Int8Network(layers, float(content["input_scale"]), scale)
        network(torch.zeros(1, *layers[0].shape))  # as every use of it would
    except IMPOSSIBLE as error:
        raise ValueError(f"{path} contradicts itself: {error}") from error
    return network


def _layer(values: dict) -> Int8Layer:
    made = Int8Layer(
        **{
            name: torch.tensor(value, dtype=KINDS[name])
            if name in KINDS
            else tuple(value)
            if isinstance(value, list)
            else value
            for name, value in values.items()
        }
    )
    low, high = RANGES[made.bits]
    if made.weight is not None and not low <= made.weight.min() <= made.weight.max() <= high:
        raise ValueError(f"{made.name} has weights beyond {low} to {high}.")
    return made
