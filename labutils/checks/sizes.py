"""Exercise 1: how sparse is a network, and how many bytes does it take?"""

import math

import torch
from torch import nn

from labutils.base.layers import prunable_layers
from labutils.base.networks import SimpleCNN
from labutils.checks.verdict import Wrong, exercise, likely, show_with_type

VALUE = 4  # bytes of a float32


def _cases() -> list[tuple]:
    tiny = nn.Sequential(nn.Linear(4, 2))
    with torch.no_grad():
        tiny[0].weight.copy_(torch.tensor([[0.0, 0.0, 0.0, 2.0], [1.0, 0.0, 0.0, -3.0]]))
        tiny[0].bias.copy_(torch.tensor([0.0, 1.0]))
    return [(tiny,), (with_zeros((2, 3, 4), seed=0),), (with_zeros((16, 32, 64), seed=1),)]


def with_zeros(widths: tuple[int, int, int], seed: int, share: float = 0.8) -> SimpleCNN:
    """Return an untrained SimpleCNN with about this share of its weights, and a bias, zero."""
    generator = torch.Generator().manual_seed(seed)
    network = SimpleCNN(widths)
    with torch.no_grad():
        for layer in prunable_layers(network).values():
            layer.weight.normal_(generator=generator)
            layer.weight[torch.rand(layer.weight.shape, generator=generator) < share] = 0
            layer.bias.normal_(generator=generator)[0] = 0
    return network


def _counts(network: nn.Module) -> tuple[int, int, int, int]:
    """Return how many weights, weights that are not zero, biases, and bytes of bitmasks."""
    weights = [layer.weight for layer in prunable_layers(network).values()]
    total = sum(weight.numel() for weight in weights)
    left = sum(int(weight.count_nonzero()) for weight in weights)
    biases = sum(parameter.numel() for parameter in network.parameters()) - total
    return total, left, biases, sum(math.ceil(weight.numel() / 8) for weight in weights)


def _type_mistake(value: object) -> str:
    if torch.is_tensor(value):
        return "take the number out of the tensor with .item()"
    return "bytes are whole: math.ceil(n / 8)" if isinstance(value, float) else ""


@exercise(1, ("network",), _cases)
def sparsity_and_bytes(result: object, network: nn.Module) -> None:
    """Judge a pair: the share of weights that are zero, and the bytes without them."""
    layers = prunable_layers(network).values()
    total, left, biases, mask_bytes = _counts(network)
    sparsity, size = 1 - left / total, mask_bytes + VALUE * (left + biases)
    expected = f"({sparsity:.6g}, {size})"
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Wrong("a pair (sparsity, bytes)", result)
    got_sparsity, got_size = result
    for value, kind, wanted in (
        (got_sparsity, float, "a float for the sparsity"),
        (got_size, int, "an int for the bytes"),
    ):
        if type(value) not in (int, kind):
            raise Wrong(wanted, show_with_type(value), _type_mistake(value))
    if not math.isclose(got_sparsity, sparsity, abs_tol=1e-6):
        zeros = sum(int((parameter == 0).sum()) for parameter in network.parameters())
        shares = [float((layer.weight == 0).float().mean()) for layer in layers]
        raise Wrong(expected, result, likely(float(got_sparsity), {
            "that is the share that is left; sparsity is the share that is zero":
                lambda: left / total,
            "that is in percent; a fraction lies in [0, 1]": lambda: 100 * sparsity,
            "that is the mean of the layers' sparsities; count the weights of all layers together":
                lambda: sum(shares) / len(shares),
            "the biases were counted too; only weights are pruned":
                lambda: zeros / (total + biases),
            "zeros among the biases were counted, but not the biases":
                lambda: zeros / total,
        }))  # fmt: skip
    if got_size != size:
        raise Wrong(expected, result, likely(got_size, {
            "all weights were counted, zeros too": lambda: mask_bytes + VALUE * (total + biases),
            "that is the dense size: every weight in 4 bytes": lambda: VALUE * (total + biases),
            "the bitmask is missing: one bit for each weight says where the others are":
                lambda: VALUE * (left + biases),
            "the biases are missing: 4 bytes for each": lambda: mask_bytes + VALUE * left,
            "the bitmask takes one bit for each weight, not one byte":
                lambda: total + VALUE * (left + biases),
            "the bitmask of each layer is rounded up to whole bytes":
                lambda: sum(layer.weight.numel() // 8 for layer in layers)
                + VALUE * (left + biases),
            "each layer has a bitmask of its own, rounded up by itself":
                lambda: math.ceil(total / 8) + VALUE * (left + biases),
        }))  # fmt: skip
