"""Exercise 1: how sparse is a network, and how many bytes does it take?"""

import math

import torch
from torch import nn

from labutils.base.layers import prunable_layers
from labutils.base.networks import SimpleCNN
from labutils.checks.verdict import Wrong, exercise, likely, show_with_type


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


@exercise(1, _cases, ("sparsity", "sparse_bytes", "model_bytes", "layer_table"))
def sparsity_and_bytes(result: object, network: nn.Module) -> None:
    """Judge a pair: the share of weights that are zero, and the bytes without them."""
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise Wrong("a pair (sparsity, bytes), a float and an int", show_with_type(result))
    wanted = ((float, "a float for the sparsity"), (int, "an int for the bytes"))
    for value, (kind, text) in zip(result, wanted, strict=True):
        if type(value) not in (int, kind):
            hint = "bytes are whole, an int: math.ceil(n / 8)" if isinstance(value, float) else ""
            if torch.is_tensor(value):
                hint = "take the number out of the tensor with .item()"
            raise Wrong(text, show_with_type(value), hint)
    weights = [layer.weight for layer in prunable_layers(network).values()]
    sizes = [weight.numel() for weight in weights]
    lefts = [int(weight.count_nonzero()) for weight in weights]
    total, left, mask_bytes = sum(sizes), sum(lefts), sum(math.ceil(size / 8) for size in sizes)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    zeros = parameters - sum(int(p.count_nonzero()) for p in network.parameters())
    biases = 4 * (parameters - total)
    sparsity, size = 1 - left / total, mask_bytes + 4 * left + biases
    expected = f"({sparsity:.6g}, {size})"
    if not math.isclose(result[0], sparsity, abs_tol=1e-6):
        raise Wrong(expected, result, likely(float(result[0]), {
            "that is the share that is left; sparsity is the share that is zero":
                lambda: left / total,
            "that is in percent; a fraction lies in [0, 1]": lambda: 100 * sparsity,
            "that is the mean of the layers' sparsities; count the weights of all layers together":
                lambda: 1 - sum(n / m for n, m in zip(lefts, sizes, strict=True)) / len(sizes),
            "the biases were counted too; only weights are pruned": lambda: zeros / parameters,
            "zeros among the biases were counted, but not the biases": lambda: zeros / total,
        }))  # fmt: skip
    if result[1] != size:
        raise Wrong(expected, result, likely(result[1], {
            "all weights were counted, zeros too": lambda: mask_bytes + 4 * parameters,
            "that is the dense size: every weight in 4 bytes": lambda: 4 * parameters,
            "the bitmask is missing: one bit for each weight says where the others are":
                lambda: 4 * left + biases,
            "the biases are missing: 4 bytes for each": lambda: mask_bytes + 4 * left,
            "the bitmask takes one bit for each weight, not one byte":
                lambda: total + 4 * left + biases,
            "the bitmask of each layer is rounded up to whole bytes":
                lambda: sum(size // 8 for size in sizes) + 4 * left + biases,
            "each layer has a bitmask of its own, rounded up by itself":
                lambda: math.ceil(total / 8) + 4 * left + biases,
        }))  # fmt: skip
