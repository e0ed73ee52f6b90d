"""The checks of the assignment, as a student meets them."""

import ast
import copy
import functools
import inspect
import linecache
from collections import OrderedDict

import nbformat
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from nbclient import NotebookClient
from torch import Tensor, nn
from torch.nn.utils import prune

import labutils as lab
from labutils import checks
from labutils.checks import filters, masks, scan, sizes, tuning
from labutils.checks.design import MIME
from classroom.values import unpack
from labutils.checks.verdict import Attempt


def failure(check, function, cases=None):
    with pytest.raises(checks.CheckFailed) as caught:
        check(function, cases)
    return caught.value


def told(error):
    """The lines of a failure by their names."""
    title, *lines = str(error).splitlines()
    return {"title": title} | {line[2:11].strip(): line[12:] for line in lines}


# ---------------------------------------------------------------- right answers

RIGHT = []
LOTS = torch.Generator().manual_seed(7)
draw = functools.partial(torch.randn, generator=LOTS)


def right(check, cases=()):
    """Collect a right solution, with cases beside the visible ones."""

    def note(function):
        RIGHT.append(pytest.param(check, function, list(cases), id=function.__name__))
        return function

    return note


@right(
    checks.sparsity_and_bytes,
    [
        (checks.with_zeros(widths, seed=i, share=share),)
        for i, widths in enumerate([(1, 1, 1), (3, 5, 7), (5, 2, 9)])
        for share in (0.0, 0.5, 1.0)
    ],
)
def counted_layer_by_layer(network):
    zeros = weights = size = 0
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            left = torch.count_nonzero(layer.weight).item()
            zeros += layer.weight.numel() - left
            weights += layer.weight.numel()
            size += -(-layer.weight.numel() // 8) + 4 * left + 4 * layer.bias.numel()
    return zeros / weights, size


MASK_CASES = [
    (torch.tensor(values).view(shape), amount)
    for shape in [(0,), (1,), (7,), (3, 5), (2, 3, 3, 3)]
    for values in (draw(shape).tolist(), draw(shape).round().tolist())
    for amount in (0, 0.1, 0.5, 0.77, 1)
] + [(torch.zeros(9), 0.5), (torch.ones(3, 3, dtype=torch.float64), 0.4)]


@right(checks.magnitude_mask, MASK_CASES)
def mask_by_argsort(weight, amount):
    order = weight.flatten().abs().argsort()
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[order[: round(amount * weight.numel())]] = False
    return mask.view(weight.shape)


@right(checks.magnitude_mask, MASK_CASES)
def mask_by_topk(weight, amount):
    kept = weight.numel() - round(amount * weight.numel())
    mask = torch.zeros_like(weight, dtype=torch.bool)
    mask.view(-1)[weight.abs().view(-1).topk(kept).indices] = True
    return mask


LAYERS = {"a": draw(3), "b": draw(2, 5) / 10, "c": draw(4, 2, 3, 3).round()}


@right(
    checks.global_masks,
    [(LAYERS, amount) for amount in (0, 0.2, 0.55, 0.95, 1)]
    + [({"only": LAYERS["c"]}, 0.5), ({"x": torch.ones(3), "y": torch.ones(4, 2)}, 0.3)],
)
def masks_of_one_ranking(weights, amount):
    flat = torch.cat([weight.flatten() for weight in weights.values()]).abs()
    mask = torch.ones(len(flat), dtype=torch.bool)
    mask[flat.argsort()[: round(amount * len(flat))]] = False
    result, start = {}, 0
    for name, weight in weights.items():
        result[name] = mask[start : start + weight.numel()].view(weight.shape)
        start += weight.numel()
    return result


@right(checks.sensitivity_scan, [checks.scan_case(60, [0.0, 0.8, 1.0], seed=2, first=500)])
def scan_of_single_layers(network, amounts, split):
    accuracies = {}
    for name in lab.prunable_layers(network):
        accuracies[name] = []
        for amount in amounts:
            pruned = lab.prune_magnitude(network, {name: amount})
            accuracies[name].append(lab.evaluate(pruned, split).accuracy)
    return accuracies


@right(
    checks.choose_amounts,
    [
        ({"a": [1.0, 0.5, 1.0, 0.25], "b": [0.0] * 4, "c": [1.0] * 4}, [0.1, 0.3, 0.5, 0.9], 1.0, d)
        for d in (0.0, 0.5, 0.75, 1.0)
    ],
)
def chosen_until_the_first_failure(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        chosen[name] = 0.0
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            if dense_accuracy - accuracy > allowed_drop + 1e-9:
                break
            chosen[name] = amount
    return chosen


@right(
    checks.filter_norms,
    [(draw(shape),) for shape in [(1, 1, 1, 1), (5, 2, 3, 3), (2, 7, 5, 1), (4, 4, 3, 3)]],
)
def norms_of_filters(weight):
    return weight.abs().sum(dim=(1, 2, 3))


@right(
    checks.filters_to_keep,
    [
        (norms, amount)
        for norms in [draw(n).abs() for n in (1, 2, 5, 13)] + [torch.ones(5), torch.zeros(3)]
        for amount in (0, 0.1, 0.25, 0.5, 0.9, 1)
    ],
)
def largest_filters(norms, amount):
    kept = max(1, len(norms) - round(amount * len(norms)))
    return norms.topk(kept).indices.sort().values


@right(
    checks.remove_filters,
    [
        checks.removal_case((2, 2, 1), [1], [0], seed=11),
        checks.removal_case((5, 7, 3), [0, 1, 2, 3, 4], list(range(7)), seed=12),
        checks.removal_case((5, 7, 3), [0, 1, 2, 3, 4], [2, 6], seed=13),
        checks.removal_case((6, 3, 8), [0, 3, 5], [0, 1, 2], seed=14),
    ],
)
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


TUNING_CASES = [
    checks.tuning_case(seed=31, steps=1, learning_rate=0.1),
    checks.tuning_case(seed=32, steps=9, share=0.9),
    checks.tuning_case(seed=33, steps=3, share=0.0),
    checks.tuning_case(seed=34, steps=0),
]


@right(checks.tune, TUNING_CASES)
def tuned_with_masks(network, batches, learning_rate):
    network = copy.deepcopy(network)
    kept = [(p, p != 0) for p in network.parameters() if p.dim() > 1]
    sgd = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    for images, labels in batches:
        sgd.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        sgd.step()
        with torch.no_grad():
            for weight, mask in kept:
                weight *= mask
    return network


@right(checks.tune, TUNING_CASES)
def tuned_with_masked_gradients(network, batches, learning_rate):
    network = copy.deepcopy(network)
    sgd = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)
    for images, labels in batches:
        sgd.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        for layer in lab.prunable_layers(network).values():
            layer.weight.grad[layer.weight == 0] = 0
        sgd.step()
    return network


@right(checks.tune)
def tuned_with_momentum_by_hand(network, batches, learning_rate):
    network = copy.deepcopy(network)
    speed = [torch.zeros_like(p) for p in network.parameters()]
    for images, labels in batches:
        loss = F.cross_entropy(network(images), labels)
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        for p, v, g in zip(network.parameters(), speed, gradients, strict=True):
            v.mul_(0.9).add_(g * (p != 0) if p.dim() > 1 else g)
            p.data -= learning_rate * v
    return network


@pytest.mark.parametrize(("check", "function", "cases"), RIGHT)
def test_right_solution_is_right(check, function, cases, capsys):
    assert check(function) is None
    visible = len(check.cases())
    noun = "case" if visible == 1 else "cases"
    assert capsys.readouterr().out == f"{check.title}: right ({visible} {noun})\n"
    if cases:
        check(function, cases)
        assert f": right ({len(cases)} case" in capsys.readouterr().out


# ---------------------------------------------------------------- wrong answers

WRONG = []


def wrong(check, likely="", cases=None, expected=""):
    """Collect a wrong solution, and what the check should say of it."""

    def note(function):
        name = f"{check.__name__}-{function.__name__}"
        WRONG.append(pytest.param(check, function, likely, cases, expected, id=name))
        return function

    return note


def parts(network):
    return [layer for layer in network.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]


def weights_left(network):
    return sum(int(layer.weight.count_nonzero()) for layer in parts(network))


def weights_there(network):
    return sum(layer.weight.numel() for layer in parts(network))


def biases_there(network):
    return sum(layer.bias.numel() for layer in parts(network))


def bitmask_bytes(network):
    return sum((layer.weight.numel() + 7) // 8 for layer in parts(network))


def right_sparsity(network):
    return counted_layer_by_layer(network)[0]


def right_bytes(network):
    return counted_layer_by_layer(network)[1]


SPARSITY = checks.sparsity_and_bytes


@wrong(SPARSITY, "that is the share that is left; sparsity is the share that is zero")
def share_left(network):
    return weights_left(network) / weights_there(network), right_bytes(network)


@wrong(SPARSITY, "that is in percent; a fraction lies in [0, 1]")
def percent(network):
    return 100 * right_sparsity(network), right_bytes(network)


@wrong(
    SPARSITY,
    "that is the mean of the layers' sparsities; count the weights of all layers together",
)
def mean_of_the_layers(network):
    shares = [(layer.weight == 0).sum().item() / layer.weight.numel() for layer in parts(network)]
    return sum(shares) / len(shares), right_bytes(network)


@wrong(SPARSITY, "the biases were counted too; only weights are pruned")
def share_of_all_parameters(network):
    zeros = sum(int((p == 0).sum()) for p in network.parameters())
    return zeros / sum(p.numel() for p in network.parameters()), right_bytes(network)


@wrong(SPARSITY, "zeros among the biases were counted, but not the biases")
def zeros_of_biases_too(network):
    zeros = sum(int((p == 0).sum()) for p in network.parameters())
    return zeros / weights_there(network), right_bytes(network)


@wrong(SPARSITY, "take the number out of the tensor with .item()", expected="a float")
def sparsity_as_a_tensor(network):
    left = sum(layer.weight.count_nonzero() for layer in parts(network))
    return 1 - left / weights_there(network), right_bytes(network)


@wrong(SPARSITY, "take the number out of the tensor with .item()", expected="an int for the bytes")
def bytes_as_a_tensor(network):
    return right_sparsity(network), torch.tensor(right_bytes(network))


@wrong(SPARSITY, "bytes are whole: math.ceil(n / 8)", expected="an int for the bytes")
def eighths_of_bytes(network):
    size = weights_there(network) / 8 + 4 * (weights_left(network) + biases_there(network))
    return right_sparsity(network), size


@wrong(SPARSITY, "all weights were counted, zeros too")
def bytes_of_all_weights(network):
    values = weights_there(network) + biases_there(network)
    return right_sparsity(network), bitmask_bytes(network) + 4 * values


@wrong(SPARSITY, "that is the dense size: every weight in 4 bytes")
def dense_bytes(network):
    return right_sparsity(network), sum(p.numel() * p.element_size() for p in network.parameters())


@wrong(SPARSITY, "the bitmask is missing: one bit for each weight says where the others are")
def bytes_without_the_bitmask(network):
    return right_sparsity(network), 4 * (weights_left(network) + biases_there(network))


@wrong(SPARSITY, "the biases are missing: 4 bytes for each")
def bytes_without_the_biases(network):
    return right_sparsity(network), bitmask_bytes(network) + 4 * weights_left(network)


@wrong(SPARSITY, "the bitmask takes one bit for each weight, not one byte")
def mask_of_bytes(network):
    mask = sum((layer.weight != 0).nbytes for layer in parts(network))
    return right_sparsity(network), mask + 4 * (weights_left(network) + biases_there(network))


@wrong(SPARSITY, "the bitmask of each layer is rounded up to whole bytes")
def bitmasks_rounded_down(network):
    mask = sum(layer.weight.numel() // 8 for layer in parts(network))
    return right_sparsity(network), mask + 4 * (weights_left(network) + biases_there(network))


@wrong(SPARSITY, "each layer has a bitmask of its own, rounded up by itself")
def one_bitmask(network):
    mask = (weights_there(network) + 7) // 8
    return right_sparsity(network), mask + 4 * (weights_left(network) + biases_there(network))


@wrong(SPARSITY, expected="a pair (sparsity, bytes)")
def sparsity_alone(network):
    return right_sparsity(network)


MASK = checks.magnitude_mask


@wrong(MASK, "you kept the small ones: True marks a weight that stays")
def marks_what_goes(weight, amount):
    order = weight.flatten().abs().argsort()
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[order[: round(amount * weight.numel())]] = True
    return mask.view(weight.shape)


@wrong(MASK, "the signs count: rank by |w|, or -4 goes before 1")
def ranks_without_abs(weight, amount):
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.flatten().argsort()[: round(amount * weight.numel())]] = False
    return mask.view(weight.shape)


@wrong(MASK, "the amount is removed, not kept")
def keeps_the_amount(weight, amount):
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[weight.flatten().abs().topk(round(amount * weight.numel())).indices] = True
    return mask.view(weight.shape)


@wrong(MASK, "k is rounded down: round(amount * n) weights go")
def k_by_int(weight, amount):
    order = weight.flatten().abs().argsort()
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[order[: int(amount * weight.numel())]] = False
    return mask.view(weight.shape)


@wrong(MASK, "k is rounded up: round(amount * n) weights go")
def k_that_keeps_by_int(weight, amount):
    order = weight.flatten().abs().argsort(descending=True)
    mask = torch.zeros(weight.numel(), dtype=torch.bool)
    mask[order[: int((1 - amount) * weight.numel())]] = True
    return mask.view(weight.shape)


TIES_GO = "ties remove too many: `>` a threshold removes all that equal it. "
TIES_STAY = "ties remove too few: `>=` a threshold keeps all that equal it. "
CUT = "Rank the weights and cut by position"


@wrong(MASK, TIES_GO + CUT)
def above_a_threshold(weight, amount):
    k = round(amount * weight.numel())
    if k == 0:
        return torch.ones_like(weight, dtype=torch.bool)
    return weight.abs() > weight.abs().flatten().kthvalue(k).values


@wrong(MASK, TIES_GO + CUT)
def above_a_quantile(weight, amount):
    return weight.abs() > weight.abs().quantile(amount)


@wrong(MASK, TIES_STAY + CUT)
def at_least_a_threshold(weight, amount):
    k = round(amount * weight.numel())
    if k == weight.numel():
        return torch.zeros_like(weight, dtype=torch.bool)
    return weight.abs() >= weight.abs().flatten().sort().values[k]


@wrong(MASK, "the mask has the wrong dtype", expected="a bool tensor of 4")
def mask_of_floats(weight, amount):
    return mask_by_argsort(weight, amount).float()


@wrong(MASK, "as many elements as asked for, but in another shape", expected="a bool tensor of 2")
def flat_mask(weight, amount):
    return mask_by_argsort(weight, amount).flatten()


@wrong(MASK, "make a tensor of the list: torch.tensor(...)", expected="a bool tensor of 4")
def mask_as_a_list(weight, amount):
    return mask_by_argsort(weight, amount).tolist()


@wrong(MASK, expected="no weight removed that is larger than one kept")
def the_last_ones_go(weight, amount):
    mask = torch.ones(weight.numel(), dtype=torch.bool)
    mask[weight.numel() - round(amount * weight.numel()) :] = False
    return mask.view(weight.shape)


GLOBAL = checks.global_masks


def cut_apart(mask, weights):
    pieces = mask.split([weight.numel() for weight in weights.values()])
    return {n: m.view(weights[n].shape) for n, m in zip(weights, pieces, strict=True)}


def together(weights):
    return torch.cat([weight.flatten() for weight in weights.values()])


@wrong(GLOBAL, "you kept the small ones: True marks a weight that stays")
def marks_what_goes_everywhere(weights, amount):
    return {name: ~mask for name, mask in masks_of_one_ranking(weights, amount).items()}


@wrong(GLOBAL, "the signs count: rank by |w|")
def ranks_all_without_abs(weights, amount):
    flat = together(weights)
    mask = torch.ones(len(flat), dtype=torch.bool)
    mask[flat.argsort()[: round(amount * len(flat))]] = False
    return cut_apart(mask, weights)


@wrong(GLOBAL, "each layer was cut by itself: one ranking over all layers decides")
def every_layer_by_itself(weights, amount):
    return {name: mask_by_argsort(weight, amount) for name, weight in weights.items()}


@wrong(GLOBAL, "ties remove too many: `>` a threshold removes all that equal it, in every layer")
def above_one_threshold(weights, amount):
    flat = together(weights).abs()
    k = round(amount * len(flat))
    threshold = flat.kthvalue(k).values if k else -1
    return {name: weight.abs() > threshold for name, weight in weights.items()}


@wrong(GLOBAL, "ties remove too few: `>=` a threshold keeps all that equal it, in every layer")
def at_least_one_threshold(weights, amount):
    flat = together(weights).abs().sort().values
    k = round(amount * len(flat))
    threshold = flat[k] if k < len(flat) else torch.inf
    return {name: weight.abs() >= threshold for name, weight in weights.items()}


SCALED = "each layer was scaled by its largest weight first: magnitudes are compared as they are"


@wrong(GLOBAL, SCALED)
def layers_scaled_first(weights, amount):
    scaled = {name: weight / weight.abs().max() for name, weight in weights.items()}
    return masks_of_one_ranking(scaled, amount)


@wrong(GLOBAL, "k is rounded down: round(amount * n) weights go")
def global_k_by_int(weights, amount):
    flat = together(weights).abs()
    mask = torch.ones(len(flat), dtype=torch.bool)
    mask[flat.argsort()[: int(amount * len(flat))]] = False
    return cut_apart(mask, weights)


@wrong(GLOBAL, expected="a dict with the keys ['a', 'b'], in this order")
def masks_in_a_list(weights, amount):
    return list(masks_of_one_ranking(weights, amount).values())


@wrong(GLOBAL, expected="a dict with the keys ['a', 'b'], in this order")
def masks_in_another_order(weights, amount):
    return dict(reversed(masks_of_one_ranking(weights, amount).items()))


@wrong(GLOBAL, "the mask has the wrong dtype", expected="a bool tensor of 2 for a")
def masked_weights(weights, amount):
    return {n: weights[n] * mask for n, mask in masks_of_one_ranking(weights, amount).items()}


@wrong(GLOBAL, "as many elements as asked for, but in another shape", expected="of 2 x 2 for b")
def flat_masks(weights, amount):
    return {n: mask.flatten() for n, mask in masks_of_one_ranking(weights, amount).items()}


SCAN = checks.sensitivity_scan


def measured(network, amounts, split, pruned, accuracy=None):
    """The two loops of a scan."""
    accuracy = accuracy or (lambda candidate: lab.evaluate(candidate, split).accuracy)
    return {
        name: [accuracy(pruned(network, name, amount)) for amount in amounts]
        for name in lab.prunable_layers(network)
    }


def only(network, name, amount):
    return lab.prune_magnitude(network, {name: amount})


@wrong(SCAN, "that is in percent; a fraction lies in [0, 1]")
def scan_in_percent(network, amounts, split):
    return measured(
        network,
        amounts,
        split,
        only,
        lambda candidate: 100 * lab.evaluate(candidate, split).accuracy,
    )


@wrong(SCAN, "that is the error; the scan gives the accuracy")
def scan_of_errors(network, amounts, split):
    return measured(
        network, amounts, split, only, lambda candidate: 1 - lab.evaluate(candidate, split).accuracy
    )


@wrong(SCAN, "that is the drop; the scan gives the accuracy that is left")
def scan_of_drops(network, amounts, split):
    dense = lab.evaluate(network, split).accuracy
    return measured(
        network,
        amounts,
        split,
        only,
        lambda candidate: dense - lab.evaluate(candidate, split).accuracy,
    )


@wrong(SCAN, "each pruning went on from the last one: start from the dense network every time")
def scan_that_prunes_on(network, amounts, split):
    accuracies = {}
    for name in lab.prunable_layers(network):
        accuracies[name] = []
        for amount in amounts:
            network = lab.prune_magnitude(network, {name: amount})
            accuracies[name].append(lab.evaluate(network, split).accuracy)
    return accuracies


@wrong(SCAN, "all layers were pruned: prune_magnitude(network, {layer: amount}) takes one")
def scan_of_all_layers(network, amounts, split):
    return measured(network, amounts, split, lambda n, _name, a: lab.prune_magnitude(n, a))


@wrong(SCAN, "the dense network was evaluated: prune_magnitude returns the pruned one")
def scan_of_the_dense_network(network, amounts, split):
    def pruned(network, name, amount):
        lab.prune_magnitude(network, {name: amount})
        return network

    return measured(network, amounts, split, pruned)


@wrong(SCAN, "fc1, fc2 was not scanned")
def scan_of_convolutions(network, amounts, split):
    found = scan_of_single_layers(network, amounts[:1], split)
    return {name: found[name] for name in ("conv1", "conv2")}


@wrong(SCAN, expected="a dict with the keys ['conv1', 'conv2', 'fc1', 'fc2']")
def scan_by_the_layers_themselves(network, amounts, split):
    return {layer: [0.5] * len(amounts) for layer in lab.prunable_layers(network).values()}


@wrong(SCAN, "make a list of it with .tolist()", expected="a list of 3 floats for conv1")
def scan_of_tensors(network, amounts, split):
    return {name: torch.ones(len(amounts)) for name in lab.prunable_layers(network)}


@wrong(SCAN, "take the numbers out with .item()", expected="a list of 3 floats for conv1")
def scan_of_lists_of_tensors(network, amounts, split):
    return {name: [torch.tensor(0.5) for _ in amounts] for name in lab.prunable_layers(network)}


@wrong(SCAN, expected="a list of 3 floats for conv1")
def scan_of_evaluations(network, amounts, split):
    return measured(network, amounts, split, only, lambda found: lab.evaluate(found, split))


@wrong(SCAN, expected="3 accuracies for conv1")
def scan_of_the_first_amount(network, amounts, split):
    return scan_of_single_layers(network, amounts[:1], split)


@wrong(SCAN, expected="for conv1 at 0.5")
def scan_of_random_weights(network, amounts, split):
    return measured(network, amounts, split, lambda n, name, a: lab.prune_random(n, {name: a}))


CHOICE = checks.choose_amounts


@wrong(
    CHOICE,
    "a layer that fails at a smaller amount passed later by luck: stop at the first failure",
)
def chosen_although_one_failed(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        chosen[name] = 0.0
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            if dense_accuracy - accuracy <= allowed_drop + 1e-9:
                chosen[name] = amount
    return chosen


@wrong(CHOICE, "a loss of just allowed_drop is still allowed")
def chosen_strictly(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        chosen[name] = 0.0
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            if dense_accuracy - accuracy >= allowed_drop:
                break
            chosen[name] = amount
    return chosen


@wrong(CHOICE, "that is the first amount that fails; the last one before it is asked for")
def chosen_one_too_far(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            chosen[name] = amount
            if dense_accuracy - accuracy > allowed_drop + 1e-9:
                break
    return chosen


@wrong(CHOICE, "that is the position in the list; the amount itself is asked for")
def chosen_positions(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        chosen[name] = 0
        for i in range(len(amounts)):
            if dense_accuracy - accuracies[i] > allowed_drop + 1e-9:
                break
            chosen[name] = i
    return chosen


@wrong(CHOICE, "where even the first amount costs too much, nothing goes: 0.0")
def chosen_from_the_first(scan, amounts, dense_accuracy, allowed_drop):
    chosen = {}
    for name, accuracies in scan.items():
        chosen[name] = amounts[0]
        for amount, accuracy in zip(amounts, accuracies, strict=True):
            if dense_accuracy - accuracy > allowed_drop + 1e-9:
                break
            chosen[name] = amount
    return chosen


@wrong(CHOICE, expected="a dict with the keys ['conv1', 'fc1', 'fc2']")
def chosen_where_something_goes(scan, amounts, dense_accuracy, allowed_drop):
    chosen = chosen_until_the_first_failure(scan, amounts, dense_accuracy, allowed_drop)
    return {name: amount for name, amount in chosen.items() if amount}


@wrong(CHOICE, expected="a float for each layer")
def chosen_none(scan, amounts, dense_accuracy, allowed_drop):
    chosen = chosen_until_the_first_failure(scan, amounts, dense_accuracy, allowed_drop)
    return {name: amount or None for name, amount in chosen.items()}


@wrong(CHOICE, expected="{conv1: 0, fc1: 0.5, fc2: 0}")
def chosen_with_the_wrong_sign(scan, amounts, dense_accuracy, allowed_drop):
    return chosen_until_the_first_failure(scan, amounts, -dense_accuracy, allowed_drop)


NORMS = checks.filter_norms
SQUARE = [(draw(4, 4, 3, 3),)]


@wrong(NORMS, "that is the L2 norm; L1 is the sum of the magnitudes")
def l2_norms(weight):
    return torch.linalg.vector_norm(weight, dim=(1, 2, 3))


@wrong(NORMS, "without the magnitudes, weights of both signs cancel")
def sums(weight):
    return weight.sum(dim=(1, 2, 3))


@wrong(NORMS, "the magnitude of the sum is not the sum of the magnitudes")
def magnitudes_of_sums(weight):
    return weight.sum(dim=(1, 2, 3)).abs()


@wrong(NORMS, "that is the mean; the sum is asked for")
def means(weight):
    return weight.abs().mean(dim=(1, 2, 3))


@wrong(NORMS, "that is the squared L2 norm; L1 is the sum of the magnitudes")
def squares(weight):
    return (weight**2).sum(dim=(1, 2, 3))


@wrong(
    NORMS,
    "that is summed over the filters; one norm for each filter, weight[i], is asked for",
)
def norms_of_channels(weight):
    return weight.abs().sum(dim=(0, 2, 3))


@wrong(NORMS, "the sum runs over the input channels and positions of one filter", SQUARE)
def norms_of_as_many_channels(weight):
    return weight.abs().sum(dim=(0, 2, 3))


@wrong(NORMS, "the kernel's positions are summed, the input channels are not")
def norms_of_kernels(weight):
    return weight.abs().sum(dim=(2, 3))


@wrong(NORMS, "that is one number for the layer; one for each filter is asked for")
def norm_of_the_layer(weight):
    return weight.abs().sum()


@wrong(NORMS, "keep a flat list of norms, without dimensions of size 1")
def norms_with_dimensions(weight):
    return weight.abs().sum(dim=(1, 2, 3), keepdim=True)


@wrong(NORMS, "the result has the wrong dtype", expected="a float32 tensor of 3")
def whole_norms(weight):
    return norms_of_filters(weight).long()


@wrong(NORMS, "make a tensor of the list: torch.tensor(...)", expected="a float32 tensor of 3")
def norms_in_a_list(weight):
    return [kernel.abs().sum().item() for kernel in weight]


KEEP = checks.filters_to_keep


@wrong(KEEP, "that is a mask: mask.nonzero().flatten()", expected="indices: [0, 3]")
def mask_of_filters(norms, amount):
    return mask_by_argsort(norms, amount)


@wrong(KEEP, "you kept the small ones: the largest norms stay")
def smallest_filters(norms, amount):
    kept = max(1, len(norms) - round(amount * len(norms)))
    return norms.topk(kept, largest=False).indices.sort().values


@wrong(KEEP, "those are the first filters; the norms decide")
def first_filters(norms, amount):
    return torch.arange(max(1, len(norms) - round(amount * len(norms))))


@wrong(KEEP, "those are the positions after sorting: argsort gives the indices")
def positions_after_sorting(norms, amount):
    ranked, _ = norms.sort()
    kept = max(1, len(norms) - round(amount * len(norms)))
    return torch.tensor([i for i in range(len(ranked)) if ranked[i] >= ranked[-kept]])


@wrong(KEEP, "the layer is empty: at least one filter stays, even for amount 1")
def no_filter_at_all(norms, amount):
    return norms.argsort()[round(amount * len(norms)) :].sort().values


@wrong(KEEP, "that many are removed, not kept")
def as_many_as_go(norms, amount):
    return norms.topk(max(1, round(amount * len(norms)))).indices.sort().values


@wrong(KEEP, "k is rounded down: round(amount * n) filters go")
def filters_by_int(norms, amount):
    return norms.topk(max(1, len(norms) - int(amount * len(norms)))).indices.sort().values


@wrong(KEEP, "k is rounded up: round(amount * n) filters go")
def kept_filters_by_int(norms, amount):
    return norms.topk(max(1, int((1 - amount) * len(norms)))).indices.sort().values


@wrong(KEEP, "sort the indices: filters stay in order")
def filters_by_rank(norms, amount):
    return norms.topk(max(1, len(norms) - round(amount * len(norms)))).indices


@wrong(KEEP, "indices are whole numbers, int64", expected="an int64 tensor of 2")
def indices_as_floats(norms, amount):
    return largest_filters(norms, amount).float()


@wrong(KEEP, "as many elements as asked for, but in another shape", expected="an int64 tensor of 2")
def indices_in_a_column(norms, amount):
    return largest_filters(norms, amount)[:, None]


@wrong(KEEP, expected="indices from 0 to 3")
def counted_from_one(norms, amount):
    return largest_filters(norms, amount) + 1


@wrong(KEEP, expected="[0, 3]")
def the_best_one_twice(norms, amount):
    return norms.argmax().repeat(len(largest_filters(norms, amount)))


@wrong(KEEP, expected="2 indices")
def one_too_many(norms, amount):
    return torch.arange(len(norms))[: len(largest_filters(norms, amount)) + 1]


@wrong(KEEP, "make a tensor of the list: torch.tensor(...)", expected="an int64 tensor of 2")
def indices_in_a_list(norms, amount):
    return largest_filters(norms, amount).tolist()


REMOVE = checks.remove_filters
ALL_KEPT = [checks.removal_case((3, 4, 5), [0, 1, 2], [1, 3], seed=5)]
LAYERS_AROUND = (
    "the tensors are of the right shapes, the layers around them are not: build "
    "SimpleCNN(widths), then copy the tensors into it"
)


@wrong(REMOVE, "filters set to zero are still there: the new tensor has fewer rows")
def filters_zeroed(network, kept1, kept2):
    network = copy.deepcopy(network)
    with torch.no_grad():
        for layer, kept in ((network.conv1, kept1), (network.conv2, kept2)):
            for i in range(len(layer.weight)):
                if i not in kept:
                    layer.weight[i] = 0
                    layer.bias[i] = 0
    return network


def first_layer_replaced(network, kept1):
    network = copy.deepcopy(network)
    conv1 = nn.Conv2d(1, len(kept1), kernel_size=3, padding=1)
    conv1.weight.data = network.conv1.weight.data[kept1]
    conv1.bias.data = network.conv1.bias.data[kept1]
    network.conv1 = conv1
    return network


def second_layer_replaced(network, kept1, kept2):
    network = first_layer_replaced(network, kept1)
    conv2 = nn.Conv2d(len(kept1), len(kept2), kernel_size=3, padding=1)
    conv2.weight.data = network.conv2.weight.data[kept2][:, kept1]
    conv2.bias.data = network.conv2.bias.data[kept2]
    network.conv2 = conv2
    return network


@wrong(REMOVE, "the next layer still has 3 inputs: cut conv2's second dimension by kept1")
def second_layer_forgotten(network, kept1, kept2):
    return first_layer_replaced(network, kept1)


@wrong(REMOVE, "the next layer still has 3 inputs: cut conv2's second dimension by kept1")
def inputs_of_the_second_layer_forgotten(network, kept1, kept2):
    inputs = network.conv2.in_channels
    network = first_layer_replaced(network, kept1)
    conv2 = nn.Conv2d(inputs, len(kept2), kernel_size=3, padding=1)
    conv2.weight.data = network.conv2.weight.data[kept2]
    conv2.bias.data = network.conv2.bias.data[kept2]
    network.conv2 = conv2
    return network


@wrong(REMOVE, "conv2 still has all its filters: cut its first dimension by kept2")
def inputs_of_the_second_layer_alone(network, kept1, kept2):
    network = first_layer_replaced(network, kept1)
    network.conv2.weight.data = network.conv2.weight.data[:, kept1]
    network.conv2.in_channels = len(kept1)
    return network


@wrong(REMOVE, "conv2 still has all its filters: cut its first dimension by kept2", ALL_KEPT)
def second_layer_zeroed(network, kept1, kept2):
    return filters_zeroed(network, kept1, kept2)


FC1_INPUTS = "inputs: Flatten makes 7 x 7 = 49 of fc1's columns from each channel of conv2"


@wrong(REMOVE, "the next layer still has 196 " + FC1_INPUTS)
def linear_layer_forgotten(network, kept1, kept2):
    return second_layer_replaced(network, kept1, kept2)


@wrong(REMOVE, "fc1 has 7 x 7 = 49 columns for each channel of conv2")
def one_column_a_channel(network, kept1, kept2):
    network = second_layer_replaced(network, kept1, kept2)
    network.fc1 = nn.Linear(len(kept2), network.fc1.out_features)
    return network


@wrong(REMOVE, "a filter takes its bias along")
def biases_forgotten(network, kept1, kept2):
    network = copy.deepcopy(network)
    network.conv1.weight = nn.Parameter(network.conv1.weight[kept1])
    network.conv2.weight = nn.Parameter(network.conv2.weight[kept2][:, kept1])
    columns = network.fc1.weight.view(len(network.fc1.weight), -1, 49)
    network.fc1.weight = nn.Parameter(columns[:, kept2].flatten(1))
    return network


@wrong(REMOVE, LAYERS_AROUND, expected="SimpleCNN(widths=(2, 2, 5))")
def tensors_exchanged_in_the_old_layers(network, kept1, kept2):
    small, network = smaller_network(network, kept1, kept2), copy.deepcopy(network)
    for name, parameter in network.named_parameters():
        parameter.data = small.state_dict()[name]
    return network


@wrong(REMOVE, LAYERS_AROUND, expected="SimpleCNN(widths=(2, 2, 5))")
def padding_forgotten(network, kept1, kept2):
    network = smaller_network(network, kept1, kept2)
    conv1 = nn.Conv2d(1, len(kept1), 3)
    conv1.load_state_dict(network.conv1.state_dict())
    network.conv1 = conv1
    return network


@wrong(REMOVE, LAYERS_AROUND, expected="SimpleCNN(widths=(2, 2, 5))")
def plain_sequential(network, kept1, kept2):
    return nn.Sequential(OrderedDict(smaller_network(network, kept1, kept2).named_children()))


@wrong(REMOVE, expected="the tensors conv1.weight, conv1.bias, conv2.weight")
def layers_without_names(network, kept1, kept2):
    return nn.Sequential(*smaller_network(network, kept1, kept2))


@wrong(REMOVE, "return the new network", expected="a SimpleCNN")
def state_alone(network, kept1, kept2):
    return smaller_network(network, kept1, kept2).state_dict()


def otherwise(network, kept1, kept2, **tensors):
    """The right network but for these tensors, as conv1_weight=..."""
    slim = smaller_network(network, kept1, kept2)
    with torch.no_grad():
        for name, tensor in tensors.items():
            slim.get_parameter(name.replace("_", ".")).copy_(tensor)
    return slim


@wrong(REMOVE, "those are the first ones; kept1 and kept2 say which")
def the_first_filters(network, kept1, kept2):
    return otherwise(network, kept1, kept2, conv1_weight=network.conv1.weight[: len(kept1)])


@wrong(REMOVE, "those are the first ones; kept1 and kept2 say which")
def the_first_filters_of_conv2(network, kept1, kept2):
    first = network.conv2.weight[: len(kept2), : len(kept1)]
    return otherwise(network, kept1, kept2, conv2_weight=first)


@wrong(REMOVE, "the inputs of conv2 that stay are kept1, not the first")
def the_first_inputs_of_conv2(network, kept1, kept2):
    first = network.conv2.weight[kept2][:, : len(kept1)]
    return otherwise(network, kept1, kept2, conv2_weight=first)


@wrong(REMOVE, "the filters of conv2 that stay are kept2, not the first")
def the_first_filters_with_the_right_inputs(network, kept1, kept2):
    first = network.conv2.weight[: len(kept2)][:, kept1]
    return otherwise(network, kept1, kept2, conv2_weight=first)


@wrong(REMOVE, "the biases are the first ones, not those of the filters kept")
def the_first_biases(network, kept1, kept2):
    return otherwise(network, kept1, kept2, conv2_bias=network.conv2.bias[: len(kept2)])


@wrong(REMOVE, "those are the first columns; each kept channel has its own 49")
def the_first_columns(network, kept1, kept2):
    return otherwise(network, kept1, kept2, fc1_weight=network.fc1.weight[:, : 49 * len(kept2)])


@wrong(REMOVE, "Flatten goes channel by channel: column = channel * 49 + position")
def channels_interleaved(network, kept1, kept2):
    channels = network.conv2.out_channels
    columns = [p * channels + int(c) for p in range(49) for c in kept2]
    return otherwise(network, kept1, kept2, fc1_weight=network.fc1.weight[:, columns])


@wrong(REMOVE, "Flatten keeps a channel's 49 columns together: column = channel * 49 + position")
def channels_strided(network, kept1, kept2):
    channels = network.conv2.out_channels
    columns = [p * channels + int(c) for c in kept2 for p in range(49)]
    return otherwise(network, kept1, kept2, fc1_weight=network.fc1.weight[:, columns])


@wrong(REMOVE, "the columns are right but in another order: channel by channel")
def columns_by_position(network, kept1, kept2):
    columns = [int(c) * 49 + p for p in range(49) for c in kept2]
    return otherwise(network, kept1, kept2, fc1_weight=network.fc1.weight[:, columns])


@wrong(REMOVE, "the new network's conv1.weight was not filled")
def nothing_copied(network, kept1, kept2):
    return lab.SimpleCNN((len(kept1), len(kept2), network.fc1.out_features))


@wrong(REMOVE, "fc1.bias does not change: copy it whole")
def bias_of_fc1_not_copied(network, kept1, kept2):
    return otherwise(network, kept1, kept2, fc1_bias=torch.zeros(len(network.fc1.bias)))


@wrong(REMOVE, "fc2.weight does not change: copy it whole")
def last_layer_not_copied(network, kept1, kept2):
    return otherwise(network, kept1, kept2, fc2_weight=nn.Linear(5, 10).weight, fc2_bias=0)


@wrong(REMOVE, "the new network's numbers are not float32")
def double_precision(network, kept1, kept2):
    return smaller_network(network, kept1, kept2).double()


@wrong(REMOVE, expected="in conv1.weight, the numbers of the filters that stay")
def filters_the_other_way_round(network, kept1, kept2):
    return smaller_network(network, kept1.flip(0), kept2)


TUNE = checks.tune


def zero_places(network):
    return [(layer.weight, layer.weight == 0) for layer in parts(network)]


def silence(places):
    with torch.no_grad():
        for weight, zero in places:
            weight[zero] = 0


def learn(network, sgd, images, labels):
    sgd.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    sgd.step()


def momentum_sgd(network, learning_rate):
    return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=0.9)


def momentum_sgd_of(learning_rate):
    return lambda network: momentum_sgd(network, learning_rate)


def tuned_by(network, batches, optimizer_of, places_of=zero_places, step=learn):
    """Train a copy by any optimizer, any step, with any places silenced after each."""
    network = copy.deepcopy(network)
    places, optimizer = places_of(network), optimizer_of(network)
    for images, labels in batches:
        step(network, optimizer, images, labels)
        silence(places)
    return network


MOMENTUM = "without momentum: torch.optim.SGD(..., momentum=0.9), made once, before all batches"
AFTER_EVERY_STEP = "multiply each weight by its mask after every step"


@wrong(TUNE, AFTER_EVERY_STEP, expected="every weight that was zero is zero")
def masks_forgotten(network, batches, learning_rate):
    network = copy.deepcopy(network)
    sgd = momentum_sgd(network, learning_rate)
    for images, labels in batches:
        learn(network, sgd, images, labels)
    return network


@wrong(TUNE, AFTER_EVERY_STEP, expected="every weight that was zero is zero")
def masks_before_each_step(network, batches, learning_rate):
    network = copy.deepcopy(network)
    places, sgd = zero_places(network), momentum_sgd(network, learning_rate)
    for images, labels in batches:
        silence(places)
        learn(network, sgd, images, labels)
    return network


@wrong(TUNE, "the zeros were set once, and momentum revived them: set them after every step")
def masks_after_the_first_step(network, batches, learning_rate):
    network = copy.deepcopy(network)
    places, sgd = zero_places(network), momentum_sgd(network, learning_rate)
    for i, (images, labels) in enumerate(batches):
        learn(network, sgd, images, labels)
        if i == 0:
            silence(places)
    return network


@wrong(
    TUNE,
    "the zeros were set once, at the end: in between, revived weights took part. Set them after "
    "every step",
)
def masks_at_the_end(network, batches, learning_rate):
    network = copy.deepcopy(network)
    places, sgd = zero_places(network), momentum_sgd(network, learning_rate)
    for images, labels in batches:
        learn(network, sgd, images, labels)
    silence(places)
    return network


@wrong(TUNE, "nothing was learned: the network is as it was")
def no_step_at_all(network, batches, learning_rate):
    network = copy.deepcopy(network)
    for images, labels in batches:
        F.cross_entropy(network(images), labels).backward()
    return network


@wrong(TUNE, MOMENTUM)
def momentum_forgotten(network, batches, learning_rate):
    return tuned_by(network, batches, lambda n: torch.optim.SGD(n.parameters(), lr=learning_rate))


@wrong(TUNE, "that is Adam: torch.optim.SGD with momentum 0.9 is asked for")
def another_optimizer(network, batches, learning_rate):
    return tuned_by(network, batches, lambda n: torch.optim.Adam(n.parameters(), lr=learning_rate))


@wrong(TUNE, "learning_rate was not used: torch.optim.SGD(..., lr=learning_rate)")
def learning_rate_left_out(network, batches, _learning_rate):
    return tuned_by(network, batches, lambda n: torch.optim.SGD(n.parameters(), momentum=0.9))


@wrong(TUNE, "cross_entropy takes the logits as they are: no softmax before it")
def softmax_before_the_loss(network, batches, learning_rate):
    def step(network, sgd, images, labels):
        sgd.zero_grad()
        F.cross_entropy(network(images).softmax(dim=1), labels).backward()
        sgd.step()

    return tuned_by(network, batches, momentum_sgd_of(learning_rate), step=step)


@wrong(TUNE, "the gradients add up: optimizer.zero_grad() before each backward()")
def gradients_not_cleared(network, batches, learning_rate):
    def step(network, sgd, images, labels):
        F.cross_entropy(network(images), labels).backward()
        sgd.step()

    return tuned_by(network, batches, momentum_sgd_of(learning_rate), step=step)


@wrong(TUNE, "the biases did not learn: give the optimizer all of network.parameters()")
def weights_alone(network, batches, learning_rate):
    def sgd_of(network):
        weights = [layer.weight for layer in parts(network)]
        return torch.optim.SGD(weights, lr=learning_rate, momentum=0.9)

    return tuned_by(network, batches, sgd_of)


@wrong(TUNE, "only the first batch was used")
def returned_inside_the_loop(network, batches, learning_rate):
    return tuned_by(network, batches[:1], momentum_sgd_of(learning_rate))


@wrong(TUNE, MOMENTUM)
def optimizer_inside_the_loop(network, batches, learning_rate):
    def step(network, _, images, labels):
        learn(network, momentum_sgd(network, learning_rate), images, labels)

    return tuned_by(network, batches, momentum_sgd_of(learning_rate), step=step)


@wrong(TUNE, "biases that were zero stayed zero: only weights have masks")
def masks_for_biases_too(network, batches, learning_rate):
    def places_of(network):
        return [(p, p == 0) for p in network.parameters()]

    return tuned_by(network, batches, momentum_sgd_of(learning_rate), places_of)


@wrong(TUNE, expected="the weights after these steps of SGD with momentum")
def learns_ten_times_as_fast(network, batches, learning_rate):
    return tuned_with_masks(network, batches, 10 * learning_rate)


@wrong(TUNE, "return the network, not its loss", expected="the network after training")
def last_loss(network, batches, learning_rate):
    images, labels = batches[-1]
    tuned = tuned_with_masks(network, batches, learning_rate)
    return F.cross_entropy(tuned(images), labels).item()


@wrong(TUNE, 'make the masks permanent: torch.nn.utils.prune.remove(network.conv1, "weight")')
def masks_of_torch_prune(network, batches, learning_rate):
    network = copy.deepcopy(network)
    for layer in parts(network):
        prune.custom_from_mask(layer, "weight", layer.weight != 0)
    sgd = momentum_sgd(network, learning_rate)
    for images, labels in batches:
        learn(network, sgd, images, labels)
    return network


@wrong(TUNE, expected="a SimpleCNN(widths=(2, 3, 4))")
def another_network(network, batches, learning_rate):
    return lab.SimpleCNN((2, 3, 5))


@functools.cache
def failure_of(check, function, at):
    """The failure of a wrong answer, computed once."""
    cases = WRONG[at].values[3]
    return failure(check, function, cases)


@pytest.mark.parametrize("at", range(len(WRONG)), ids=[entry.id for entry in WRONG])
def test_wrong_answer_is_wrong_and_its_mistake_is_named(at):
    check, function, likely, _cases, expected = WRONG[at].values
    error = failure_of(check, function, at)
    lines = told(error)
    assert error.outcome == "wrong"
    assert lines["title"] == f"{check.title}: wrong"
    assert lines.get("likely", "") == likely
    assert expected in lines["expected"]
    assert lines["got"]
    assert lines["input"]


MODULES = (sizes, masks, scan, filters, tuning)


def sentences(module):
    """The texts of a module that a student may get to read, as far as they are constant."""
    tree = ast.parse(inspect.getsource(module))
    docs = {
        ast.get_docstring(node, clean=False)
        for node in ast.walk(tree)
        if hasattr(node, "body")
        and isinstance(node.body, list)
        and not isinstance(node, (ast.If, ast.For, ast.With))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value.strip()
            if text.count(" ") > 2 and node.value not in docs:
                yield text


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_sentence_is_said_to_some_wrong_answer(module):
    said = "".join(
        str(failure_of(*entry.values[:2], at))
        for at, entry in enumerate(WRONG)
        if entry.values[0].judge.__module__ == module.__name__
    )
    assert [text for text in sentences(module) if text not in said] == []


# ---------------------------------------------------------------- the four outcomes

CHECKS = [checks.sparsity_and_bytes, MASK, GLOBAL, SCAN, CHOICE, NORMS, KEEP, REMOVE, TUNE]
every_check = pytest.mark.parametrize("check", CHECKS, ids=[check.__name__ for check in CHECKS])


@every_check
def test_stub_is_not_attempted(check):
    def bare(*_inputs):
        raise NotImplementedError

    def with_a_remark(*_inputs):
        raise NotImplementedError("your code here")

    for stub in (bare, with_a_remark):
        error = failure(check, stub)
        assert error.outcome == "not attempted"
        assert str(error) == f"{check.title}: not attempted\n  next      write the function's body"


def typed(source, name, file="cell 3"):
    """Define a function as a notebook does: from source that the line cache knows."""
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    space = {"torch": torch, "copy": copy}
    exec(compile(source, file, "exec"), space)
    return space[name]


def test_error_is_told_with_the_students_line():
    function = typed(
        "def helper(weight):\n"
        "    return weight.view(2, 3)\n"
        "\n"
        "def magnitude_mask(weight, amount):\n"
        "    return helper(weight) > amount\n",
        "magnitude_mask",
    )
    error = failure(MASK, function)
    assert error.outcome == "raised"
    lines = str(error).splitlines()
    assert lines[0] == "Exercise 2, magnitude_mask: raised"
    assert lines[1] == "  input     weight = [3, -1, 2, -4], amount = 0.5"
    assert lines[2].startswith(
        "  error     RuntimeError: shape '[2, 3]' is invalid for input of size 4"
    )
    assert lines[3] == "  at        line 2: return weight.view(2, 3)"
    assert len(lines) == 4


@every_check
def test_error_in_a_function_of_a_file_is_told_with_its_line(check):
    def divides(*_inputs):
        return 1 / 0

    error = failure(check, divides)
    line = inspect.getsourcelines(divides)[1] + 1
    assert error.outcome == "raised"
    assert told(error)["error"] == "ZeroDivisionError: division by zero"
    assert told(error)["at"] == f"line {line}: return 1 / 0"


def test_line_is_the_students_where_the_error_comes_from_a_library():
    function = typed(
        "def magnitude_mask(weight, amount):\n    return copy.deepcopy(w for w in weight)\n",
        "magnitude_mask",
    )
    assert told(failure(MASK, function))["at"] == "line 2: return copy.deepcopy(w for w in weight)"


def test_error_before_the_function_begins_has_no_line():
    lines = told(failure(MASK, lambda weight: weight > 0))
    assert lines["error"].startswith("TypeError: ")
    assert "takes 1 positional argument but 2 were given" in lines["error"]
    assert "at" not in lines


def test_what_pytorch_has_not_implemented_is_an_error_and_no_stub():
    error = failure(MASK, lambda weight, _amount: torch.randn(weight.shape, dtype=torch.int64))
    assert error.outcome == "raised"
    assert "not implemented for 'Long'" in told(error)["error"]


def test_error_without_words_or_with_many_is_one_line():
    def silent(*_inputs):
        raise KeyError

    def wordy(*_inputs):
        raise ValueError("first\nsecond " + 500 * "x")

    assert told(failure(MASK, silent))["error"] == "KeyError"
    assert told(failure(MASK, wordy))["error"] == "ValueError: first"
    endless = failure(MASK, lambda *_inputs: 0 / {}["x" * 1000])
    assert all(len(line) < 200 for line in str(endless).splitlines())


@every_check
def test_forgotten_return_is_named(check):
    lines = told(failure(check, lambda *_inputs: None))
    assert lines["got"] == "None"
    assert lines["likely"] == "the function ends without a `return`"


@every_check
def test_what_is_no_function_is_said_to_be_none(check):
    for value, shown in ((7, "7"), (torch.zeros(2), "[0, 0]"), (None, "None")):
        error = failure(check, value)
        assert error.outcome == "wrong"
        assert told(error) == {
            "title": f"{check.title}: wrong", "expected": "a function", "got": shown,
        }  # fmt: skip


def spoil_weights(weights, amount):
    for weight in weights.values():
        weight.abs_()
    return masks_of_one_ranking(weights, amount)


def prune_in_place(network, amounts, split):
    accuracies = scan_of_single_layers(network, amounts, split)
    network.conv1.weight.data.zero_()
    return accuracies


def take_out(scan, amounts, dense_accuracy, allowed_drop):
    chosen = chosen_until_the_first_failure(scan, amounts, dense_accuracy, allowed_drop)
    return {name: chosen[name] for name in list(scan) if scan.pop(name)}


def shrink_in_place(network, kept1, kept2):
    for name, layer in smaller_network(network, kept1, kept2).named_children():
        setattr(network, name, layer)
    return network


def tune_in_place(network, batches, learning_rate):
    network.load_state_dict(tuned_with_masks(network, batches, learning_rate).state_dict())
    return network


def clear_zero_biases(network):
    found = counted_layer_by_layer(network)
    network[0].bias.data[0] = 5
    return found


@pytest.mark.parametrize(
    ("check", "function"),
    [
        (checks.sparsity_and_bytes, clear_zero_biases),
        (MASK, lambda weight, amount: mask_by_argsort(weight.abs_(), amount)),
        (GLOBAL, spoil_weights),
        (SCAN, prune_in_place),
        (CHOICE, take_out),
        (NORMS, lambda weight: norms_of_filters(weight.abs_())),
        (KEEP, lambda norms, amount: largest_filters(norms.mul_(2), amount)),
        (REMOVE, shrink_in_place),
        (TUNE, tune_in_place),
    ],
    ids=[check.__name__ for check in CHECKS],
)
def test_change_of_the_input_is_named(check, function):
    lines = told(failure(check, function))
    assert lines["expected"] == "what the function was given is left as it was"
    assert lines["got"] == "it was changed in place"
    assert lines["likely"] == "work on a copy: tensor.clone(), copy.deepcopy(network)"


def test_inputs_of_a_check_stay_whole():
    cases = [(torch.tensor([3.0, -1.0]), 0.5)]
    failure(MASK, lambda weight, amount: mask_by_argsort(weight.abs_(), amount), cases)
    assert cases[0][0].tolist() == [3.0, -1.0]


class Elsewhere:
    """A function that runs in another process, as when submissions are graded."""

    def __init__(self, found):
        self.found = found

    def __call__(self, *_inputs):
        raise AssertionError("called here")

    def attempt_elsewhere(self, *inputs):
        return self.found(*inputs)


def test_function_elsewhere_is_asked_there():
    MASK(Elsewhere(lambda weight, amount: Attempt(mask_by_argsort(weight, amount))))
    outcomes = [
        (Attempt(attempted=False), "not attempted"),
        (Attempt(error="it ran longer than 10 s"), "raised"),
        (Attempt(None), "wrong"),
        (Attempt(torch.zeros(4)), "wrong"),
    ]
    for found, outcome in outcomes:
        assert failure(MASK, Elsewhere(lambda *_inputs, found=found: found)).outcome == outcome


# ---------------------------------------------------------------- what the student sees


def test_message_has_exactly_these_lines():
    error = failure(MASK, above_a_threshold)
    lines = [
        "Exercise 2, magnitude_mask: wrong",
        "  input     weight = [3, -1, 2, -1], amount = 0.25",
        "  expected  exactly 1 weight removed",
        "  got       2 removed",
        f"  likely    {TIES_GO}{CUT}",
    ]
    assert str(error) == "\n".join(lines)
    assert error._render_traceback_() == lines
    assert isinstance(error, AssertionError)


def test_inputs_are_shown_short():
    network = told(failure(checks.sparsity_and_bytes, share_left))["input"]
    assert network == "network = Sequential of 1 layer"
    large = told(failure(MASK, k_that_keeps_by_int))["input"]
    assert large == "weight = float32 tensor of 8 x 4 x 3 x 3, amount = 0.65"
    tuned = told(failure(TUNE, masks_forgotten))["input"]
    assert tuned.startswith("network = SimpleCNN(widths=(2, 3, 4)), batches = [(float32 tensor of")
    assert tuned.endswith("..., learning_rate = 0.02")


# ---------------------------------------------------------------- hostile answers


class Agreeable:
    """Equal to everything, larger than everything, as long as anything."""

    def __eq__(self, other):
        return True

    __hash__ = None
    __lt__ = __gt__ = __le__ = __ge__ = __eq__

    def __bool__(self):
        return True

    def __len__(self):
        return 4

    def __getattr__(self, name):
        return self

    def __call__(self, *_inputs):
        return self


class YesTensor(Tensor):
    @classmethod
    def __torch_function__(cls, function, types, arguments=(), options=None):
        return True

    def __eq__(self, other):
        return True


class YesDict(dict):
    def __eq__(self, other):
        return True

    def __contains__(self, key):
        return True

    def __missing__(self, key):
        return torch.ones(2, dtype=torch.bool)

    __hash__ = None


class YesText(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__


class Explosive:
    def __getattribute__(self, name):
        raise RuntimeError("do not touch")


class ExplosiveDict(dict):
    def items(self):
        raise RuntimeError("do not touch")


class UnknownNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)

    def state_dict(self, *_arguments, **_options):
        return Agreeable()


def nested(levels):
    value = [0]
    for _ in range(levels):
        value = [value, value] if levels < 100 else [value]
    return value


def in_itself():
    value = []
    value.append(value)
    return value


HOSTILE = {
    "equal to everything": Agreeable,
    "tensor that says yes": lambda: torch.zeros(4).as_subclass(YesTensor),
    "bool tensor that says yes": lambda: torch.zeros(4, dtype=torch.bool).as_subclass(YesTensor),
    "dict that says yes": YesDict,
    "dict whose keys say yes": lambda: {YesText("a"): 0.5, YesText("conv1"): [0.5]},
    "dict that explodes": lambda: ExplosiveDict(a=1),
    "explosive": Explosive,
    "deep list": lambda: nested(10_000),
    "list in itself": in_itself,
    "branching list": lambda: nested(12),
    "long list": lambda: [0.5] * 100_000,
    "unknown network": UnknownNetwork,
    "layer": lambda: nn.Conv2d(1, 2, 3),
    "network without layers": lambda: nn.Sequential(),
    "SimpleCNN without conv1": lambda: lab.SimpleCNN()[1:],
    "complex tensor": lambda: torch.zeros(4, dtype=torch.complex64),
    "sparse tensor": lambda: torch.eye(2).to_sparse(),
    "tensor without data": lambda: torch.zeros(4, device="meta"),
    "endless tensor": lambda: torch.zeros(1).expand(10**13),
    "endless number": lambda: 10**5000,
    "pair of endless numbers": lambda: (10**400, -(10**400)),
    "pair that is not a number": lambda: (float("nan"), float("inf")),
    "numbers of nobody": lambda: {"conv1": float("nan"), "fc1": 10**400, "fc2": None},
    "array": lambda: torch.zeros(4).numpy(),
    "generator": lambda: (i for i in range(4)),
    "function": lambda: print,
    "class": lambda: lab.SimpleCNN,
}


@every_check
@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_answer_is_wrong_in_clear_words(check, kind):
    error = failure(check, lambda *_inputs: HOSTILE[kind]())
    assert error.outcome == "wrong"
    lines = told(error)
    assert lines["expected"]
    assert lines["got"]
    assert all(len(line) < 250 for line in str(error).splitlines())


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("equal to everything", "an object of type Agreeable"),
        ("explosive", "an object of type Explosive"),
        ("unknown network", "an object of type UnknownNetwork"),
        ("complex tensor", "an object of type complex64 Tensor on cpu"),
        ("sparse tensor", "an object of type sparse_coo Tensor"),
        ("endless tensor", "an object of type Tensor of 40,000,000,000,000 bytes"),
        ("endless number", "an object of type int beyond 64 bits"),
        ("array", "an object of type ndarray"),
        ("function", "an object of type builtin_function_or_method"),
        ("tensor that says yes", "[0, 0, 0, 0]"),
    ],
)
def test_hostile_answer_is_shown_by_its_kind(kind, shown):
    assert told(failure(MASK, lambda *_inputs: HOSTILE[kind]()))["got"] == shown


# ---------------------------------------------------------------- never right by mistake

TIED = st.lists(st.sampled_from([0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -3.0]), min_size=1, max_size=12)
AMOUNTS = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))


def kept_by_chance(values, amount, order):
    """A right mask that breaks ties in an order of its own."""
    ranked = sorted(order, key=lambda i: abs(values[i]))
    mask = torch.ones(len(values), dtype=torch.bool)
    mask[ranked[: round(amount * len(values))]] = False
    return mask


@settings(deadline=None)
@given(TIED, AMOUNTS, st.data())
def test_any_breaking_of_ties_is_right_and_any_flipped_place_is_wrong(values, amount, data):
    order = data.draw(st.permutations(range(len(values))))
    mask, weight = kept_by_chance(values, amount, order), torch.tensor(values)
    MASK(lambda *_inputs: mask, [(weight, amount)])
    GLOBAL(
        lambda *_inputs: {"a": mask[:1], "b": mask[1:]},
        [({"a": weight[:1], "b": weight[1:]}, amount)],
    )
    flipped = mask.clone()
    flipped[order[0]] ^= True
    assert failure(MASK, lambda *_inputs: flipped, [(weight, amount)]).outcome == "wrong"


@settings(deadline=None)
@given(TIED, AMOUNTS, st.data())
def test_any_exchange_of_a_larger_weight_for_a_smaller_is_wrong(values, amount, data):
    order = data.draw(st.permutations(range(len(values))))
    mask = kept_by_chance(values, amount, order)
    pairs = [(i, j) for i in order for j in order if mask[i] and abs(values[i]) > abs(values[j])]
    assume([pair for pair in pairs if not mask[pair[1]]])
    kept, gone = next(pair for pair in pairs if not mask[pair[1]])
    mask[kept], mask[gone] = False, True
    case = (torch.tensor(values), amount)
    assert failure(MASK, lambda *_inputs: mask, [case]).outcome == "wrong"


@settings(deadline=None)
@given(TIED, AMOUNTS, st.lists(st.integers(-1, 12), max_size=12))
def test_indices_are_right_only_if_they_are_those_of_the_largest(norms, amount, indices):
    norms = torch.tensor(norms).abs()
    kept = max(1, len(norms) - round(amount * len(norms)))
    inside = [i for i in indices if 0 <= i < len(norms)]
    largest = norms.sort(descending=True).values[:kept].tolist()
    good = (
        indices == inside
        and indices == sorted(set(indices))
        and sorted(norms[indices].tolist(), reverse=True) == largest
    )
    answer, cases = torch.tensor(indices, dtype=torch.int64), [(norms, amount)]
    if good:
        KEEP(lambda *_inputs: answer, cases)
    else:
        assert failure(KEEP, lambda *_inputs: answer, cases).outcome == "wrong"


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.integers(0, 3000))
def test_no_other_pair_of_numbers_is_right(sparsity, size):
    network = checks.with_zeros((2, 3, 4), seed=0)
    good = counted_layer_by_layer(network)
    assume(abs(sparsity - good[0]) > 1e-5 and size != good[1])
    for answer in ((sparsity, size), (good[0], size), (sparsity, good[1])):
        found = failure(checks.sparsity_and_bytes, lambda _n, answer=answer: answer, [(network,)])
        assert found.outcome == "wrong"


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1]), min_size=3, max_size=3))
def test_no_other_choice_of_amounts_is_right(chosen):
    answer = dict(zip(("conv1", "fc1", "fc2"), chosen, strict=True))
    case = CHOICE.cases()[0]
    assume(answer != chosen_until_the_first_failure(*case))
    assert failure(CHOICE, lambda *_inputs: answer, [case]).outcome == "wrong"


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_no_network_with_another_number_in_it_is_right(data):
    case = checks.removal_case((3, 4, 5), [0, 2], [1, 3], seed=3)
    network = smaller_network(*case)
    name, parameter = data.draw(st.sampled_from(list(network.named_parameters())))
    place = data.draw(st.integers(0, parameter.numel() - 1))
    parameter.data.view(-1)[place] += data.draw(st.sampled_from([0.01, -0.3, float("nan")]))
    error = failure(REMOVE, lambda *_inputs: network, [case])
    assert error.outcome == "wrong"
    assert name in told(error)["expected"]


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_no_tuned_network_with_another_number_in_it_is_right(data):
    case = TUNING_CASES[0]
    network = tuned_with_masks(*case)
    parameter = data.draw(st.sampled_from(list(network.parameters())))
    place = data.draw(st.integers(0, parameter.numel() - 1))
    parameter.data.view(-1)[place] += data.draw(st.sampled_from([0.01, -0.3, float("nan")]))
    assert failure(TUNE, lambda *_inputs: network, [case]).outcome == "wrong"


# ---------------------------------------------------------------- the designed network


@pytest.fixture(scope="session")
def some_digits(digits):
    """A few, in memory of their own: a copy of a slice is as large as what it was cut from."""
    parts = (digits.train[:100], digits.validation[:500], digits.test[:100])
    return lab.Digits(*(lab.Split(part.images.clone(), part.labels.clone()) for part in parts))


def designed(network, digits):
    with pytest.raises(checks.CheckFailed) as caught:
        checks.design_network(lambda _digits: network, digits)
    return told(caught.value)


def test_points_at_the_corners():
    assert checks.design_points(0.988, 100_000) == 0
    assert checks.design_points(0.988, 20_000) == 10
    assert checks.design_points(1.0, 1) == 10
    assert checks.design_points(1.0, 10**9) == 0
    assert checks.design_points(0.9878, 1) == 0
    assert checks.design_points(0.988, 44_721) == 5  # the geometric mean of the two


@settings(deadline=None)
@given(st.integers(1, 200_000), st.integers(1, 200_000), st.floats(0, 1))
def test_fewer_bytes_never_give_fewer_points(one, other, accuracy):
    few, many = sorted((one, other))
    assert 0 <= checks.design_points(accuracy, many) <= checks.design_points(accuracy, few) <= 10


def test_network_that_is_good_enough_gets_its_points(some_digits, model, capsys):
    pruned = lab.prune_magnitude(model, 0.8)
    points = checks.design_network(lambda _digits: pruned, some_digits)
    size = lab.model_bytes(pruned).compressed
    accuracy = lab.evaluate(pruned, some_digits.validation).accuracy
    assert points == checks.design_points(accuracy, size)
    assert capsys.readouterr().out == (
        f"Exercise 8, design_network: {size:,} bytes, {accuracy:.2%} of 500 images right: "
        f"{points:g} of 10 points\n"
    )


def test_network_is_designed_from_the_digits(some_digits):
    seen = []

    def design_network(digits):
        seen.append(digits)
        return lab.load_pretrained(0)

    checks.design_network(design_network, some_digits)
    assert torch.equal(seen[0].train.labels, some_digits.train.labels)


def test_network_below_the_bar_is_told_by_how_much(some_digits, model, capsys):
    lines = designed(lab.prune_magnitude(model, 0.99), some_digits)
    assert lines["title"] == "Exercise 8, design_network: wrong"
    assert lines["expected"] == "at least 98.8% of the validation images right"
    assert lines["likely"] == "remove less, or train longer after each removal"
    assert f"{lines['got']}: 0 of 10 points" in capsys.readouterr().out


def with_value(model, value):
    model.fc1.weight.data[0, 0] = value
    return model


def with_values(model, value):
    model.fc1.weight.data.fill_(value)
    return model


def held_by_torch(model):
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    return model


ANSWER = "an answer N x 10 for images N x 1 x 28 x 28"
NETWORK = "a SimpleCNN of any widths, or an nn.Sequential of PyTorch's layers"


@pytest.mark.parametrize(
    ("made", "expected", "got", "likely"),
    [
        (lambda m: None, "a network", "None", "design_network ends without a `return`"),
        (lambda m: m.half(), "float32 tensors", "conv1.weight of torch.float16", "to prune"),
        (lambda m: m.double(), "float32 tensors", "conv1.weight of torch.float64", "to prune"),
        (lambda m: with_value(m, torch.nan), "finite weights", "fc1.weight with NaN", "diverged"),
        (lambda m: with_value(m, torch.inf), "finite weights", "fc1.weight with NaN", "diverged"),
        (lambda m: with_values(m, 3e38), ANSWER, "not finite numbers", ""),
        (lambda m: m[:-1][:5], ANSWER, "outputs of shape (100, 32, 14, 14)", ""),
        (lambda m: m[1:], ANSWER, "expected input", ""),
        (lambda m: nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), ANSWER, "out of bounds", ""),
        (lambda m: nn.Sequential(nn.Flatten()), ANSWER, "no parameters", ""),
        (lambda m: nn.Sequential(nn.MaxPool2d(2, return_indices=True)), ANSWER, "tuple", ""),
        (held_by_torch, NETWORK, "do not fit", 'prune.remove(network.fc1, "weight")'),
        (lambda m: m.state_dict(), NETWORK, "{conv1.weight: float32 tensor", ""),
        (lambda m: UnknownNetwork(), NETWORK, "an object of type UnknownNetwork", ""),
        (lambda m: nn.Sequential(m, UnknownNetwork()), NETWORK, "layers of unknown kinds", ""),
        (lambda m: (m, 0.99), NETWORK, "(SimpleCNN(widths=(16, 32, 64)), 0.99)", ""),
    ],
)  # fmt: skip
def test_what_does_not_count_is_refused(some_digits, model, made, expected, got, likely):
    lines = designed(made(model), some_digits)
    assert lines["title"] == "Exercise 8, design_network: wrong"
    assert lines["expected"] == expected
    assert got in lines["got"]
    assert likely in lines.get("likely", "")


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_network_is_refused(some_digits, kind):
    assert designed(HOSTILE[kind](), some_digits)["title"] == "Exercise 8, design_network: wrong"


def test_design_that_is_not_attempted_or_raises(some_digits):
    def stub(_digits):
        raise NotImplementedError

    for function, outcome in ((stub, "not attempted"), (lambda _digits: 1 / 0, "raised")):
        with pytest.raises(checks.CheckFailed) as caught:
            checks.design_network(function, some_digits)
        assert caught.value.outcome == outcome
        assert told(caught.value)["title"] == f"Exercise 8, design_network: {outcome}"


def test_layers_count_as_they_are_and_not_as_the_class_has_them(some_digits, model):
    model.relu1 = nn.Identity()  # what is measured is the network the student has
    lines = designed(model, some_digits)
    accuracy = lab.evaluate(model, some_digits.validation).accuracy
    assert accuracy < 0.988
    assert f"{accuracy:.2%} of 500 images right" in lines["got"]


def test_batch_norm_is_no_offence(some_digits):
    """It counts its batches in an integer, the one tensor of a network that is not float32."""
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(784, 10))
    lines = designed(network.eval(), some_digits)
    assert lines["expected"] == "at least 98.8% of the validation images right"


SETUP = """\
import labutils as lab
from labutils import checks

digits = lab.load_mnist()
"""
DESIGN = """\
def design_network(digits):
    return lab.prune_magnitude(lab.load_pretrained(0), 0.8)

checks.design_network(design_network, digits)
"""
FAILING = "checks.magnitude_mask(lambda weight, amount: weight > 0)"


def test_notebook_carries_the_network_and_shows_failures_bare(tmp_path, model):
    cells = [nbformat.v4.new_code_cell(source) for source in (SETUP, DESIGN, FAILING)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=120, kernel_name="python3", allow_errors=True).execute()
    nbformat.write(notebook, tmp_path / "handed_in.ipynb")
    notebook = nbformat.read(tmp_path / "handed_in.ipynb", as_version=4)
    nbformat.validate(notebook)

    shown, value = notebook.cells[1].outputs
    assert shown.data["text/plain"].startswith("Exercise 8, design_network: ")
    assert shown.data["text/plain"].endswith(
        f": {value.data['text/plain'].removesuffix('.0')} of 10 points"
    )
    network, expected = unpack(shown.data[MIME]), lab.prune_magnitude(model, 0.8)
    assert type(network) is lab.SimpleCNN
    for name, tensor in expected.state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor), name

    (error,) = notebook.cells[2].outputs
    assert error.traceback == failure(MASK, lambda weight, amount: weight > 0)._render_traceback_()
