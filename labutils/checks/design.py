"""Exercise 8: how small is the handed-in network, how good, and how many points is that?"""

import base64
import math
import zlib
from collections.abc import Callable

import torch
from IPython import get_ipython
from IPython.display import display
from torch import Tensor, nn

from labutils.base.digits import Digits, Split
from labutils.base.structure import describe
from labutils.checks.verdict import (
    CheckFailed,
    Wrong,
    answered,
    first_line,
    held_by_torch,
    telling,
)
from labutils.cost.sizes import model_bytes
from labutils.fit.evaluation import evaluate

TITLE = "Exercise 8, design_network"
MIME = "application/vnd.eai-lab.network+json"  # under this kind the network lies in the notebook
POINTS, ENOUGH = 10, 0.988
NO_POINTS, ALL_POINTS = 100_000, 12_500  # bytes


def design_points(accuracy: float, size: int) -> float:
    """Return the points for an accuracy on the validation split and a size in bytes.

    0 from 100,000 bytes on, a third of 10 more for each halving, and all 10 up to 12,500
    bytes; 0 below an accuracy of 98.8%.

    >>> design_points(0.99, 12_500), design_points(0.99, 50_000), design_points(0.98, 12_500)
    (10.0, 3.3, 0.0)
    """
    if accuracy < ENOUGH:
        return 0.0
    share = math.log(NO_POINTS / size) / math.log(NO_POINTS / ALL_POINTS)
    return round(POINTS * min(max(share, 0.0), 1.0), 1)


def design_network(function: Callable[[Digits], nn.Module], digits: Digits) -> float | None:
    """Do what `handed_in` does; print what failed, unless the grading asks."""
    with telling(function):
        return handed_in(function, digits)


def handed_in(function: Callable[[Digits], nn.Module], digits: Digits) -> float:
    """Call the function, measure its network, print the points, and hand the network in.

    Parameters
    ----------
    function : from the digits to a network of float32 tensors; may take minutes

    Returns
    -------
    The points, see `design_points`.

    Raises
    ------
    CheckFailed
        Not attempted, raised, no such network, or not accurate enough.
    """
    network = answered(TITLE, "", function, (digits,)).result
    try:
        accuracy, size = _measure(network, digits.validation)
        points = design_points(accuracy, size)
        told = f"{size:,} bytes, {accuracy:.2%} of {len(digits.validation):,} images right"
        text = f"{TITLE}: {told}: {points:g} of {POINTS} points"
        if get_ipython() is None:  # outside of Jupyter
            print(text)
        else:  # a notebook keeps the network beside the line, without showing it
            display({"text/plain": text, MIME: packed(network)}, raw=True)
        if accuracy < ENOUGH:
            enough = f"at least {ENOUGH:.1%} of the validation images right"
            raise Wrong(enough, told, "remove less, or train longer after each removal")
    except Wrong as verdict:
        raise CheckFailed(TITLE, "wrong", **verdict.lines) from None
    return points


def packed(network: nn.Module) -> dict:
    """Return a network as JSON can hold it: its structure, and its tensors by name."""
    state = [[name, packed_tensor(tensor)] for name, tensor in network.state_dict().items()]
    return {"network": [describe(network), state]}


def packed_tensor(tensor: Tensor) -> list:
    """Return a tensor as JSON can hold it: its type, its shape, and its bytes as text."""
    flat = tensor.detach().contiguous().view(-1)
    content = flat.view(torch.uint8).numpy() if len(flat) else b""
    text = base64.b64encode(zlib.compress(content, 1)).decode()
    return [str(tensor.dtype).removeprefix("torch."), list(tensor.shape), text]


def _measure(network: object, split: Split) -> tuple[float, int]:
    """Return accuracy and bytes of a network, refusing what would not count."""
    if network is None:
        raise Wrong("a network", "None", "design_network ends without a `return`")
    if not isinstance(network, nn.Module):
        known = "a SimpleCNN of any widths, or an nn.Sequential of the layers listed in the task"
        raise Wrong(known, network, held_by_torch(network))
    for name, tensor in network.state_dict().items():
        # BatchNorm counts its batches in an integer.
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise Wrong("float32 tensors", f"{name} of {tensor.dtype}", "the task is to prune")
        if not tensor.isfinite().all():
            raise Wrong("finite weights", f"{name} with NaN or infinity", "the training diverged")
    try:
        return evaluate(network, split).accuracy, model_bytes(network).compressed
    except Exception as error:  # whatever PyTorch raises for images that do not fit
        raise Wrong("an answer N x 10 for images N x 1 x 28 x 28", first_line(error)) from None
