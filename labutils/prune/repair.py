"""What should the weights that are left become, so that each layer answers what it did before?

Nothing is trained: layer after layer they follow from a system of linear equations.
"""

import copy

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.digits import Split
from labutils.prune.readings import answer, read, readable_layers


@torch.no_grad()
def repair(
    pruned: nn.Module, model: nn.Module, calibration: Split, *, damping: float = 0.01
) -> nn.Module:
    """Return a pruned network whose layers answer, as nearly as can be, what they did unpruned.

    From the input on, each layer gets the weights W (and biases) that come nearest to the
    answers Y of the same layer of `model` from what it reads now, X, behind layers that are
    repaired already. That is least squares: ``|W X - Y|^2 + d |W - W0|^2`` is as small as can
    be, with its weights W0 in `pruned`; so no layer's error grows. No label is read.

    Parameters
    ----------
    pruned : has weights of zero, fewer filters than `model`, or both; left as it was. Zeros stay
        exactly zero.
    model : the network it was made of. Layers of any kind may stand between its convolutions
        (nn.Conv2d) and linear layers.
    calibration : images to compare on, hundreds or thousands
    damping : d, in mean squared inputs of the layer; above 0. The larger, the nearer the weights
        stay to W0: much where the images are few.

    Raises
    ------
    TypeError, ValueError
        A layer of `pruned` is not a smaller one of `model`, or of another kind than these; the
        calibration does not fit.
    """
    given.positive(damping, "damping")
    images = given.calibration(calibration, "repair").images
    repaired = copy.deepcopy(given.network(pruned, "pruned"))
    layers, whole = readable_layers(repaired), readable_layers(model)
    for name in _inside_attention(model):  # runs as one operation, and loses no channels
        layers.pop(name, None)
        whole.pop(name, None)
    rows = _rows_left(layers, whole)
    for name, layer in layers.items():
        gram, wanted = 0, 0
        now, before = read(repaired, name, images), answer(model, name, images)
        for columns, answers in zip(now, before, strict=True):
            columns = torch.cat([columns, torch.ones_like(columns[:, :1])], 1)  # for the bias
            answers = answers[rows[name]].unflatten(0, (len(columns), -1))
            gram, wanted = gram + columns @ columns.mT, wanted + answers @ columns.mT
        _refit(layer, gram, wanted, damping)
    return repaired


def _inside_attention(model: nn.Module) -> list[str]:
    """Return the layers that PyTorch's attention calls by their weights."""
    found = [n for n, layer in model.named_modules() if isinstance(layer, nn.MultiheadAttention)]
    return [f"{name}.out_proj".lstrip(".") for name in found]


def _refit(layer: nn.Module, gram: Tensor, wanted: Tensor, damping: float) -> None:
    """Give a layer the weights and biases that are best for what it reads."""
    weights = layer.weight.flatten(1).cpu().double()
    bias = torch.zeros(len(weights)) if layer.bias is None else layer.bias
    weights = torch.cat([weights, bias[:, None].cpu().double()], 1)
    kept = weights != 0
    kept[:, -1] = layer.bias is not None
    power = gram.diagonal(dim1=1, dim2=2)[:, :-1].mean(1)
    parts = weights.chunk(len(gram)), kept.chunk(len(gram)), gram, wanted, power
    for group in zip(*parts, strict=True):
        solve_rows(*group, damping)
    layer.weight.copy_(weights[:, :-1].view(layer.weight.shape).to(layer.weight))
    if layer.bias is not None:
        layer.bias.copy_(weights[:, -1].to(layer.bias))


def solve_rows(
    weights: Tensor, kept: Tensor, gram: Tensor, wanted: Tensor, power: Tensor, damping: float
) -> None:
    """Refit weights in place, those that are kept; the last input is 1 and its weight the bias.

    Where the slope is zero, ``w (X X^T + D) = y X^T + w0 D``: w and X without the inputs that
    a row has lost, D the damping (of no bias). Rows with the same inputs share a system.
    """
    pull = torch.full_like(gram[0], damping * float(power) or 1.0)  # 1: a layer that reads zeros
    pull[-1] = 0
    masks, like = kept.unique(dim=0, return_inverse=True)
    for number, mask in enumerate(masks):
        inputs, rows = mask.nonzero().flatten(), (like == number).nonzero()
        system = gram[inputs][:, inputs] + pull[inputs].diag()
        right = wanted[rows, inputs] + pull[inputs] * weights[rows, inputs]
        try:
            factor = torch.linalg.cholesky(system)
        except torch.linalg.LinAlgError:
            raise ValueError(
                f"damping={damping!r} is too little: the inputs of a layer are too much alike for "
                "a single best answer; give more, as 0.01."
            ) from None
        weights[rows, inputs] = torch.cholesky_solve(right.mT, factor).mT


def _rows_left(layers: dict[str, nn.Module], whole: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Find out which filters of each layer a pruned network still has.

    Those that are left keep their order and, but for zeros, their numbers.
    """
    if [*layers] != [*whole]:
        raise ValueError(
            f"pruned has the layers {', '.join(layers)}, but model {', '.join(whole)}: give the "
            "network that was pruned."
        )
    return {name: _rows_of(name, layer, whole[name]) for name, layer in layers.items()}


def _rows_of(name: str, layer: nn.Module, whole: nn.Module) -> Tensor:
    most, left = len(whole.weight), len(layer.weight)
    fits = type(layer) is type(whole) and layer.weight.dim() == whole.weight.dim()
    if not fits or left > most or layer.weight[0].numel() > whole.weight[0].numel():
        raise ValueError(
            f"{name} of pruned has weights of shape {tuple(layer.weight.shape)}, of model "
            f"{tuple(whole.weight.shape)}: give the network that was pruned."
        )
    if left == most:
        return torch.arange(most)
    rows = []
    for row in range(most):
        if len(rows) < left and _is_part(layer, len(rows), whole, row):
            rows.append(row)
    if len(rows) < left:
        raise ValueError(
            f"{name} has {left} of {most} filters, and not all are filters of model's {name}: "
            "repair before the weights that are left are trained or changed."
        )
    return torch.tensor(rows)


def _is_part(layer: nn.Module, row: int, whole: nn.Module, other: int) -> bool:
    """Whether a filter has the bias of another and no weight that this other has not."""
    few = layer.weight[row]
    same_bias = layer.bias is None or bool(layer.bias[row] == whole.bias[other])
    return same_bias and bool(torch.isin(few[few != 0], whole.weight[other]).all())
