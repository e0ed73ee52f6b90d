"""The checks of the assignment, as a student meets them."""

import ast
import copy
import functools
import inspect
import linecache
import re
import threading
from collections import OrderedDict
from types import SimpleNamespace

import nbformat
import pytest
import torch
import torch.nn.functional as F
from hostile import HOSTILE, UnknownNetwork
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from torch import nn
from torch.nn.utils import prune

import labutils as lab
from classroom.assignment import parts
from classroom.values import pack, unpack
from labutils import checks
from labutils.base.structure import LAYERS
from labutils.checks import filters, masks, scan, sizes, tuning
from labutils.checks.design import MIME, handed_in
from labutils.checks.verdict import BODY, NOTHING, Attempt
from labutils.fit.evaluation import Evaluation

SPARSITY, MASK, GLOBAL = checks.sparsity_and_bytes, checks.magnitude_mask, checks.global_masks
SCAN, CHOICE, NORMS = checks.sensitivity_scan, checks.choose_amounts, checks.filter_norms
KEEP, REMOVE, TUNE = checks.filters_to_keep, checks.remove_filters, checks.tune
CHECKS = [SPARSITY, MASK, GLOBAL, SCAN, CHOICE, NORMS, KEEP, REMOVE, TUNE]
every_check = pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])
draw = functools.partial(torch.randn, generator=torch.Generator().manual_seed(7))
HIDDEN = [part.source for part in parts() if part.name.endswith("-hidden")]
few_examples = settings(deadline=None, max_examples=40)


def failure(check, function, cases=None):
    with pytest.raises(checks.CheckFailed) as caught:
        check.examine(function, cases)
    return caught.value


def told(error):
    """The lines of a failure by their names."""
    title, *lines = str(error).splitlines()
    return {"title": title} | {line[2:11].strip(): line[12:] for line in lines}


# ---------------------------------------------------------------- right answers


def counts(network):
    """What there is to count in a network: biases in bytes, and the right answers."""
    layers = [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    c = SimpleNamespace(sizes=[layer.weight.numel() for layer in layers])
    c.lefts = [layer.weight.count_nonzero().item() for layer in layers]
    c.weights, c.left = sum(c.sizes), sum(c.lefts)
    c.parameters = sum(p.numel() for p in network.parameters())
    c.zeros = sum(int((p == 0).sum()) for p in network.parameters())
    c.biases = 4 * sum(layer.bias.numel() for layer in layers)
    c.mask = sum(-(-size // 8) for size in c.sizes)
    c.share, c.bytes = (c.weights - c.left) / c.weights, c.mask + 4 * c.left + c.biases
    return c


def share_and_bytes(network):
    return counts(network).share, counts(network).bytes


def cut(scores, removed):
    """Mark all but the lowest scores."""
    mask = torch.ones(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().argsort()[:removed]] = False
    return mask.view(scores.shape)


def mask_by_argsort(weight, amount):
    return cut(weight.abs(), round(amount * weight.numel()))


def cut_apart(weights, mask_of):
    """Make one mask for all weights together, and cut it into their shapes."""
    mask = mask_of(torch.cat([weight.flatten() for weight in weights.values()]))
    pieces = mask.split([weight.numel() for weight in weights.values()])
    return {n: m.view(weights[n].shape) for n, m in zip(weights, pieces, strict=True)}


def masks_of_one_ranking(weights, amount):
    return cut_apart(weights, lambda weight: mask_by_argsort(weight, amount))


def only(network, name, amount):
    return lab.prune_magnitude(network, {name: amount})


def scanned(network, amounts, split, pruned=only, told=lambda accuracy: accuracy):
    return {
        name: [told(lab.evaluate(pruned(network, name, a), split).accuracy) for a in amounts]
        for name in lab.prunable_layers(network)
    }


def chosen(scan, amounts, dense, drop, fails=lambda cost, drop: cost > drop + 1e-9, on_fail="stop"):
    """The two loops of a choice; on a failure they stop, go on, or take that amount and stop."""
    choice = {}
    for name, accuracies in scan.items():
        choice[name] = 0.0
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            failed = fails(dense - accuracy, drop)
            if not failed or on_fail == "take":
                choice[name] = amount
            if failed and on_fail != "go on":
                break
    return choice


def norms_of_filters(weight):
    return weight.abs().sum(dim=(1, 2, 3))


def count_kept(norms, amount):
    return max(1, len(norms) - round(amount * len(norms)))


def top(norms, count):
    return norms.topk(max(1, count)).indices.sort().values


def largest_filters(norms, amount):
    return top(norms, count_kept(norms, amount))


def smaller_network(network, kept1, kept2):
    slim = lab.SimpleCNN((len(kept1), len(kept2), network.fc1.out_features))
    state = network.state_dict()
    for name in ("conv1.weight", "conv1.bias"):
        state[name] = state[name][kept1]
    state["conv2.weight"] = state["conv2.weight"][kept2][:, kept1]
    state["conv2.bias"] = state["conv2.bias"][kept2]
    columns = state["fc1.weight"].view(network.fc1.out_features, -1, 49)
    state["fc1.weight"] = columns[:, kept2].flatten(1)
    slim.load_state_dict(state)
    return slim


def in_one_vector(*inputs):
    slim = smaller_network(*inputs)
    vector = nn.utils.parameters_to_vector(slim.parameters()).detach()
    nn.utils.vector_to_parameters(vector, slim.parameters())
    return slim


def momentum_sgd(parameters, rate):
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9)


def tuned(
    network,
    batches,
    rate,
    make=momentum_sgd,
    silenced="after every step",
    biases_too=False,
    loss=F.cross_entropy,
    clear=True,
):
    """Train a copy, zeros set again when it is said: correctly, or in many wrong ways."""
    network = copy.deepcopy(network)
    places = [(p, p == 0) for p in network.parameters() if p.dim() > 1 or biases_too]
    optimizer = make(network.parameters(), rate)

    def silence(now):
        for parameter, zero in places if now == silenced else []:
            parameter.data[zero] = 0

    for step, (images, labels) in enumerate(batches):
        silence("before every step")
        if clear:
            optimizer.zero_grad()
        loss(network(images), labels).backward()
        optimizer.step()
        silence("after every step")
        silence(f"after step {step}")
    silence("at the end")
    return network


def tuned_with_momentum_by_hand(network, batches, rate):
    network = copy.deepcopy(network)
    speed = [torch.zeros_like(p) for p in network.parameters()]
    for images, labels in batches:
        loss = F.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        for p, v, g in zip(network.parameters(), speed, gradients, strict=True):
            v.mul_(0.9).add_(g * (p != 0) if p.dim() > 1 else g)
            p.data -= rate * v
    return network


def of_numpy(network):
    share, size = torch.tensor(share_and_bytes(network), dtype=torch.float64).numpy()
    return share, size.astype("int64")


WEIGHTS = {"a": draw(3), "b": draw(2, 5) / 10, "c": draw(4, 2, 3, 3).round()}
SCANNED = {"a": [1.0, 0.5, 1.0, 0.25], "b": [0.0] * 4, "c": [1.0] * 4}
# Check, right answer, and cases beside the visible and the hidden ones.
RIGHT = [
    (SPARSITY, share_and_bytes, []),
    (SPARSITY, of_numpy, []),
    (MASK, mask_by_argsort,
     [(draw(n, 5).round(), amount) for n in (0, 1, 7) for amount in (0, 0.1, 0.77, 1)]),
    (GLOBAL, masks_of_one_ranking, [
        *((WEIGHTS, amount) for amount in (0, 0.2, 0.55, 0.95, 1)),
        ({"x": torch.ones(3), "y": torch.ones(4, 2)}, 0.3),
    ]),
    # Exercise 3 may call what Exercise 2 goes on with.
    (GLOBAL, lambda ws, a: cut_apart(ws, lambda w: lab.magnitude_mask(w, a)), []),
    (SCAN, scanned, []),
    (SCAN, lambda *i: {name: tuple(found) for name, found in scanned(*i).items()}, []),
    (CHOICE, chosen, [
        (SCANNED, [0.1, 0.3, 0.5, 0.9], 1.0, drop) for drop in (0.0, 0.5, 0.75, 1.0)
    ]),
    (NORMS, norms_of_filters, []),
    (NORMS, lambda weight: norms_of_filters(weight).double(), []),
    (KEEP, largest_filters, [(torch.ones(5), amount) for amount in (0, 0.1, 0.25, 0.5, 0.9, 1)]),
    (REMOVE, smaller_network, [checks.removal_case((5, 7, 3), list(range(5)), [2, 6], 13)]),
    (REMOVE, in_one_vector, []),
    (TUNE, tuned, []),
    (TUNE, tuned_with_momentum_by_hand, []),
]  # fmt: skip
RIGHT_OF = {check: function for check, function, _ in reversed(RIGHT)}


@pytest.mark.parametrize(("check", "function", "cases"), RIGHT)
def test_right_solution_is_right(check, function, cases, capsys):
    assert check(function) is None
    visible = len(check.cases())
    noun = "case" if visible == 1 else "cases"
    assert capsys.readouterr().out == f"{check.title}: right ({visible} {noun})\n"
    (hidden,) = (source for source in HIDDEN if f"checks.{check.__name__}(" in source)
    exec(hidden, {check.__name__: function})
    check.examine(function, cases)


# ---------------------------------------------------------------- wrong answers

WRONG = []


def wrong(check, expected, *answers, cases=None):
    """Collect wrong answers, each by words of the likely mistake that the check should name."""
    WRONG.extend((check, answer, likely, expected, cases) for likely, answer in answers)


def unlike(check, *changes):
    """Collect answers that are right but for a change: what is expected, the change, the hint."""
    right = RIGHT_OF[check]
    for expected, change, *likely in changes:
        likely = likely[0] if likely else ""
        wrong(check, expected, (likely, lambda *i, change=change: change(right(*i))))


def shares(share_of):
    return lambda network: (share_of(counts(network)), counts(network).bytes)


def bytes_are(bytes_of):
    return lambda network: (counts(network).share, bytes_of(counts(network)))


wrong(SPARSITY, "(0.",
    ("the share that is left;", shares(lambda c: c.left / c.weights)),
    ("in percent", shares(lambda c: 100 * c.share)),
    ("the biases were counted too", shares(lambda c: c.zeros / c.parameters)),
    ("zeros among the biases", shares(lambda c: c.zeros / c.weights)),
    ("all weights were counted", bytes_are(lambda c: c.mask + 4 * c.parameters)),
    ("the dense size", bytes_are(lambda c: 4 * c.parameters)),
    ("the bitmask is missing", bytes_are(lambda c: 4 * c.left + c.biases)),
    ("the biases are missing", bytes_are(lambda c: c.mask + 4 * c.left)),
    ("one bit for each weight, not one byte", bytes_are(lambda c: c.weights + c.bytes - c.mask)),
    ("the mean of the layers' sparsities",
     shares(lambda c: sum(1 - n / m for n, m in zip(c.lefts, c.sizes, strict=True)) / len(c.sizes))
     ),
    ("rounded up to whole bytes",
     bytes_are(lambda c: sum(n // 8 for n in c.sizes) + c.bytes - c.mask)),
    ("a bitmask of its own", bytes_are(lambda c: -(-c.weights // 8) + c.bytes - c.mask)),
)  # fmt: skip
unlike(SPARSITY,
    ("a float for the sparsity", lambda r: (torch.tensor(r[0]), r[1]), "with .item()"),
    ("an int for the bytes", lambda r: (r[0], torch.tensor(r[1])), "with .item()"),
    ("an int for the bytes", lambda r: (r[0], r[1] / 8), "bytes are whole, an int: math.ceil"),
    ("a pair (sparsity, bytes), a float and an int", lambda right: right[0]),
)  # fmt: skip


def threshold(weight, amount, strictly):
    """A mask by comparison with the largest weight to go, or the smallest to stay."""
    ranked, k = weight.abs().flatten().sort().values, round(amount * weight.numel())
    if strictly:
        return weight.abs() > (ranked[k - 1] if k else -1)
    return weight.abs() >= (ranked[k] if k < len(ranked) else torch.inf)


wrong(MASK, "removed",
    ("you kept the small ones", lambda w, a: ~mask_by_argsort(w, a)),
    ("rank by |w|, or -4 goes before 1", lambda w, a: cut(w, round(a * len(w)))),
    ("the amount is removed, not kept", lambda w, a: mask_by_argsort(w, 1 - a)),
    ("k is rounded down", lambda w, a: cut(w.abs(), int(a * w.numel()))),
    ("k is rounded up", lambda w, a: cut(w.abs(), w.numel() - int((1 - a) * w.numel()))),
    ("ties remove too many", lambda w, a: threshold(w, a, strictly=True)),
    ("ties remove too many", lambda w, a: w.abs() > w.abs().quantile(a)),
    ("that equal it. Rank the weights and cut", lambda w, a: threshold(w, a, strictly=False)),
    ("", lambda w, a: cut(torch.arange(w.numel(), 0, -1).view(w.shape), round(a * w.numel()))),
)  # fmt: skip
unlike(MASK,
    ("a bool tensor of 4", lambda m: m.float(), "the mask has the wrong dtype"),
    ("a bool tensor of 2", lambda m: m.flatten(), "in another shape"),
    ("a bool tensor of 4", lambda m: m.tolist(), "make a tensor of it: torch.tensor"),
    ("a bool tensor of 4", lambda m: tuple(m.tolist()), "make a tensor of it: torch.tensor"),
    ("a bool tensor of 4", lambda m: m.numpy(), "make a tensor of it: torch.tensor"),
)  # fmt: skip


def joined(mask_of):
    return lambda ws, a: cut_apart(ws, lambda w: mask_of(w, a))


wrong(GLOBAL, "removed",
    ("you kept the small ones", joined(lambda w, a: ~mask_by_argsort(w, a))),
    ("the signs count: rank by |w|", joined(lambda w, a: cut(w, round(a * len(w))))),
    ("each layer was cut by itself",
     lambda ws, a: {name: mask_by_argsort(w, a) for name, w in ws.items()}),
    ("all that equal it, in every layer", joined(lambda w, a: threshold(w, a, strictly=True))),
    ("ties remove too few", joined(lambda w, a: threshold(w, a, strictly=False))),
    ("each layer was scaled by its largest weight first",
     lambda ws, a: masks_of_one_ranking({n: w / w.abs().max() for n, w in ws.items()}, a)),
    ("k is rounded down", joined(lambda w, a: cut(w.abs(), int(a * len(w))))),
)  # fmt: skip
ORDER = "a dict with the keys ['a', 'b'], in this order"
unlike(GLOBAL,
    (ORDER, lambda ms: list(ms.values())),
    (ORDER, lambda ms: dict(reversed(ms.items()))),
    ("a bool tensor of 2 for a", lambda ms: {n: m.float() for n, m in ms.items()}, "wrong dtype"),
    ("of 2 x 2 for b", lambda ms: {n: m.flatten() for n, m in ms.items()}, "in another shape"),
)  # fmt: skip


def scan_that_prunes_on(network, amounts, split):
    networks = [network]

    def pruned(_network, name, amount):
        networks.append(only(networks[-1], name, amount))
        return networks[-1]

    return scanned(network, amounts, split, pruned)


def scan_of_drops(network, amounts, split):
    dense = lab.evaluate(network, split).accuracy
    return scanned(network, amounts, split, told=lambda accuracy: dense - accuracy)


def by_layer(value_of):
    return lambda network, amounts, _s: {n: value_of(amounts) for n in lab.prunable_layers(network)}


wrong(SCAN, " for conv",
    ("in percent", lambda *i: scanned(*i, told=lambda accuracy: 100 * accuracy)),
    ("that is the error", lambda *i: scanned(*i, told=lambda accuracy: 1 - accuracy)),
    ("that is the drop", scan_of_drops),
    ("each pruning went on from the last one", scan_that_prunes_on),
    ("all layers were pruned",
     lambda *i: scanned(*i, pruned=lambda n, _name, a: lab.prune_magnitude(n, a))),
    ("the dense network was evaluated", lambda *i: scanned(*i, pruned=lambda n, _name, _a: n)),
    ("", by_layer(lambda amounts: [0.123] * len(amounts))),
)  # fmt: skip
wrong(SCAN, "a list of 3 floats for conv1",
    ("make a list of it with .tolist()", by_layer(lambda amounts: torch.ones(len(amounts)))),
    ("the numbers out with .item()", by_layer(lambda amounts: [torch.tensor(0.5)] * len(amounts))),
    ("take its .accuracy",
     by_layer(lambda amounts: [Evaluation(0.5, 1, 2, 0.7, (0.1, 0.9))] * len(amounts))),
    ("", by_layer(lambda amounts: [SimpleNamespace(accuracy=0.5) for _ in amounts])),
)  # fmt: skip
wrong(SCAN, "a dict with the keys ['conv1', 'conv2', 'fc1', 'fc2']",
    ("fc1, fc2 was not scanned", lambda *_i: {name: [0.5] for name in ("conv1", "conv2")}),
    ("", lambda network, *_i: {layer: [0.5] for layer in network}),
)  # fmt: skip
wrong(SCAN, "3 accuracies for conv1", ("", by_layer(lambda amounts: [0.5] * (len(amounts) - 1))))


def chosen_positions(scan, amounts, *rest):
    choice = chosen(scan, amounts, *rest)
    return {name: amounts.index(a) if a else 0 for name, a in choice.items()}


wrong(CHOICE, "1: 0",
    ("passed later by luck: stop at the first failure", lambda *i: chosen(*i, on_fail="go on")),
    ("that is the first amount that fails", lambda *i: chosen(*i, on_fail="take")),
    ("that is the position in the list", chosen_positions),
    ("nothing goes: 0.0", lambda scan, amounts, *rest: {
         n: a or amounts[0] for n, a in chosen(scan, amounts, *rest).items()}),
    ("allowed_drop is no share",
     lambda scan, amounts, dense, drop: chosen(scan, amounts, dense, drop * dense)),
    ("a loss of just allowed_drop is still allowed",
     lambda *i: chosen(*i, fails=lambda cost, drop: cost >= drop)),
)  # fmt: skip
unlike(CHOICE,
    ("a dict with the keys ['conv1', 'fc1', 'fc2']", lambda c: {n: a for n, a in c.items() if a}),
    ("a float for each layer", lambda c: {n: a or None for n, a in c.items()}),
    ("a float for each layer", lambda c: {n: torch.tensor(c[n]) for n in c}, "with .item()"),
    ("{conv1: 0, fc1: 0.5, fc2: 0}", lambda c: dict.fromkeys(c, 0.75)),
)  # fmt: skip

wrong(NORMS, "",
    ("that is the L2 norm", lambda w: w.flatten(1).norm(dim=1)),
    ("without the magnitudes", lambda w: w.sum(dim=(1, 2, 3))),
    ("the magnitude of the sum is not", lambda w: w.sum(dim=(1, 2, 3)).abs()),
    ("that is the mean", lambda w: w.abs().mean(dim=(1, 2, 3))),
    ("that is the squared L2 norm", lambda w: (w**2).sum(dim=(1, 2, 3))),
    ("that is summed over the filters", lambda w: w.abs().sum(dim=(0, 2, 3))),
    ("the input channels are not", lambda w: w.abs().sum(dim=(2, 3))),
    ("that is one number for the layer", lambda w: w.abs().sum()),
    ("without dimensions of size 1", lambda w: w.abs().sum(dim=(1, 2, 3), keepdim=True)),
    ("without dimensions of size 1", lambda w: norms_of_filters(w)[:, None]),
)  # fmt: skip
wrong(NORMS, "[", ("the sum runs over", lambda w: w.abs().sum(dim=(0, 2, 3))),
      cases=[(draw(4, 4, 3, 3),)])  # fmt: skip
unlike(NORMS,
    ("a float32 tensor of 3", lambda n: n.long(), "the result has the wrong dtype"),
    ("a float32 tensor of 3", lambda n: tuple(n), "make a tensor of it: torch.tensor"),
    ("a float32 tensor of 3", lambda n: n.tolist(), "make a tensor of it: torch.tensor"),
)  # fmt: skip

wrong(KEEP, "",
    ("you kept the small ones", lambda n, a: top(-n, count_kept(n, a))),
    ("those are the first filters", lambda n, a: torch.arange(count_kept(n, a))),
    ("those are the positions after sorting",
     lambda n, a: torch.arange(len(n))[-count_kept(n, a):]),
    ("the layer is empty", lambda n, a: n.argsort()[round(a * len(n)):].sort().values),
    ("that many are removed, not kept", lambda n, a: top(n, round(a * len(n)))),
    ("k is rounded down", lambda n, a: top(n, len(n) - int(a * len(n)))),
    ("k is rounded up", lambda n, a: top(n, int((1 - a) * len(n)))),
    ("sort the indices", lambda n, a: n.topk(count_kept(n, a)).indices),
    ("ties keep too many", lambda n, a: (n >= n.topk(count_kept(n, a)).values[-1]).nonzero()[:, 0]),
    ("ties keep too few: `>` a threshold takes all equal norms or none; rank them, and cut by",
     lambda n, a: top(n, int((n > n.sort().values[round(a * len(n)) - 1]).sum()) if a else len(n))),
)  # fmt: skip
wrong(KEEP, "indices: [0, 3]", ("that is a mask: mask.nonzero()", mask_by_argsort))
unlike(KEEP,
    ("an int64 tensor of 2", lambda right: right.float(), "indices are integers, int64"),
    ("an int64 tensor of 2", lambda right: right[:, None], "in another shape"),
    ("an int64 tensor of 2", lambda right: right.tolist(), "make a tensor of it: torch.tensor"),
    ("an int64 tensor of 2", lambda right: (right,), "take the tensor out of the tuple: [0]"),
    ("an int64 tensor of 2", lambda right: right.float().sort(), "or .indices after sort and topk"),
    ("indices from 0 to 3", lambda right: right + 1),
    ("[0, 3]", lambda right: right.max().repeat(len(right))),
    ("2 indices", lambda right: torch.arange(len(right) + 1)),
)  # fmt: skip


def filters_zeroed(network, kept1, kept2):
    network = copy.deepcopy(network)
    for layer, kept in ((network.conv1, kept1), (network.conv2, kept2)):
        gone = [i for i in range(len(layer.weight)) if i not in kept]
        layer.weight.data[gone], layer.bias.data[gone] = 0, 0
    return network


def replaced(network, *inputs, **layers):
    """The network with these layers instead of its own; None stands for the right one."""
    slim, network = smaller_network(network, *inputs), copy.deepcopy(network)
    for name, layer in layers.items():
        setattr(network, name, layer or getattr(slim, name))
    return network


def in_the_old_layers(network, *inputs, tensors=""):
    """The right tensors, or those whose names end so, in layers of the old sizes."""
    small, network = smaller_network(network, *inputs), copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        if name.endswith(tensors):
            parameter.data = small.state_dict()[name]
    return network


def inputs_alone(network, kept1, kept2):
    network = replaced(network, kept1, kept2, conv1=None)
    network.conv2.weight.data = network.conv2.weight.data[:, kept1]
    return network


wrong(REMOVE, "",
    ("filters set to zero are still there", filters_zeroed),
    ("still has 3 inputs: cut conv2's second", lambda *i: replaced(*i, conv1=None)),
    ("still has 3 inputs: cut conv2's second",
     lambda n, *i: replaced(n, *i, conv1=None, conv2=nn.Conv2d(3, len(i[1]), 3))),
    ("conv2 still has all its filters", inputs_alone),
    ("still has 196 inputs: Flatten makes 7 x 7", lambda *i: replaced(*i, conv1=None, conv2=None)),
    ("fc1 has 7 x 7 = 49 columns",
     lambda n, *i: replaced(n, *i, conv1=None, conv2=None, fc1=nn.Linear(len(i[1]), 5))),
    ("a filter takes its bias along", lambda *i: in_the_old_layers(*i, tensors="weight")),
)  # fmt: skip
wrong(REMOVE, "conv2.weight of 2 x 3", ("conv2 still has all its filters", filters_zeroed),
      cases=[checks.removal_case((3, 4, 5), [0, 1, 2], [1, 3], seed=5)])  # fmt: skip
wrong(REMOVE, "SimpleCNN(widths=(2, 2, 5))",
    ("the layers around them are not", in_the_old_layers),
    ("then copy the tensors into it",
     lambda *i: nn.Sequential(OrderedDict(smaller_network(*i).named_children()))),
)  # fmt: skip
unlike(REMOVE,
    ("the tensors conv1.weight, conv1.bias, ", lambda slim: nn.Sequential(*slim)),
    ("a SimpleCNN", lambda slim: slim.state_dict(), "return the new network"),
)  # fmt: skip


def otherwise(name, tensor_of):
    """The right network but for this tensor, a function of the inputs."""

    def answer(*inputs):
        slim = smaller_network(*inputs)
        slim.get_parameter(name).data.copy_(tensor_of(*inputs))
        return slim

    return answer


def columns(column_of, channels_first=False):
    """fc1 with columns by a formula of a kept channel and a position, one of the two first."""

    def answer(network, _kept1, kept2):
        pairs = [(c, p) for p in range(49) for c in kept2.tolist()]
        if channels_first:
            pairs.sort(key=lambda pair: kept2.tolist().index(pair[0]))
        return network.fc1.weight[:, [column_of(c, p, len(network.conv2.weight)) for c, p in pairs]]

    return otherwise("fc1.weight", answer)


def across(channel, position, channels):
    return position * channels + channel


def along(channel, position, _channels):
    return channel * 49 + position


wrong(REMOVE, "the numbers of the filters that stay",
    ("those are the first ones", otherwise("conv1.weight", lambda n, k, _: n[0].weight[: len(k)])),
    ("those are the first ones",
     otherwise("conv2.weight", lambda n, k1, k2: n.conv2.weight[: len(k2), : len(k1)])),
    ("the inputs of conv2 that stay are kept1",
     otherwise("conv2.weight", lambda n, k1, k2: n.conv2.weight[k2][:, : len(k1)])),
    ("the filters of conv2 that stay are kept2",
     otherwise("conv2.weight", lambda n, k1, k2: n.conv2.weight[: len(k2)][:, k1])),
    ("the biases are the first ones",
     otherwise("conv2.bias", lambda n, _, k: n.conv2.bias[: len(k)])),
    ("the biases are the first ones", otherwise("conv1.bias", lambda n, k, _: n[0].bias[: len(k)])),
    ("those are the first columns",
     otherwise("fc1.weight", lambda n, _, k: n.fc1.weight[:, : 49 * len(k)])),
    ("Flatten goes channel by channel", columns(across)),
    ("Flatten keeps a channel's 49 columns", columns(across, channels_first=True)),
    ("the columns are right but in another order", columns(along)),
    ("the new network's conv1.weight was not filled",
     lambda n, k1, k2: lab.SimpleCNN((len(k1), len(k2), n.fc1.out_features))),
    ("fc1.bias does not change: copy it whole", otherwise("fc1.bias", lambda *_: torch.zeros(5))),
    ("fc2.weight does not change",
     otherwise("fc2.weight", lambda n, *_: n.fc2.weight.flip(0))),
    ("numbers are not float32", lambda *i: smaller_network(*i).double()),
    ("", lambda n, k1, k2: smaller_network(n, k1.flip(0), k2)),
)  # fmt: skip


def tunes(**options):
    return lambda *inputs: tuned(*inputs, **options)


def made_anew(parameters, rate):
    """An optimizer that forgets its momentum after each step, as one made inside the loop."""
    sgd = momentum_sgd(list(parameters), rate)
    sgd.register_step_post_hook(lambda *_step: sgd.state.clear())
    return sgd


def of_weights_alone(parameters, rate):
    return momentum_sgd([p for p in parameters if p.dim() > 1], rate)


def held_by_torch(network, *_inputs):
    network = copy.deepcopy(network)
    for layer in lab.prunable_layers(network).values():
        prune.custom_from_mask(layer, "weight", layer.weight != 0)
    return network


wrong(TUNE, "every weight that was zero is zero",
    ("by its mask after every step", tunes(silenced="never")),
    ("by its mask after every step", tunes(silenced="before every step")),
    ("the zeros were set once, and momentum revived them", tunes(silenced="after step 0")),
)  # fmt: skip
wrong(TUNE, "the weights after these steps of SGD with momentum",
    ("revived weights took part. Set them after every step", tunes(silenced="at the end")),
    ("nothing was learned", lambda n, _b, r: tuned(n, [], r)),
    ("without momentum", tunes(make=torch.optim.SGD)),
    ("without momentum", tunes(make=made_anew)),
    ("that is Adam", tunes(make=torch.optim.Adam)),
    ("learning_rate was not used", tunes(make=lambda p, _rate: momentum_sgd(p, 1e-3))),
    ("cross_entropy takes the logits as they are",
     tunes(loss=lambda logits, labels: F.cross_entropy(logits.softmax(1), labels))),
    ("the gradients add up", tunes(clear=False)),
    ("the biases did not learn", tunes(make=of_weights_alone)),
    ("only the first batch was used", lambda n, batches, r: tuned(n, batches[:1], r)),
    ("biases that were zero stayed zero", tunes(biases_too=True)),
    ("", lambda n, b, rate: tuned(n, b, 10 * rate)),
)  # fmt: skip
wrong(TUNE, "the network after training",
    ("return the network, not its loss", lambda *_i: 0.5),
    ('torch.nn.utils.prune.remove(network.conv1, "weight")', held_by_torch),
)  # fmt: skip
wrong(TUNE, "a SimpleCNN(widths=(2, 3, 4))", ("", lambda *_i: lab.SimpleCNN((2, 3, 5))))


@functools.cache
def failure_of(at):
    """The failure of a wrong answer, computed once."""
    check, function, _likely, _expected, cases = WRONG[at]
    return failure(check, function, cases)


@pytest.mark.parametrize("at", range(len(WRONG)), ids=[entry[0].__name__ for entry in WRONG])
def test_wrong_answer_is_wrong_and_its_mistake_is_named(at):
    check, _function, likely, expected, _cases = WRONG[at]
    error = failure_of(at)
    lines = told(error)
    assert error.outcome == "wrong"
    assert lines["title"] == f"{check.title}: wrong"
    assert likely in lines.get("likely", "")
    assert bool(likely) == ("likely" in lines)
    assert expected in lines["expected"]
    assert lines["got"]
    assert lines["input"]


def sentences(module):
    """The texts of a module that a student may get to read, as far as they are constant."""
    tree = ast.parse(inspect.getsource(module))
    docs = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.FunctionDef))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.strip()
            if text.count(" ") > 2 and node.value not in docs:
                yield text


@pytest.mark.parametrize("module", [sizes, masks, scan, filters, tuning], ids=lambda m: m.__name__)
def test_every_sentence_is_said_to_some_wrong_answer(module):
    own = [at for at, entry in enumerate(WRONG) if entry[0].judge.__module__ == module.__name__]
    said = "".join(str(failure_of(at)) for at in own)
    assert [text for text in sentences(module) if text not in said] == []


# ---------------------------------------------------------------- the four outcomes


def raising(error):
    def stub(*_inputs):
        raise error

    return stub


@every_check
def test_stub_and_forgotten_return_and_what_is_no_function_are_named(check):
    def stub(*_inputs):
        raise NotImplementedError(*said)

    for said in ((), ("your code here",)):  # noqa: B007
        error = failure(check, stub)
        assert error.outcome == "not attempted"
        assert str(error) == f"{check.title}: not attempted\n  next      {BODY}"
    lines = told(failure(check, lambda *_inputs: None))
    assert lines["got"] == "None"
    assert lines["likely"] == NOTHING
    title = f"{check.title}: wrong"
    for value, shown in ((7, "7"), (torch.zeros(2), "[0, 0]"), (None, "None")):
        lines = told(failure(check, value))
        assert lines == {"title": title, "expected": "a function", "got": shown}


def typed(source, file="cell 3"):
    """Define a function as a notebook does: from source that the line cache knows."""
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {"torch": torch, "copy": copy}
    exec(compile(source, file, "exec"), space)
    return space["magnitude_mask"]


def test_error_is_told_with_the_students_line():
    error = failure(MASK, typed(
        "def helper(weight):\n"
        "    return weight.view(2, 3)\n"
        "\n"
        "def magnitude_mask(weight, amount):\n"
        "    return helper(weight) > amount\n"
    ))  # fmt: skip
    title, given, said, at = str(error).splitlines()
    assert title == "Exercise 2, magnitude_mask: raised"
    assert given == "  input     weight = [3, -1, 2, -4], amount = 0.5"
    assert said.startswith(
        "  error     RuntimeError: shape '[2, 3]' is invalid for input of size 4"
    )
    assert at == "  at        line 2: return weight.view(2, 3)"


FROM_LIBRARY = "def magnitude_mask(weight, amount):\n    return copy.deepcopy(w for w in weight)"


@pytest.mark.parametrize(
    ("function", "error", "at"),
    [
        (lambda *_inputs: 1 / 0, "ZeroDivisionError: division by zero", "1 / 0"),
        (typed(FROM_LIBRARY, "cell 4"), "cannot pickle", "line 2: return copy.deepcopy(w for"),
        (lambda weight: weight > 0, "takes 1 positional argument but 2 were given", None),
        (lambda w, _: torch.randn(w.shape, dtype=torch.int64), "implemented for 'Long'", "randn"),
        (raising(KeyError), "KeyError", "raise error"),
        (raising(ValueError("first\nsecond" + 500 * "x")), "ValueError: first", "raise error"),
        (raising(KeyError("x" * 1000)), "KeyError: 'xxx", "raise error"),
    ],
)
def test_errors_of_any_kind_are_one_line_each(function, error, at):
    found = failure(MASK, function)
    lines = told(found)
    assert found.outcome == "raised"
    assert lines["error"].endswith(error) or f"{error}" in lines["error"]
    assert (at is None and "at" not in lines) or at in lines["at"]
    assert "second" not in str(found)
    assert all(len(line) < 200 for line in str(found).splitlines())


def spoiled(check, spoil):
    """The right answer, by a function that then changes its inputs."""

    def function(*inputs):
        answer = RIGHT_OF[check](*copy.deepcopy(inputs))
        spoil(*inputs)
        return answer

    return function


@pytest.mark.parametrize(
    ("check", "spoil"),
    [
        (SPARSITY, lambda network: network[0].bias.data.add_(1e-6)),
        (SPARSITY, lambda network: network.append(nn.ReLU())),
        (MASK, lambda weight, amount: weight.mul_(1 + 1e-6)),
        (GLOBAL, lambda weights, amount: weights["b"].abs_()),
        (GLOBAL, lambda weights, amount: weights.update(c=1)),
        (SCAN, lambda network, amounts, split: split.images[0].zero_()),
        (CHOICE, lambda scan, amounts, *_rest: amounts.append(1)),
        (REMOVE, lambda network, *_kept: setattr(network, "conv1", nn.Identity())),
        (TUNE, lambda network, batches, _rate: batches.pop()),
    ],
)
def test_change_of_the_input_is_named(check, spoil):
    lines = told(failure(check, spoiled(check, spoil)))
    assert lines["expected"] == "what the function was given is left as it was"
    assert lines["got"] == "it was changed in place"
    assert lines["likely"] == "work on a copy: tensor.clone(), copy.deepcopy(network)"
    check(RIGHT_OF[check])  # its own inputs are whole


@pytest.mark.parametrize(
    ("share", "got"),
    [
        (lambda slim, net: setattr(slim, "fc2", net.fc2), "the given network's fc2.weight"),
        (
            lambda slim, net: setattr(slim.fc1.bias, "data", net.fc1.bias.data[:]),
            "the given network's fc1.bias",
        ),
        (lambda slim, _: setattr(slim.fc2, "bias", slim.fc1.bias), "fc2.bias is fc1.bias"),
    ],
    ids=["layer", "data", "twice"],
)
def test_a_network_of_anothers_tensors_is_wrong_though_its_numbers_are_right(share, got):
    def answer(network, *kept):
        slim = smaller_network(network, *kept)
        share(slim, network)
        return slim

    case = checks.removal_case((3, 4, 10), [0, 2], [1, 3], seed=3)
    case[0].fc1.bias.data = case[0].fc2.bias.data.clone()
    lines = told(failure(REMOVE, answer, [case]))
    assert lines["expected"] == "tensors of its own: whoever changes one changes no other"
    assert got in lines["got"]
    assert "copy what stays the same too: tensor.clone()" in lines["likely"]


def test_right_functions_scan_the_real_network_and_others_learn_what_is_missing(capsys):
    checks.real_scan(Elsewhere(None), chosen)
    assert capsys.readouterr().out == ""
    for functions in ((raising(NotImplementedError), chosen), (scanned, lambda *_i: {})):
        checks.real_scan(*functions)
        assert capsys.readouterr().out.startswith("Once both functions are right")
    checks.real_scan(scanned, chosen)
    said = r"(?s)removed .*conv1 .*fc2 .*All at once, \d+% .* right\."
    assert re.search(said, capsys.readouterr().out)


class Elsewhere:
    """A function that runs in another process, as when submissions are graded."""

    def __init__(self, found):
        self.found = found

    def __call__(self, *_inputs):
        raise AssertionError("called here")

    def attempt_elsewhere(self, *inputs, instead):
        return self.found(*inputs)


def test_function_elsewhere_is_asked_there():
    MASK(Elsewhere(lambda weight, amount: Attempt(mask_by_argsort(weight, amount))))
    for found, outcome in [
        (Attempt(attempted=False), "not attempted"),
        (Attempt(error="it ran longer than 10 s"), "raised"),
        (Attempt(None), "wrong"),
        (Attempt(torch.zeros(4)), "wrong"),
    ]:
        assert failure(MASK, Elsewhere(lambda *_inputs, found=found: found)).outcome == outcome


# ---------------------------------------------------------------- what the student sees


def test_message_has_exactly_these_lines():
    error = failure(MASK, lambda w, a: threshold(w, a, strictly=True))
    lines = [
        "Exercise 2, magnitude_mask: wrong",
        "  input     weight = [3, -1, 2, -1], amount = 0.25",
        "  expected  exactly 1 weight removed",
        "  got       2 removed",
        "  likely    ties remove too many: `>` a threshold removes all that equal it. Rank the "
        "weights and cut by position",
    ]
    assert str(error) == "\n".join(lines)
    assert isinstance(error, AssertionError)


def test_inputs_are_shown_short():
    def given(check, cases=None):
        return told(failure(check, lambda *_inputs: 7, cases))["input"]

    assert given(SPARSITY) == "network = Sequential of 1 layer"
    large = given(MASK, [(torch.zeros(8, 4, 3, 3), 0.65)])
    assert large == "weight = float32 tensor of 8 x 4 x 3 x 3, amount = 0.65"
    assert given(SCAN).endswith("amounts = [0.5, 0.9, 0.98], split = Split of 200 images")
    batches = given(TUNE)
    assert batches.startswith("network = SimpleCNN(widths=(2, 3, 4)), batches = [(float32 tensor")
    assert batches.endswith("..., learning_rate = 0.02")


@every_check
def test_hostile_answer_is_wrong_in_clear_words(check):
    for kind, (make, shown) in HOSTILE.items():
        error = failure(check, lambda *_inputs, make=make: make())
        assert error.outcome == "wrong", kind
        assert told(error)["expected"], kind
        assert told(error)["got"], kind
        asked = GLOBAL if kind == "bool tensor that says yes" else MASK
        assert check is not asked or shown in told(error)["got"], kind
        assert all(len(line) < 250 for line in str(error).splitlines()), kind


# ---------------------------------------------------------------- never right by mistake

TIED = st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0]), min_size=1, max_size=12)
AMOUNTS = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))


def right_in_an_order(values, amount, order):
    """A right mask that breaks ties in an order of its own."""
    ranked = sorted(order, key=lambda i: abs(values[i]))
    mask = torch.ones(len(values), dtype=torch.bool)
    mask[ranked[: round(amount * len(values))]] = False
    return mask


def outcome(check, answer, case):
    """What a check says of an answer to one case."""
    try:
        check.examine(lambda *_inputs: answer, [case])
    except checks.CheckFailed as error:
        return error.outcome
    return "right"


@few_examples
@given(TIED, AMOUNTS, st.data())
def test_any_breaking_of_ties_is_right_and_any_other_mask_is_wrong(values, amount, data):
    order = data.draw(st.permutations(range(len(values))))
    mask, weight = right_in_an_order(values, amount, order), torch.tensor(values)
    assert outcome(MASK, mask, (weight, amount)) == "right"
    apart = [{"a": both[:1], "b": both[1:]} for both in (mask, weight)]
    assert outcome(GLOBAL, apart[0], (apart[1], amount)) == "right"
    flipped = mask.clone()
    flipped[order[0]] ^= True
    assert outcome(MASK, flipped, (weight, amount)) == "wrong"
    for kept, gone in ((i, j) for i in order for j in order if mask[i] and not mask[j]):
        if abs(values[kept]) > abs(values[gone]):  # exchanged, the mask is wrong
            mask[kept], mask[gone] = False, True
            assert outcome(MASK, mask, (weight, amount)) == "wrong"
            break


@few_examples
@given(TIED, AMOUNTS, st.lists(st.integers(-1, 12), max_size=12))
def test_indices_are_right_only_if_they_are_those_of_the_largest(norms, amount, indices):
    norms = torch.tensor(norms).abs()
    kept = count_kept(norms, amount)
    inside = all(0 <= i < len(norms) for i in indices)
    largest = norms.sort(descending=True).values[:kept].tolist()
    good = (
        inside
        and indices == sorted(set(indices))
        and sorted(norms[indices].tolist(), reverse=True) == largest
    )
    answer = torch.tensor(indices, dtype=torch.int64)
    assert outcome(KEEP, answer, (norms, amount)) == ("right" if good else "wrong")
    ties = norms.topk(kept).indices.sort().values  # of equal ones, not the first
    assert outcome(KEEP, ties, (norms, amount)) == "right"


@few_examples
@given(st.floats(0, 1), st.integers(0, 3000))
def test_no_other_pair_of_numbers_is_right(sparsity, size):
    network = checks.with_zeros((2, 3, 4), seed=0)
    good = share_and_bytes(network)
    assume(abs(sparsity - good[0]) > 1e-5 and size != good[1])
    for answer in ((sparsity, size), (good[0], size), (sparsity, good[1])):
        assert outcome(SPARSITY, answer, (network,)) == "wrong"


@few_examples
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1]), min_size=3, max_size=3))
def test_no_other_choice_of_amounts_is_right(amounts):
    answer, case = dict(zip(("conv1", "fc1", "fc2"), amounts, strict=True)), CHOICE.cases()[0]
    assume(answer != chosen(*case))
    assert outcome(CHOICE, answer, case) == "wrong"


@pytest.mark.parametrize(
    ("check", "case"), [(REMOVE, REMOVE.cases()[0]), (TUNE, checks.tuning_case(31, steps=1))]
)
@settings(deadline=None, max_examples=15)
@given(data=st.data())
def test_no_network_with_another_number_in_it_is_right(check, case, data):
    network = RIGHT_OF[check](*case)
    name, parameter = data.draw(st.sampled_from(list(network.named_parameters())))
    place = data.draw(st.integers(0, parameter.numel() - 1))
    parameter.data.view(-1)[place] += data.draw(st.sampled_from([0.01, -0.3, float("nan")]))
    error = failure(check, lambda *_inputs: network, [case])
    assert error.outcome == "wrong"
    assert check is TUNE or name in told(error)["expected"]


# ---------------------------------------------------------------- the designed network


@pytest.fixture(scope="session")
def some_digits(digits):
    """A few, in memory of their own: a copy of a slice is as large as what it was cut from."""
    parts = (digits.train[:100], digits.validation[:500], digits.test[:100])
    return lab.Digits(*(lab.Split(part.images.clone(), part.labels.clone()) for part in parts))


def designed(network, digits):
    with pytest.raises(checks.CheckFailed) as caught:
        handed_in(lambda _digits: network, digits)
    return told(caught.value)


@few_examples
@given(st.integers(1, 200_000), st.integers(1, 200_000), st.floats(0, 1))
def test_fewer_bytes_never_give_fewer_points(one, other, accuracy):
    few, many = sorted((one, other))
    assert 0 <= checks.design_points(accuracy, many) <= checks.design_points(accuracy, few) <= 10


@pytest.mark.parametrize(
    ("accuracy", "size", "points"),
    [(0.988, 10**5, 0), (0.988, 12_500, 10), (1.0, 1, 10), (0.9878, 1, 0), (0.988, 50_000, 3.3)],
)
def test_points_at_the_corners_and_at_one_halving(accuracy, size, points):
    assert checks.design_points(accuracy, size) == points


def test_network_that_is_good_enough_gets_its_points(some_digits, model, capsys):
    seen, pruned = [], lab.prune_magnitude(model, 0.8)
    points = checks.design_network(lambda digits: seen.append(digits) or pruned, some_digits)
    size = lab.model_bytes(pruned).compressed
    accuracy = lab.evaluate(pruned, some_digits.validation).accuracy
    assert points == checks.design_points(accuracy, size)
    assert capsys.readouterr().out == (
        f"Exercise 8, design_network: {size:,} bytes, {accuracy:.2%} of 500 images right: "
        f"{points:g} of 10 points\n"
    )
    assert torch.equal(seen[0].train.labels, some_digits.train.labels)


def test_network_below_the_bar_is_told_by_how_much(some_digits, model, capsys):
    lines = designed(lab.prune_magnitude(model, 0.99), some_digits)
    assert lines["title"] == "Exercise 8, design_network: wrong"
    assert lines["expected"] == "at least 98.8% of the validation images right"
    assert lines["likely"] == "remove less, or train longer after each removal"
    assert f"{lines['got']}: 0 of 10 points" in capsys.readouterr().out


def with_values(model, value, place=slice(None)):
    model.fc1.weight.data[place] = value
    return model


ANSWER = "an answer N x 10 for images N x 1 x 28 x 28"
NETWORK = "a SimpleCNN of any widths, or an nn.Sequential of the layers listed in the task"
NAN = "fc1.weight with NaN"


@pytest.mark.parametrize(
    ("made", "expected", "got", "likely"),
    [
        (lambda m: None, "a network", "None", "design_network ends without a `return`"),
        (lambda m: m.half(), "float32 tensors", "conv1.weight of torch.float16", "to prune"),
        (lambda m: with_values(m, torch.nan, 0), "finite weights", NAN, "diverged"),
        (lambda m: with_values(m, torch.inf, 0), "finite weights", NAN, "diverged"),
        (lambda m: with_values(m, 3e38), ANSWER, "not finite numbers", ""),
        (lambda m: m[:-1][:5], ANSWER, "outputs of shape (100, 32, 14, 14)", ""),
        (lambda m: nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), ANSWER, "5 outputs", ""),
        (lambda m: nn.Sequential(nn.Flatten()), ANSWER, "without parameters", ""),
        (held_by_torch, NETWORK, "do not fit", 'prune.remove(network.conv1, "weight")'),
        (lambda m: m.state_dict(), NETWORK, "{conv1.weight: float32 tensor", ""),
        (lambda m: nn.Sequential(m, UnknownNetwork()), NETWORK, "layers of unknown kinds", ""),
        (lambda m: (m, 0.99), NETWORK, "(SimpleCNN(widths=(16, 32, 64)), 0.99)", ""),
    ],
)
def test_what_does_not_count_is_refused(some_digits, model, made, expected, got, likely):
    lines = designed(made(model), some_digits)
    assert lines["title"] == "Exercise 8, design_network: wrong"
    assert lines["expected"] == expected
    assert got in lines["got"]
    assert likely in lines.get("likely", "")


def test_design_that_is_not_attempted_or_raises_or_is_hostile(some_digits):
    for error, outcome in ((NotImplementedError, "not attempted"), (ZeroDivisionError, "raised")):
        with pytest.raises(checks.CheckFailed, match=f"Exercise 8, design_network: {outcome}"):
            handed_in(raising(error), some_digits)
    for make, _shown in HOSTILE.values():
        assert designed(make(), some_digits)["title"] == "Exercise 8, design_network: wrong"


def test_design_may_call_whatever_there_is(some_digits, model):
    def design(_digits):
        masks._largest(model.fc1.weight.abs(), 9)
        return lab.prune_magnitude(model, 0.8)

    assert handed_in(design, some_digits) > 0


(TASK,) = (part.source for part in parts() if part.name == "ex8")
LISTED = re.findall(r"`(\w+)`", TASK.partition("<details>")[2])
# 2 for all others
ARGUMENTS = dict(Linear=(28, 2), LayerNorm=(28,), Upsample=(9,), Softmax=(1,), LogSoftmax=(1,))


@pytest.mark.parametrize("kind", LISTED)
def test_each_layer_that_the_task_lists_is_taken_in_the_notebook_and_in_the_grading(
    some_digits, kind
):
    assert set(LISTED) == {*LAYERS, "Sequential"}
    wanted = inspect.signature(getattr(nn, kind)).parameters.values()
    needed = [2 for p in wanted if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    layer = getattr(nn, kind)(*ARGUMENTS.get(kind, needed))
    flat = nn.Flatten(2) if kind == "BatchNorm1d" else nn.Identity()
    network = nn.Sequential(nn.Conv2d(1, 2, 1), flat, layer, nn.Flatten(), nn.LazyLinear(10)).eval()
    images = some_digits.validation.images[:3]
    answers = network(images)
    assert torch.equal(unpack(pack(network)).eval()(images), answers)
    assert designed(network, some_digits)["likely"].startswith("remove less, or train longer")


def test_layers_count_as_they_are_and_batch_norm_is_no_offence(some_digits, model):
    model.relu1 = nn.Identity()  # what is measured is the network the student has
    accuracy = lab.evaluate(model, some_digits.validation).accuracy
    assert accuracy < 0.988
    assert f"{accuracy:.2%} of 500 images right" in designed(model, some_digits)["got"]
    # It counts its batches in an integer, the one tensor of a network that is not float32.
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10)).eval()
    enough = "at least 98.8% of the validation images right"
    assert designed(network, some_digits)["expected"] == enough


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """What runs cells inside a kernel."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    yield shell
    shell.history_manager.end_session()
    InteractiveShell.clear_instance()


def test_notebook_carries_the_network_and_shows_failures_bare(shell, some_digits, model, tmp_path):
    pruned = lab.prune_magnitude(model, 0.8)
    shell.push({"checks": checks, "digits": some_digits, "design_network": lambda _digits: pruned})
    with capture_output() as caught:
        shell.run_cell("points = checks.design_network(design_network, digits)")
    (shown,) = caught.outputs
    output = nbformat.v4.new_output("display_data", shown.data)
    cell = nbformat.v4.new_code_cell("", outputs=[output])
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "handed_in.ipynb")
    notebook = nbformat.read(tmp_path / "handed_in.ipynb", as_version=4)
    nbformat.validate(notebook)

    data = notebook.cells[0].outputs[0].data
    assert data["text/plain"].startswith("Exercise 8, design_network: ")
    assert data["text/plain"].endswith(f": {shell.user_ns['points']:g} of 10 points")
    network = unpack(data[MIME])
    assert type(network) is lab.SimpleCNN
    for name, tensor in pruned.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name

    with capture_output() as caught:
        shell.run_cell("checks.magnitude_mask(lambda weight, amount: weight > 0)")
    expected = failure(MASK, lambda weight, amount: weight > 0)
    assert caught.stdout == f"{expected}\n"  # and the cells below run


def by_alias(weight, amount):
    return vars(lab)["magnitude" + "_mask"](weight, amount)


def in_a_thread(weight, amount):
    found = []
    thread = threading.Thread(target=lambda: found.append(lab.magnitude_mask(weight, amount)))
    thread.start()
    thread.join()
    return found[0]


def by_the_network(weight, amount):
    network = nn.Sequential(nn.Linear(weight.numel(), 1))
    network[0].weight.data = weight.flatten()[None]
    return lab.prune_magnitude(network, amount)[0].weight.view(weight.shape) != 0


def by_the_answers(weight, amount):
    return masks._largest(weight.abs(), round(amount * weight.numel()))


def defined_again():
    """The lab's own function, its source copied into a cell."""
    space = {**vars(inspect.getmodule(lab.magnitude_mask))}
    exec(inspect.getsource(lab.magnitude_mask), space)
    return space["magnitude_mask"]


@pytest.mark.parametrize(
    "function",
    [lab.magnitude_mask, by_alias, in_a_thread, by_the_network, by_the_answers, defined_again()],
)
def test_what_does_the_exercise_instead_is_found_by_its_calls(function):
    failed = failure(MASK, function)
    assert failed.outcome == "wrong"
    assert re.search(r"got +calls [\w, ]+ of labutils", str(failed))
    assert "write the function yourself" in str(failed)
