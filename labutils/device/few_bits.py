"""How is a network trained for weights of few bits? With the rounding in it (Jacob et al. 2018)."""

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.lr_scheduler import OneCycleLR

from labutils.base import given
from labutils.base.digits import Digits
from labutils.base.history import History
from labutils.device.chain import LARGEST, Layer, chain, parts
from labutils.device.quantization import (
    RANGES,
    TOP,
    Int8Network,
    activation_scales,
    in_integers,
    largest_unit,
    layer_bits,
)
from labutils.fit.training import (
    BATCH_SIZE,
    adamw,
    check_settings,
    kept_zeros,
    steps_of,
    training_steps,
    under_way,
)

ROUNDED = " rounded"  # behind the name of the layer whose values are
CALIBRATION = 1_000  # training images that say how large activations are


class Rounded(nn.Module):
    """Round to integers times a step that is learned (LSQ, Esser et al. 2020).

    The gradient passes the rounding as if it were not there.

    Parameters
    ----------
    step : positive, one for each filter or one for all, in a shape that fits the values
    low, high : the integers there are
    """

    def __init__(self, step: Tensor, low: int, high: int) -> None:
        super().__init__()
        self.size = nn.Parameter(step.float().log())  # so that it stays positive
        self.low, self.high = low, high

    @property
    def step(self) -> Tensor:
        """What 1 stands for."""
        return self.size.exp()

    def forward(self, values: Tensor) -> Tensor:
        """Return values of the same shape, rounded."""
        return self.integers(values) * self.step

    def integers(self, values: Tensor) -> Tensor:
        """Return the integers themselves."""
        within = (values / self.step).clamp(self.low, self.high)
        return within + (within.round() - within).detach()


class Positive(nn.Module):
    """Keep the factors of a batch norm positive: what is largest before it is so behind it."""

    def forward(self, factors: Tensor) -> Tensor:
        """Return sizes."""
        return factors.abs()


def train_int8(
    model: nn.Module,
    digits: Digits,
    epochs: int = 5,
    bits: int | str | Mapping[str, int | str] = 4,
    seed: int = 0,
    *,
    learning_rate: float = 1e-2,
    batch_size: int = BATCH_SIZE,
    progress: bool | str = True,
) -> Int8Network:
    """Train a network on with weights and activations rounded, and return it in int8.

    What 1 stands for is learned too. Weights that are zero stay zero. AdamW without weight decay,
    one cycle of the learning rate. Scales and biases are written in a byte each instead of four.

    Parameters
    ----------
    model : trained, as for `quantize_int8`; left as it was
    digits : trains on `train`, watches `validation`, never reads `test`
    epochs : passes over the training images
    bits : of the weights, as for `quantize_int8`

    Raises
    ------
    TypeError, ValueError
        As `quantize_int8` and `train`.
    """
    given.digits(digits)
    check_settings(epochs, seed, batch_size, 0.0, learning_rate)
    shape = tuple(digits.train.images.shape[1:])
    layers = chain(model, shape)
    chosen = layer_bits(bits, layers)
    scales = activation_scales(layers, digits.train[:CALIBRATION])
    trained = _rounded(model, layers, chosen, scales)
    history, steps = History(seed, epochs), steps_of(digits, epochs, batch_size)
    network = nn.Sequential(*trained.values())
    optimizer = adamw(network, learning_rate, 0.0)
    scheduler = OneCycleLR(optimizer, learning_rate, max(1, steps))
    weights = [trained[name].parametrizations.weight.original for name in chosen]
    with under_way(network, digits, history, batch_size, None, progress) as seen:
        keep = kept_zeros(nn.ParameterList(weights))
        for loss in training_steps(
            network, digits, history, optimizer, scheduler, batch_size, after_step=keep
        ):
            seen(loss)
    made = _in_integers(trained, layers, chosen, scales[0], shape)
    made.history = history
    return made


def _rounded(
    model: nn.Module, layers: list[Layer], bits: dict[str, int | str], scales: list[float]
) -> dict[str, nn.Module]:
    """Return the parts of a copy of the network, by name, with the rounding between them."""
    rounds = {
        layer.end: Rounded(torch.tensor(scale), -TOP, TOP)
        for layer, scale in zip(layers[:-1], scales[1:-1], strict=True)
        if layer.kind != LARGEST
    }
    found: dict[str, nn.Module] = {}
    for name, part in parts(copy.deepcopy(model).cpu().float()):
        if isinstance(part, nn.BatchNorm2d):
            _keep_positive(found[next(reversed(found))], part)
        found[name] = part
        if name in rounds:
            found[f"{name}{ROUNDED}"] = rounds[name]
    for name, each in bits.items():
        weight = found[name].weight
        unit = largest_unit(weight, each).view(-1, *[1] * (weight.dim() - 1))
        parametrize.register_parametrization(found[name], "weight", Rounded(unit, *RANGES[each]))
    return found


def _keep_positive(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Turn the filters whose factor is negative, so that it can be kept positive."""
    with torch.no_grad():
        sign = torch.where(norm.weight < 0, -1.0, 1.0)
        convolution.weight *= sign.view(-1, 1, 1, 1)
        norm.running_mean *= sign
        if convolution.bias is not None:
            convolution.bias *= sign
    parametrize.register_parametrization(norm, "weight", Positive())


def _in_integers(
    trained: dict[str, nn.Module],
    layers: list[Layer],
    bits: dict[str, int | str],
    input_scale: float,
    shape: tuple[int, ...],
) -> Int8Network:
    """Write what was trained in integers."""
    weights = {}
    for name in bits:
        rounded = trained[name].parametrizations.weight[0]
        weights[name] = rounded.integers(trained[name].parametrizations.weight.original).detach()
        parametrize.remove_parametrizations(trained[name], "weight")
        # In place of each weight what 1 stands for: the chain then says it behind the batch norm.
        trained[name].weight.data = rounded.step.detach().expand_as(weights[name]).clone()
    for part in trained.values():
        if isinstance(part, nn.BatchNorm2d):
            parametrize.remove_parametrizations(part, "weight")
    plain = {name: part for name, part in trained.items() if not name.endswith(ROUNDED)}
    units, real = {}, []
    for layer, found in zip(layers, chain(nn.Sequential(*plain.values()), shape), strict=True):
        made = replace(found, name=layer.name)
        if made.weight is not None:
            units[layer.name] = made.weight.flatten(1)[:, 0].double()
            made = replace(made, weight=made.weight * weights[layer.name])
        real.append(made)
    scales = [input_scale]
    for layer in layers[:-1]:  # the largest of some integers is one of them
        step = trained.get(f"{layer.end}{ROUNDED}")
        scales.append(scales[-1] if step is None else step.step.item())
    return in_integers(real, bits, units, [*scales, 1.0], coarse=True)
