"""Exercises 5 and 6: which filters stay, and is the network without the others the same?"""

import math

import torch
from torch import Tensor, nn

from labutils.base.networks import SimpleCNN
from labutils.checks.values import Foreign, Misfit
from labutils.checks.verdict import Wrong, exercise, expect_tensor, likely, same, show
from labutils.prune.filters import keep_filters


def _norm_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(2)
    by_eye = torch.tensor([[[[1.0, -2.0]]], [[[0.0, 0.5]]], [[[-3.0, -4.0]]]])
    return [(by_eye,), (torch.randn(6, 4, 3, 3, generator=generator),)]


@exercise(5, ("weight",), _norm_cases)
def filter_norms(result: object, weight: Tensor) -> None:
    """Judge the L1 norms of a layer's filters."""
    by_filter = weight.flatten(1)
    expected = by_filter.abs().sum(1)
    if torch.is_tensor(result) and result.shape != expected.shape:
        raise Wrong(f"one norm for each of the {len(weight)} filters", result, likely(result, {
            "that is summed over the filters; one norm for each filter, weight[i], is asked for":
                lambda: weight.abs().sum((0, 2, 3)),
            "the kernel's positions are summed, the input channels are not":
                lambda: weight.abs().sum((2, 3)),
            "that is one number for the layer; one for each filter is asked for":
                lambda: weight.abs().sum(),
            "keep a flat list of norms, without dimensions of size 1":
                lambda: expected.view(-1, 1, 1, 1),
        }))  # fmt: skip
    expect_tensor(result, expected.shape, torch.float32)
    if not same(result, expected):
        raise Wrong(show(expected), result, likely(result, {
            "that is the L2 norm; L1 is the sum of the magnitudes": lambda: by_filter.norm(dim=1),
            "without the magnitudes, weights of both signs cancel": lambda: by_filter.sum(1),
            "the magnitude of the sum is not the sum of the magnitudes":
                lambda: by_filter.sum(1).abs(),
            "that is the mean; the sum is asked for": lambda: by_filter.abs().mean(1),
            "that is the squared L2 norm; L1 is the sum of the magnitudes":
                lambda: by_filter.square().sum(1),
            "the sum runs over the input channels and positions of one filter":
                lambda: weight.abs().sum((0, 2, 3)),
        }))  # fmt: skip


def _keep_cases() -> list[tuple]:
    return [
        (torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.6),
        (torch.tensor([9.0, 0.5, 7.0, 8.0, 1.0]), 0.3),
        (torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.0),
        (torch.tensor([3.0, 1.0, 2.0]), 1.0),
    ]


@exercise(5, ("norms", "amount"), _keep_cases)
def filters_to_keep(result: object, norms: Tensor, amount: float) -> None:
    """Judge the indices, rising, of the filters with the largest norms; one stays always."""
    count = max(1, len(norms) - round(amount * len(norms)))
    order = norms.argsort(descending=True, stable=True)
    expected = order[:count].sort().values
    if torch.is_tensor(result) and result.dtype == torch.bool:
        raise Wrong(
            f"indices: {show(expected)}", result, "that is a mask: mask.nonzero().flatten()"
        )
    if torch.is_tensor(result) and result.numel() != count:
        noun = "index" if count == 1 else "indices"
        raise Wrong(f"{count} {noun}", f"{result.numel()}: {show(result)}", _count_mistake(
            result.numel(), len(norms), amount))  # fmt: skip
    expect_tensor(result, expected.shape, torch.int64, "indices are whole numbers, int64")
    kept, rest = norms[_inside(result, norms)], norms[_others(result, norms)]
    distinct = result.unique().numel() == count
    if not distinct or (rest.numel() and kept.min() < rest.max()):
        raise Wrong(show(expected), result, likely(result.sort().values, {
            "you kept the small ones: the largest norms stay":
                lambda: order.flip(0)[:count].sort().values,
            "those are the first filters; the norms decide": lambda: torch.arange(count),
            "those are the positions after sorting: argsort gives the indices":
                lambda: torch.arange(len(norms))[-count:],
        }))  # fmt: skip
    if not torch.equal(result, result.sort().values):
        raise Wrong(show(result.sort().values), result, "sort the indices: filters stay in order")


def _count_mistake(got: int, total: int, amount: float) -> str:
    """Name the way of rounding that gives this many."""
    if got == 0:
        return "the layer is empty: at least one filter stays, even for amount 1"
    if got == round(amount * total):
        return "that many are removed, not kept"
    if got == total - math.floor(amount * total):
        return "k is rounded down: round(amount * n) filters go"
    if got == total - math.ceil(amount * total):
        return "k is rounded up: round(amount * n) filters go"
    return ""


def _inside(indices: Tensor, norms: Tensor) -> Tensor:
    if indices.numel() and not 0 <= int(indices.min()) <= int(indices.max()) < len(norms):
        raise Wrong(f"indices from 0 to {len(norms) - 1}", indices)
    return indices


def _others(indices: Tensor, norms: Tensor) -> Tensor:
    rest = torch.ones(len(norms), dtype=torch.bool)
    rest[indices] = False
    return rest


def _removal_cases() -> list[tuple]:
    return [
        removal_case((3, 4, 5), [0, 2], [1, 3], seed=3),
        removal_case((16, 32, 64), list(range(0, 16, 2)), list(range(5, 32, 3)), seed=4),
    ]


def removal_case(
    widths: tuple[int, int, int], kept1: list[int], kept2: list[int], seed: int
) -> tuple:
    """Return an untrained SimpleCNN and the indices of the filters that stay."""
    generator = torch.Generator().manual_seed(seed)
    network = SimpleCNN(widths)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 10)
    return network, torch.tensor(kept1), torch.tensor(kept2)


@exercise(6, ("network", "kept1", "kept2"), _removal_cases)
def remove_filters(result: object, network: SimpleCNN, kept1: Tensor, kept2: Tensor) -> None:
    """Judge a SimpleCNN that has only these filters of conv1 and conv2."""
    expected = keep_filters(network, {"conv1": kept1.tolist(), "conv2": kept2.tolist()})
    if not isinstance(result, (nn.Module, Misfit)):
        hint = "" if isinstance(result, Foreign) else "return the new network"
        raise Wrong("a SimpleCNN", result, hint)
    wanted = {name: tuple(t.shape) for name, t in expected.state_dict().items()}
    shapes = result.shapes if isinstance(result, Misfit) else {
        name: tuple(tensor.shape) for name, tensor in result.state_dict().items()
    }  # fmt: skip
    if shapes.keys() != wanted.keys():
        raise Wrong(f"the tensors {', '.join(wanted)}", ", ".join(shapes) or "no tensors")
    if shapes != wanted:
        first = next(name for name in wanted if shapes[name] != wanted[name])
        raise Wrong(f"{first} of {_by(wanted[first])}", _by(shapes[first]), _shape_mistake(
            first, shapes[first], wanted[first], network))  # fmt: skip
    if type(result) is not SimpleCNN:
        raise Wrong(
            f"SimpleCNN(widths={expected.widths})",
            result,
            "the tensors are of the right shapes, the layers around them are not: build "
            "SimpleCNN(widths), then copy the tensors into it",
        )
    for name, tensor in expected.state_dict().items():
        found = result.state_dict()[name]
        if not same(found, tensor):
            hint = likely(found, _slices(name, network, kept1, kept2))
            hint = hint or _not_copied(name, found, network)
            raise Wrong(f"in {name}, the numbers of the filters that stay", "other numbers", hint)


def _shape_mistake(
    name: str, shape: tuple[int, ...], wanted: tuple[int, ...], network: SimpleCNN
) -> str:
    """Say which cut is missing where a tensor is as long as it was."""
    before = tuple(network.get_parameter(name).shape)
    if name.endswith("bias"):
        return "a filter takes its bias along" if shape == before else ""
    if name == "conv1.weight":
        zeroed = "filters set to zero are still there: the new tensor has fewer rows"
        return zeroed if shape == before else ""
    uncut = shape[1:2] == before[1:2] != wanted[1:2]
    if name == "conv2.weight" and uncut:
        return f"the next layer still has {before[1]} inputs: cut conv2's second dimension by kept1"
    if name == "conv2.weight" and shape[:1] == before[:1]:
        return "conv2 still has all its filters: cut its first dimension by kept2"
    if name == "fc1.weight" and uncut:
        return (
            f"the next layer still has {before[1]} inputs: Flatten makes 7 x 7 = 49 of fc1's "
            "columns from each channel of conv2"
        )
    if name == "fc1.weight" and shape[1:2] != wanted[1:2]:
        return "fc1 has 7 x 7 = 49 columns for each channel of conv2"
    return ""


def _not_copied(name: str, found: Tensor, network: SimpleCNN) -> str:
    """Recognise a tensor into which nothing of the old network came."""
    if name in ("fc1.bias", "fc2.weight", "fc2.bias"):
        return f"{name} does not change: copy it whole"
    if found.dtype != torch.float32:
        return "the new network's numbers are not float32"
    if not torch.isin(found, network.get_parameter(name)).any():
        return f"the new network's {name} was not filled"
    return ""


def _slices(name: str, network: SimpleCNN, kept1: Tensor, kept2: Tensor) -> dict:
    """Return the usual wrong cuts of one tensor."""
    whole = network.get_parameter(name).detach()
    first = "those are the first ones; kept1 and kept2 say which"
    if name == "fc1.weight":
        blocks = whole.view(len(whole), -1, 49)
        across = whole.view(len(whole), 49, -1)
        return {
            "those are the first columns; each kept channel has its own 49":
                lambda: whole[:, : 49 * len(kept2)],
            "Flatten goes channel by channel: column = channel * 49 + position":
                lambda: across[:, :, kept2].flatten(1),
            "Flatten keeps a channel's 49 columns together: column = channel * 49 + position":
                lambda: across[:, :, kept2].transpose(1, 2).flatten(1),
            "the columns are right but in another order: channel by channel":
                lambda: blocks[:, kept2].transpose(1, 2).flatten(1),
        }  # fmt: skip
    if name == "conv2.weight":
        return {
            first: lambda: whole[: len(kept2), : len(kept1)],
            "the inputs of conv2 that stay are kept1, not the first":
                lambda: whole[kept2][:, : len(kept1)],
            "the filters of conv2 that stay are kept2, not the first":
                lambda: whole[: len(kept2), kept1],
        }  # fmt: skip
    if name.startswith("fc"):
        return {}
    kept = kept1 if name.startswith("conv1") else kept2
    if name.endswith("bias"):
        first = "the biases are the first ones, not those of the filters kept"
    return {first: lambda: whole[: len(kept)]}


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
