"""Which layers of a network hold weights to prune, and is what was asked of them possible?"""

from collections.abc import Mapping
from numbers import Real

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

# Layers that do the same to every channel, each by itself: they need no change.
SAME_FOR_EVERY_CHANNEL: tuple[type[nn.Module], ...] = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU),
    *(nn.Mish, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Tanhshrink, nn.Hardtanh, nn.Hardsigmoid),
    *(nn.Hardswish, nn.Softplus, nn.Softsign, nn.Softshrink, nn.Hardshrink, nn.Threshold),
    *(nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d),
    *(nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Identity),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.CircularPad2d, nn.Upsample),
)
ONE_FOR_EACH_CHANNEL = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.PReLU)


def prunable_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the convolutions and linear layers by name, in order, each weight once."""
    layers: dict[str, nn.Module] = {}
    weights: set[int] = set()
    for name, layer in model.named_modules():
        if not isinstance(layer, (nn.modules.conv._ConvNd, nn.Linear)):
            continue
        if "weight" not in layer._parameters:
            raise ValueError(
                f"{name}.weight is computed from other tensors (by torch.nn.utils.prune or a "
                "parametrization): make it permanent first, as with "
                f'torch.nn.utils.prune.remove(model.{name}, "weight").'
            )
        if isinstance(layer.weight, UninitializedParameter):
            raise ValueError(f"{name} has no weights yet: show the network an image first.")
        if id(layer.weight) not in weights:
            weights.add(id(layer.weight))
            layers[name] = layer
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no convolution and no linear layer: nothing to prune."
        )
    return layers


def check_amount(amount: float, name: str = "amount") -> float:
    """Return the amount as a float, or say what is wrong with it."""
    if isinstance(amount, bool) or not isinstance(amount, Real):
        raise TypeError(
            f"{name}={amount!r}: give a number in [0, 1], the fraction to remove, as 0.5."
        )
    if not 0 <= amount <= 1:
        hint = f" (for {amount}% write {amount / 100:g})" if 1 < amount <= 100 else ""
        raise ValueError(f"{name}={amount!r}: the fraction to remove lies in [0, 1]{hint}.")
    return float(amount)


def check_amounts(shares: Mapping[str, float], names: list[str]) -> dict[str, float]:
    """Return a dictionary of amounts by layer as floats, or say what is wrong with it."""
    unknown = [name for name in shares if name not in names]
    if unknown:
        raise ValueError(
            f"There is no prunable layer {', '.join(map(repr, unknown))}: "
            f"choose from {', '.join(names)}."
        )
    return {name: check_amount(share, f"the amount for {name}") for name, share in shares.items()}


def finite_weight(name: str, layer: nn.Module) -> Tensor:
    """Return a layer's weights, refusing NaN and infinity, which have no rank."""
    weight = layer.weight
    if not weight.isfinite().all():
        wrong = int((~weight.isfinite()).sum())
        raise ValueError(
            f"{name}.weight holds {wrong} values that are NaN or infinite: they have no "
            "magnitude to rank by; train the network again with a smaller learning rate."
        )
    return weight
