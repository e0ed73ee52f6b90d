"""Pruning without training: proved against dense solves in double precision on tiny layers."""

import copy
import itertools
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from chains import chains
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from other_device import PretendedGPU, moved, same_tensors
from torch import nn

import labutils as lab
from labutils.prune.readings import answer, gram_matrix, read
from labutils.prune.repair import solve_rows
from labutils.prune.surgeon import correct_columns, greedy_errors, inverse

TINY = 1e-12  # damping that a proof can neglect


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def split(images, labels=None):
    return lab.Split(images, torch.arange(len(images)) % 3 if labels is None else labels)


def layer(weights):
    """A linear layer alone, without a bias, and images that make its inputs alike."""
    linear = nn.Linear(weights.shape[1], len(weights), bias=False).double()
    linear.weight.data.copy_(weights)
    mixed = drawn(40, weights.shape[1], seed=1) @ drawn(weights.shape[1], weights.shape[1], seed=2)
    return nn.Sequential(nn.Flatten(), linear), split(mixed.view(40, 1, 1, -1))


def inputs_of(images):
    return images.images.flatten(1).mT


def network(padding_mode="zeros"):
    """Padding, stride, dilation, groups, depthwise, BatchNorm, no bias: all that is repaired."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1, padding_mode=padding_mode, bias=False),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, stride=2, groups=6),
        nn.Conv2d(6, 8, 3, padding="same", dilation=2, groups=2),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8 * 2 * 2, 12),
        nn.ReLU(),
        nn.Linear(12, 4),
    ).double()
    net(drawn(50, 2, 9, 9, seed=3))  # statistics of its own
    return net.eval(), split(drawn(50, 2, 9, 9))


def errors(pruned, model, images):
    """The mean squared error of each layer's answers, behind the layers of the pruned network."""
    found = {}
    for name in lab.prunable_layers(model):
        pairs = zip(answer(pruned, name, images), answer(model, name, images), strict=True)
        found[name] = torch.cat([(one - other).square().flatten() for one, other in pairs]).mean()
    return found


@pytest.mark.parametrize("mode", ["zeros", "reflect", "circular"])
def test_what_is_read_times_the_weights_is_what_is_answered(mode):
    net, images = network(mode)
    for name, module in lab.prunable_layers(net).items():
        columns = torch.cat([*read(net, name, images.images)], 2)
        weights = module.weight.flatten(1).unflatten(0, (len(columns), -1))
        bias = 0 if module.bias is None else module.bias[:, None]
        found = (weights @ columns).flatten(0, 1) + bias
        torch.testing.assert_close(found, torch.cat([*answer(net, name, images.images)], 1))


def test_one_weight_removed_gives_the_formula_of_optimal_brain_surgeon():
    # Hassibi and Stork (1993): dw = -w_q / [H^-1]_qq H^-1 e_q, dE = w_q^2 / [H^-1]_qq (no half).
    net, images = layer(drawn(1, 5))
    gram = inputs_of(images) @ inputs_of(images).mT
    inverted = gram.inverse()
    before = net[1].weight.detach()[0]
    for gone in range(5):
        pruned = copy.deepcopy(net)
        pruned[1].weight.data[0, gone] = 0
        after = lab.repair(pruned, net, images, damping=TINY)[1].weight.detach()[0]
        expected = before - before[gone] / inverted[gone, gone] * inverted[:, gone]
        torch.testing.assert_close(after, expected.index_fill(0, torch.tensor(gone), 0))
        error = ((after - before) @ inputs_of(images)).square().sum()
        torch.testing.assert_close(error, before[gone] ** 2 / inverted[gone, gone])
    scores = greedy_errors(before[None], inverted)
    assert scores.min() == pytest.approx((before**2 / inverted.diagonal()).min().item())
    left = lab.prune_obs(net, 0.2, images, damping=TINY)[1].weight[0]
    assert (left == 0).nonzero().item() == int((before**2 / inverted.diagonal()).argmin())


def test_nothing_pruned_leaves_all_as_it_is():
    net, images = network()
    for other in (net, lab.prune_magnitude(net, 0)):
        repaired = lab.repair(other, net, images)
        for one, two in zip(repaired.parameters(), net.parameters(), strict=True):
            torch.testing.assert_close(one, two)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(1, 6), st.floats(1e-3, 10))
def test_rows_are_solved_as_a_dense_solver_would(seed, rows, damping):
    weights, inputs, wanted = drawn(rows, 6, seed=seed), drawn(5, 9, seed=seed + 1), drawn(rows, 9)
    inputs = torch.cat([inputs, torch.ones(1, 9)])
    kept = drawn(rows, 6, seed=seed + 2) > 0
    kept[:, -1], weights = True, weights * kept
    power = (inputs[:-1] ** 2).sum(1).mean()
    found = weights.clone()
    solve_rows(found, kept, inputs @ inputs.mT, wanted @ inputs.mT, power, damping)
    for row, mask, before, target in zip(found, kept, weights, wanted, strict=True):
        # Ridge regression as one least-squares problem: damped rows below those of the inputs.
        pull = (damping * power).sqrt() * torch.eye(6)[:-1, mask].double()
        pull = pull[pull.any(1)]
        system = torch.cat([inputs[mask].mT, pull])
        right = torch.cat([target, pull @ before[mask]])
        expected = torch.linalg.lstsq(system, right[:, None]).solution.flatten()
        torch.testing.assert_close(row[mask], expected)
        assert (row[~mask] == 0).all()


@pytest.mark.parametrize("damping", [TINY, 0.01, 1.0, 1e6])
@pytest.mark.parametrize("amount", [0.3, 0.8, 1.0])
def test_no_layer_answers_worse_than_masked_behind_the_same_layers(amount, damping):
    net, images = network()
    pruned = lab.prune_magnitude(net, amount, "layer")
    repaired = lab.repair(pruned, net, images, damping=max(damping, 1e-9))
    after = errors(repaired, net, images.images)
    for name in lab.prunable_layers(net):
        masked = copy.deepcopy(repaired)  # repaired up to here, and from here on as it was
        masked.get_submodule(name).load_state_dict(pruned.get_submodule(name).state_dict())
        assert after[name] <= errors(masked, net, images.images)[name] * (1 + 1e-9) + 1e-15
    for one, two in zip(pruned.parameters(), repaired.parameters(), strict=True):
        assert one.shape == two.shape
        assert one.dim() == 1 or torch.equal(one == 0, two == 0)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(chains(), st.floats(0, 1), st.floats(0, 0.9))
def test_whatever_was_taken_out_of_a_chain_it_is_repaired(chain, filters, weights):
    assume(chain.ends)
    model = chain.model.double()
    images = split(chain.images(30).double())
    pruned = lab.prune_magnitude(lab.prune_filters(model, filters), weights)
    state = copy.deepcopy(pruned.state_dict())
    repaired = lab.repair(pruned, model, images)
    assert all(torch.equal(state[n], t) for n, t in pruned.state_dict().items())
    assert [p.shape for p in repaired.parameters()] == [p.shape for p in pruned.parameters()]
    first = next(iter(lab.prunable_layers(model)))
    if weights == 0:  # what reads the image alone needs no repair
        same = pruned.get_submodule(first).weight
        torch.testing.assert_close(repaired.get_submodule(first).weight, same)


def test_filters_are_repaired_as_by_least_squares_on_all_that_is_left():
    net, images = network()
    slim = lab.keep_filters(net, {"7": [0, 2, 3, 7, 11]})
    repaired = lab.repair(slim, net, images, damping=TINY)
    reads, wanted = (
        torch.cat([*found], -1)
        for found in (read(slim, "9", images.images), answer(net, "9", images.images))
    )
    columns = F.pad(reads[0], (0, 0, 0, 1), value=1.0)
    expected = torch.linalg.lstsq(columns.mT, wanted.mT).solution
    found = torch.cat([*answer(repaired, "9", images.images)], 1)
    torch.testing.assert_close(found, (columns.mT @ expected).mT, atol=1e-6, rtol=1e-6)


def test_labels_are_never_read_and_inputs_stay_untouched():
    net, images = network()
    pruned = lab.prune_magnitude(net, 0.6).train()
    garbage = split(images.images, torch.randint(0, 10**6, (50,)))
    before = copy.deepcopy((pruned.state_dict(), net.state_dict()))
    ways = [
        lambda seen: lab.repair(pruned, net, seen),
        lambda seen: lab.prune_wanda(net, 0.6, seen),
        lambda seen: lab.prune_obs(net, 0.6, seen, correct=True),
        lambda seen: lab.prune_filters(net, 0.6, "obs", calibration=seen),
    ]
    for way in ways:
        one, other = (way(seen).state_dict() for seen in (images, garbage))
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert pruned.training
    assert not net.training
    for state, module in zip(before, (pruned, net), strict=True):
        assert all(torch.equal(tensor, module.state_dict()[n]) for n, tensor in state.items())


def test_images_one_pixel_never_on_and_none_at_all():
    net, images = network()
    pruned = lab.prune_magnitude(net, 0.5)
    dark = images.images.clone()
    dark[..., :3, :] = 0
    for seen in (dark, dark[:1], torch.zeros_like(dark)):
        repaired = lab.repair(pruned, net, split(seen))
        assert all(p.isfinite().all() for p in repaired.parameters())
        scored = [lab.prune_wanda(net, 0.5, split(seen)), lab.prune_obs(net, 0.5, split(seen))]
        assert all(lab.sparsity(one) == pytest.approx(0.5, abs=1e-2) for one in scored)
    # A linear layer whose inputs are off: the weights stay, there is nothing to learn.
    alone = nn.Sequential(nn.Flatten(), nn.Linear(9, 3).double())
    kept = lab.repair(
        lab.prune_magnitude(alone, 0.5), alone, split(torch.zeros(4, 1, 3, 3).double())
    )
    assert torch.equal(kept[1].weight, lab.prune_magnitude(alone, 0.5)[1].weight)


def test_scores_of_wanda_and_optimal_brain_surgeon_are_their_formulas():
    net, images = layer(drawn(4, 6))
    inputs = inputs_of(images)
    wanda = net[1].weight.detach().abs() * inputs.norm(dim=1)
    left = lab.prune_wanda(net, 0.5, images, "layer")[1].weight != 0
    assert torch.equal(left, lab.magnitude_mask(wanda, 0.5))
    gram = gram_matrix(net, "1", images.images)
    torch.testing.assert_close(gram[0], inputs @ inputs.mT)
    damped = gram[0] + 0.1 * gram[0].diagonal().mean() * torch.eye(6)
    obs = net[1].weight.detach().square() / damped.inverse().diagonal()
    left = lab.prune_obs(net, 0.5, images, "layer", damping=0.1)[1].weight != 0
    assert torch.equal(left, lab.magnitude_mask(obs, 0.5))


def test_lamp_leaves_every_layer_something_whatever_scores_it():
    net, images = network()
    for prune in (lab.prune_wanda, lab.prune_obs):
        left = {n: int(m.weight.count_nonzero()) for n, m in lab.prunable_layers(
            prune(net, 0.9, images)).items()}  # fmt: skip
        assert min(left.values()) >= 1
        dense = prune(net, {"7": 0.5}, images)
        assert torch.equal(dense[9].weight, net[9].weight)


@pytest.mark.parametrize("seed", range(5))
def test_greedy_removal_is_that_of_brute_force(seed):
    """Optimal brain compression, each step tried out: solve for every candidate, take the best."""
    net, images = layer(drawn(3, 6, seed=seed))
    inputs, weights = inputs_of(images), net[1].weight.detach()
    gram = inputs @ inputs.mT
    inverted = inverse(gram[None], TINY)[0]

    def error(rows, kept):
        system = gram[kept][:, kept]
        fitted = torch.linalg.solve(system, gram[kept] @ rows.mT) if kept else 0 * rows.mT[:0]
        return float(((fitted.mT @ inputs[kept]) - rows @ inputs).square().sum())

    def brute(rows, blocks):
        order, added, kept, so_far = [], [], [*range(len(blocks))], 0.0
        while kept:
            after = {
                b: error(rows, [i for other in kept if other != b for i in blocks[other]])
                for b in kept
            }
            best = min(after, key=after.get)
            added.append(after[best] - so_far)
            so_far, order = after[best], [*order, best]
            kept.remove(best)
        return order, list(itertools.accumulate(added, max))

    for size, rows in [(1, weights[:1]), (1, weights[1:2]), (2, weights), (3, weights)]:
        order, added = brute(rows, [range(i, i + size) for i in range(0, 6, size)])
        found = greedy_errors(rows, inverted, size)
        torch.testing.assert_close(found[order], torch.tensor(added).double(), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_columns_are_corrected_as_by_solving_for_those_behind_them(share):
    net, images = layer(drawn(4, 8))
    gram = gram_matrix(net, "1", images.images)
    weights, inverted = net[1].weight.detach(), inverse(gram, 0.01)
    found = correct_columns(weights, inverted[0], share)
    keep = found != 0
    assert (~keep).sum() == round(share * 32)
    # Another order of solving: after each column, the best weights behind it given all before.
    damped = inverted[0].inverse()
    expected = weights.clone()
    for column in range(8):
        lost = torch.where(keep[:, column], 0, expected[:, column])
        expected[:, column] -= lost
        behind = slice(column + 1, 8)
        if column < 7:
            follow = torch.linalg.solve(damped[behind, behind], damped[behind, column])
            expected[:, behind] += lost[:, None] * follow
    torch.testing.assert_close(found, expected)


def test_correcting_columns_is_between_masking_and_solving_at_once():
    net, images = network()
    images_of = images.images
    pruned = lab.prune_obs(net, 0.5, images)
    corrected = lab.prune_obs(net, 0.5, images, correct=True)
    assert lab.sparsity(corrected) == lab.sparsity(pruned)
    solved = lab.repair(corrected, net, images)
    last = [errors(one, net, images_of)["9"] for one in (solved, corrected, pruned)]
    assert last == sorted(last)


def test_filters_go_by_what_cannot_be_made_up_for():
    """Two channels that say the same: one is missed by nobody, however large its weights."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3)).double()
    net[0].weight.data[3], net[0].bias.data[3] = 5 * net[0].weight.data[1], 5 * net[0].bias.data[1]
    images = split(drawn(400, 1, 8, 8))
    scores = lab.filter_scores(net, "obs", calibration=images)["0"]
    assert scores.argmin() in (1, 3)
    slim = lab.repair(lab.prune_filters(net, 0.25, "obs", calibration=images), net, images)
    assert (lab.predict(slim, images) - lab.predict(net, images)).abs().max() < 0.05
    masked = lab.prune_filters(net, 0.25, "obs", calibration=images)
    assert (lab.predict(masked, images) - lab.predict(net, images)).abs().max() > 0.1


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 6), st.integers(1, 6), st.integers(1, 13), st.integers(0, 1000))
def test_at_most_n_of_m_neighbours_stay_and_they_are_the_largest(n, m, inputs, seed):
    assume(n <= m)
    net, _ = layer(drawn(3, inputs, seed=seed))
    pruned = lab.prune_n_of_m(net, n, m)[1].weight
    for row, whole in zip(pruned, net[1].weight, strict=True):
        for start in range(0, inputs, m):
            few, all_of_them = row[start : start + m], whole[start : start + m]
            stay = sorted(all_of_them.abs().tolist(), reverse=True)[:n]
            assert sorted(few[few != 0].abs().tolist(), reverse=True) == stay


def test_in_steps_the_amount_is_reached_and_comparison_takes_it_as_a_method(tmp_path):
    images = drawn(60, 1, 28, 28).float()
    digits = lab.Digits(split(images), split(images), split(images))
    torch.manual_seed(0)
    net = lab.SimpleCNN((2, 3, 8))
    for steps in (1, 3):
        found = lab.prune_and_repair(net, 0.8, digits, steps=steps, images=50)
        assert lab.sparsity(found) == pytest.approx(0.8, abs=1e-3)
    methods = {
        "wanda": partial(lab.prune_wanda, calibration=digits.train),
        "repaired": partial(lab.prune_and_repair, prune=lab.prune_magnitude, images=50),
        "filters": partial(lab.prune_and_repair, prune=lab.prune_filters, images=50),
    }
    table = lab.compare(methods, (0.5,), {0: net}, digits, progress=False)
    assert not table["error"].any()
    assert table.set_index("method")["sparsity"]["wanda"] == pytest.approx(0.5, abs=1e-3)
    assert table.set_index("method")["parameters"]["filters"] < net.fc1.weight.numel()


def test_repair_says_what_it_cannot_repair():
    net, images = network()
    trained = lab.keep_filters(net, {"7": [0, 2]})
    trained[7].weight.data += 0.1
    for pruned, said in [
        (trained, "7 has 2 of 12 filters.*repair before"),
        (lab.SimpleCNN(), "pruned has the layers conv1"),
        (nn.Sequential(*net[:7], nn.Linear(32, 13), nn.ReLU(), nn.Linear(13, 4)), "7 of pruned"),
    ]:
        with pytest.raises(ValueError, match=said):
            lab.repair(pruned, net, images)
    volume = nn.Sequential(nn.Conv3d(1, 2, 1), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="0 is a Conv3d"):
        lab.repair(volume, volume, images)
    with pytest.raises(ValueError, match="calibration does not fit"):
        lab.repair(net, net, split(drawn(4, 3, 9, 9)))
    alike = split(drawn(4, 1, 1, 6)[:, :, :, :1].repeat(1, 1, 1, 6))
    one, _ = layer(drawn(2, 6))
    with pytest.raises(ValueError, match="is too little"):
        lab.repair(one, one, alike, damping=1e-300)


def test_a_network_elsewhere_is_repaired_there():
    torch.manual_seed(0)
    net, images = lab.SimpleCNN((2, 3, 4)), split(drawn(20, 1, 28, 28).float())
    with PretendedGPU():
        there = moved(net)
        repaired = lab.repair(lab.prune_magnitude(there, 0.5), there, images)
        scored = lab.prune_obs(there, 0.5, images, correct=True)
    assert same_tensors(repaired, lab.repair(lab.prune_magnitude(net, 0.5), net, images))
    assert same_tensors(scored, lab.prune_obs(net, 0.5, images, correct=True))
