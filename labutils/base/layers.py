"""Which layers of a network hold weights to prune?"""

from torch import nn

from labutils.base import given

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
    """Return the convolutions and linear layers by name, in order, each weight once.

    Raises
    ------
    TypeError, ValueError
        No network, none of these layers, or weights that are computed from other tensors.
    """
    layers: dict[str, nn.Module] = {}
    weights: set[int] = set()
    for name, layer in given.plain_weights(model).named_modules():
        if isinstance(layer, given.WEIGHTED) and id(layer.weight) not in weights:
            weights.add(id(layer.weight))
            layers[name] = layer
    if not layers:
        raise ValueError(
            f"{type(model).__name__} has no convolution and no linear layer: nothing to prune."
        )
    return layers
