"""Exercises 5 and 6: which filters stay, and is the network without the others the same?"""

import math

import torch
from torch import Tensor, nn

from labutils.base.networks import SimpleCNN
from labutils.checks.plain import Foreign, Misfit
from labutils.checks.sizes import with_zeros
from labutils.checks.verdict import Wrong, by, exercise, expect_tensor, likely, same, show
from labutils.prune.filters import keep_filters


@exercise(5, lambda: [
    (torch.tensor([[1.0, -2.0], [0.0, 0.5], [-3.0, -4.0]])[..., None, None],),
    (torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(2)),),
], ("filter_scores", "prune_filters"))  # fmt: skip
def filter_norms(result: object, weight: Tensor) -> None:
    """Judge the L1 norms of a layer's filters."""
    rows, size = weight.flatten(1), weight.abs()
    expected = size.flatten(1).sum(1)
    if torch.is_tensor(result) and result.dtype == torch.float64:
        result = result.float()  # more digits than the weights have are no mistake
    if torch.is_tensor(result) and result.shape != expected.shape:
        raise Wrong(f"one norm for each of the {len(weight)} filters", result, likely(result, {
            "that is summed over the filters; one norm for each filter, weight[i], is asked for":
                lambda: size.sum((0, 2, 3)),
            "the kernel's positions are summed, the input channels are not":
                lambda: size.sum((2, 3)),
            "that is one number for the layer; one for each filter is asked for":
                lambda: size.sum(),
            "keep a flat list of norms, without dimensions of size 1":
                lambda: expected.view(result.shape),
        }))  # fmt: skip
    expect_tensor(result, expected.shape, torch.float32)
    if not same(result, expected):
        raise Wrong(show(expected), result, likely(result, {
            "that is the L2 norm; L1 is the sum of the magnitudes": lambda: rows.norm(dim=1),
            "without the magnitudes, weights of both signs cancel": lambda: rows.sum(1),
            "the magnitude of the sum is not the sum of the magnitudes": lambda: rows.sum(1).abs(),
            "that is the mean; the sum is asked for": lambda: rows.abs().mean(1),
            "that is the squared L2 norm; L1 is the sum of the magnitudes":
                lambda: rows.square().sum(1),
            "the sum runs over the input channels and positions of one filter":
                lambda: size.sum((0, 2, 3)),
        }))  # fmt: skip


@exercise(5, lambda: [
    (torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.6),
    (torch.tensor([9.0, 0.5, 7.0, 8.0, 1.0]), 0.3),
    (torch.tensor([3.0, 1.0, 2.0, 4.0]), 0.0),
    (torch.tensor([3.0, 1.0, 2.0]), 1.0),
    (torch.tensor([2.0, 1.0, 2.0, 3.0]), 0.5),
], ("prune_filters", "keep_filters"))  # fmt: skip
def filters_to_keep(result: object, norms: Tensor, amount: float) -> None:
    """Judge the indices, rising, of the filters with the largest norms; of equal ones, any."""
    total, exact = len(norms), amount * len(norms)
    count = max(1, total - round(exact))
    order = norms.argsort(descending=True, stable=True)
    expected = order[:count].sort().values
    if torch.is_tensor(result) and result.dtype == torch.bool:
        mask = "that is a mask: mask.nonzero().flatten()"
        raise Wrong(f"indices: {show(expected)}", result, mask)
    if torch.is_tensor(result) and result.numel() != count:
        got, wanted = result.numel(), f"{count} {'index' if count == 1 else 'indices'}"
        ties = "takes all equal norms or none; rank them, and cut by position"
        raise Wrong(wanted, f"{got}: {show(result)}", likely(got, {
            "the layer is empty: at least one filter stays, even for amount 1": lambda: 0,
            "that many are removed, not kept": lambda: round(exact),
            "k is rounded down: round(amount * n) filters go": lambda: total - math.floor(exact),
            "k is rounded up: round(amount * n) filters go": lambda: total - math.ceil(exact),
            f"ties keep too many: `>=` a threshold {ties}":
                lambda: int((norms >= norms[order[count - 1]]).sum()),
            f"ties keep too few: `>` a threshold {ties}":
                lambda: int((norms > norms[order[count]]).sum()),
        }))  # fmt: skip
    expect_tensor(result, expected.shape, torch.int64, "indices are integers, int64")
    if not 0 <= int(result.min()) <= int(result.max()) < total:
        raise Wrong(f"indices from 0 to {total - 1}", result)
    ranked = result.sort().values
    if not torch.equal(norms[result].sort().values, norms[expected].sort().values) or (
        len(ranked.unique()) < count
    ):
        raise Wrong(show(expected), result, likely(ranked, {
            "you kept the small ones: the largest norms stay": lambda: order[-count:].sort().values,
            "those are the first filters; the norms decide": lambda: torch.arange(count),
            "those are the positions after sorting: argsort gives the indices":
                lambda: torch.arange(total)[-count:],
        }))  # fmt: skip
    if not torch.equal(result, ranked):
        raise Wrong(show(ranked), result, "sort the indices: filters stay in order")


def removal_case(
    widths: tuple[int, int, int], kept1: list[int], kept2: list[int], seed: int
) -> tuple:
    """Return an untrained SimpleCNN and the indices of the filters that stay."""
    return with_zeros(widths, seed, share=0.0), torch.tensor(kept1), torch.tensor(kept2)


@exercise(6, lambda: [
    removal_case((3, 4, 5), [0, 2], [1, 3], seed=3),
    removal_case((16, 32, 64), list(range(0, 16, 2)), list(range(5, 32, 3)), seed=4),
], ("keep_filters", "prune_filters"))  # fmt: skip
def remove_filters(result: object, network: SimpleCNN, kept1: Tensor, kept2: Tensor) -> None:
    """Judge a SimpleCNN that has only these filters of conv1 and conv2."""
    expected = keep_filters(network, {"conv1": kept1.tolist(), "conv2": kept2.tolist()})
    if not isinstance(result, (nn.Module, Misfit)):
        hint = "" if isinstance(result, Foreign) else "return the new network"
        raise Wrong("a SimpleCNN", result, hint)
    shapes = result.shapes if isinstance(result, Misfit) else _shapes(result)
    wanted = _shapes(expected)
    if shapes.keys() != wanted.keys():
        raise Wrong(f"the tensors {', '.join(wanted)}", ", ".join(shapes) or "no tensors")
    for name, shape in wanted.items():
        if shapes[name] != shape:
            hint = _shape_mistake(name, shapes[name], shape, network)
            raise Wrong(f"{name} of {by(shape)}", by(shapes[name]), hint)
    if type(result) is not SimpleCNN:
        hint = "the tensors are of the right shapes, the layers around them are not: build "
        hint += "SimpleCNN(widths), then copy the tensors into it"
        raise Wrong(f"SimpleCNN(widths={expected.widths})", result, hint)
    for name, tensor in expected.state_dict().items():
        found = result.state_dict()[name]
        if not same(found, tensor):
            hint = likely(found, _slices(name, network, kept1, kept2))
            hint = hint or _not_copied(name, found, network)
            raise Wrong(f"in {name}, the numbers of the filters that stay", "other numbers", hint)


def _shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _shape_mistake(name: str, shape: tuple, wanted: tuple, network: SimpleCNN) -> str:
    """Say which cut is missing where a tensor is as long as it was."""
    before = tuple(network.get_parameter(name).shape)
    uncut = shape[1:2] == before[1:2] != wanted[1:2]
    inputs = f"the next layer still has {by(before[1:2])} inputs:"
    mistakes = [
        ("bias", shape == before, "a filter takes its bias along"),
        ("conv1.weight", shape == before,
         "filters set to zero are still there: the new tensor has fewer rows"),
        ("conv2.weight", uncut, f"{inputs} cut conv2's second dimension by kept1"),
        ("conv2.weight", shape[:1] == before[:1],
         "conv2 still has all its filters: cut its first dimension by kept2"),
        ("fc1.weight", uncut,
         f"{inputs} Flatten makes 7 x 7 = 49 of fc1's columns from each channel of conv2"),
        ("fc1.weight", shape[1:2] != wanted[1:2],
         "fc1 has 7 x 7 = 49 columns for each channel of conv2"),
    ]  # fmt: skip
    return next((text for of, true, text in mistakes if name.endswith(of) and true), "")


def _not_copied(name: str, found: Tensor, network: SimpleCNN) -> str:
    """Recognise a tensor into which nothing of the old network came."""
    if name in ("fc1.bias", "fc2.weight", "fc2.bias"):
        return f"{name} does not change: copy it whole"
    if found.dtype != torch.float32:
        return "the new network's numbers are not float32"
    filled = torch.isin(found, network.get_parameter(name)).any()
    return "" if filled else f"the new network's {name} was not filled"


def _slices(name: str, network: SimpleCNN, kept1: Tensor, kept2: Tensor) -> dict:
    """Return the usual wrong cuts of one tensor."""
    whole = network.get_parameter(name).detach()
    first = "those are the first ones; kept1 and kept2 say which"
    biases = "the biases are the first ones, not those of the filters kept"
    n1, n2 = len(kept1), len(kept2)
    return {
        "conv1.weight": {first: lambda: whole[:n1]},
        "conv1.bias": {biases: lambda: whole[:n1]},
        "conv2.bias": {biases: lambda: whole[:n2]},
        "conv2.weight": {
            first: lambda: whole[:n2, :n1],
            "the inputs of conv2 that stay are kept1, not the first": lambda: whole[kept2][:, :n1],
            "the filters of conv2 that stay are kept2, not the first": lambda: whole[:n2, kept1],
        },
        "fc1.weight": {
            "those are the first columns; each kept channel has its own 49":
                lambda: whole[:, : 49 * n2],
            "Flatten goes channel by channel: column = channel * 49 + position":
                lambda: whole.view(len(whole), 49, -1)[:, :, kept2].flatten(1),
            "Flatten keeps a channel's 49 columns together: column = channel * 49 + position":
                lambda: whole.view(len(whole), 49, -1)[:, :, kept2].transpose(1, 2).flatten(1),
            "the columns are right but in another order: channel by channel":
                lambda: whole.view(len(whole), -1, 49)[:, kept2].transpose(1, 2).flatten(1),
        },
    }.get(name, {})  # fmt: skip
