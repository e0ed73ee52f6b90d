"""Whatever a public function is given, it answers correctly or says in one sentence what is wrong.

Every public function is called with good arguments in which one is replaced by a bad one. The
error must be raised by labutils itself (not fall out of PyTorch or pandas), name what was given,
and say what to do; an answer to a bad argument is nonsense and counts as a failure, too.
"""

import math
import traceback
from pathlib import Path

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import labutils as lab

CLEAR = (TypeError, ValueError, FileNotFoundError, IsADirectoryError, NotADirectoryError)
NAN, HUGE = math.nan, 2**70
LAB = Path(lab.__file__).parent


class Bad(str):
    """Stands for something that only a fixture can make: a folder, a path below a file."""


FOLDER, BELOW, MISSING = Bad("folder"), Bad("below"), Bad("missing")
RAW = torch.zeros(4, 1, 28, 28)
SPLIT = lab.Split(torch.randn(8, 1, 28, 28), torch.arange(8))
NO_IMAGES = lab.Split(RAW[:0], torch.arange(0))
NAN_IMAGES = lab.Split(RAW * NAN, torch.arange(4))
BYTES = lab.Split(RAW.byte(), torch.arange(4))
FLAT = lab.Split(RAW[:, 0], torch.arange(4))
COLOURED = lab.Split(RAW.expand(4, 3, 28, 28), torch.arange(4))
ODD_LABELS = lab.Split(RAW, torch.arange(4).float())

# What each kind of argument cannot be.
NETWORKS = (None, "net", 3, lab.SimpleCNN, {}, nn.ReLU())
CHAINS = (*NETWORKS, nn.Sequential(nn.Linear(2, 2)))
SPLITS = (None, "test", RAW, (RAW, RAW), NO_IMAGES, NAN_IMAGES, BYTES, FLAT, COLOURED, ODD_LABELS)
DIGITS = (None, "mnist", SPLIT, RAW, {}, lab.Digits(NO_IMAGES, SPLIT, SPLIT))
AMOUNTS = (None, "half", True, -0.1, 1.5, 90, NAN, math.inf, [0.5], {"nowhere": 0.5})
SEVERAL = (0.5, "0.5", None, (), (0.5, 0.5), (0.5, 2), (NAN,), ("a",))
COUNTS = (None, "3", 1.5, -1, True, NAN)
SEEDS = (None, "a", 1.5, -1, HUGE, NAN, True)
RATES = ("fast", 0, -1, NAN, math.inf, True)
WORDS = ("no such thing", 3, ["global"])
PATHS = (None, 3, "", FOLDER, BELOW, [])
FILES = (*PATHS, MISSING)
TABLES = (None, [], {"method": [1]}, pd.DataFrame(), pd.DataFrame({"other": [1]}))
TENSORS = (None, "x", [1.0, 2.0], torch.empty(0), torch.tensor([NAN, 1.0]))


def table() -> pd.DataFrame:
    """A table as compare makes it, without having measured anything."""
    rows = [(m, a, s) for m in ("unpruned", "magnitude") for a in (0.5,) for s in (0, 1)]
    found = pd.DataFrame(rows, columns=["method", "amount", "seed"])
    numbers = "accuracy low high change sparsity removed parameters nonzero macs nonzero_macs"
    numbers += " bytes_dense bytes_file bytes_compressed latency latency_low latency_high speedup"
    found = found.assign(**dict.fromkeys(numbers.split(), 0.9), network="n", error="", images=10)
    return found.assign(part="test", batch=64, widths="16-32-64")


def scan() -> pd.DataFrame:
    return pd.DataFrame({"layer": ["conv1"] * 2, "amount": [0.1, 0.5], "accuracy": [0.9, 0.8],
                         "low": [0.8, 0.7], "high": [1.0, 0.9]})  # fmt: skip


# From a function to good arguments, and to bad ones for some of them.
def calls() -> dict[str, tuple[dict, dict]]:
    net, few = lab.load_pretrained(), lab.Digits(SPLIT, SPLIT, SPLIT)
    quiet = {"progress": False}
    train = {"epochs": COUNTS, "seed": SEEDS, "learning_rate": RATES, "batch_size": (*COUNTS, 0)}
    device = {"device": ("gpu0", 3.5, "cuda:99")}
    prune = {"model": NETWORKS, "amount": AMOUNTS}
    return {
        "Split": ({"images": RAW, "labels": torch.arange(4)},
                  {"images": (None, "x", RAW[:2]), "labels": (None, [0, 1], torch.arange(3))}),
        "SimpleCNN": ({}, {"widths": (3, None, "abc", (1, 2), (0, 1, 1), (1.5, 2, 3))}),
        "LeNet300": ({}, {"widths": (3, (1, -2), (True, 1))}),
        "LeNet5": ({}, {"widths": (3, (1, 2, "3"))}),
        "ResidualCNN": ({}, {"widths": (3, (1, 2, 3), (1, 2, 3, "4"))}),
        "SeparableCNN": ({}, {"widths": (3, (1, 2, 3), (1, 2, 3, 0))}),
        "accuracy_against": ({"table": table(), "costs": {"macs": "MACs"}},
                             {"table": TABLES, "costs": (None, {}, {"watts": "W"}, "macs"),
                              "dense": ("x", NAN, 99)}),
        "accuracy_bands": ({"table": table(), "dense": 0.9},
                           {"table": TABLES, "dense": ("x", NAN, 99)}),
        "compare": ({"methods": [lab.prune_magnitude], "amounts": (0.5,), "networks": net,
                     "digits": few, **quiet},
                    {"methods": (3, "magnitude", {}, {"a": 3}, {"unpruned": lab.prune_magnitude}),
                     "amounts": SEVERAL, "networks": (3, "net", {}, {0: "net"}),
                     "digits": DIGITS[1:-1], "part": WORDS, "images": ("3", 1.5, -1, True, 0),
                     "batch": (*COUNTS, 0), "executor": ("two", -1, 1.5), "path": PATHS[1:]}),
        "confidence_bars": ({"logits": torch.randn(10)},
                            {"logits": (*TENSORS, torch.randn(2, 10))}),
        "channel_groups": ({"model": net},
                           {"model": CHAINS, "image_shape": (28, (1,), (3, 28, 28))}),
        "count_macs": ({"model": net}, {"model": NETWORKS,
                                        "image_shape": (None, 28, (1,), (3, 28, 28), (1, -2, 3))}),
        "cubic_amount": ({"share": 0.5, "final": 0.9},
                         {"share": (None, "x", NAN), "final": (None, "x", 90, -1, NAN),
                          "initial": ("x", 90, NAN)}),
        "digit_grid": ({"images": RAW}, {"images": (*TENSORS, RAW[0, 0], RAW * NAN),
                                         "columns": (*COUNTS, 0), "titles": (3,)}),
        "lab_home": ({}, {"part": (3, None, "/etc", "../x", "a/../../b", "a\0b")}),
        "evaluate": ({"model": net, "split": SPLIT},
                     {"model": NETWORKS, "split": SPLITS, "batch_size": (*COUNTS, 0)}),
        "filter_responses": ({"weight": torch.randn(2, 1, 3, 3), "image": RAW[0],
                              "responses": torch.randn(2, 28, 28)},
                             {"weight": (*TENSORS, torch.randn(2, 3)), "image": TENSORS,
                              "responses": (*TENSORS, torch.randn(5, 28, 28))}),
        "filter_scores": ({"model": net, "calibration": SPLIT},
                          {"model": CHAINS, "criterion": (*WORDS, lambda name, layer: 3),
                           "image_shape": (28, (3, 28, 28))}),
        "fine_tune": ({"model": lab.SimpleCNN((1, 1, 1)), "digits": few, "epochs": 0, **quiet},
                      {"model": NETWORKS, "digits": DIGITS, **train, "schedule": WORDS,
                       "optimizer": (3, "adam"), "teacher": (3, "net"), **device}),
        "groups_diagram": ({"model": net}, {"model": CHAINS, "image_shape": (28, (3, 28, 28))}),
        "guess": ({"question": "size"},
                  {"question": (None, 3, ["size"], " "), "low": ("x", NAN, 5, True),
                   "answers": (None, 3, [], ["one"], ["one", "one"], [1, 2], torch.eye(2))}),
        "keep_filters": ({"model": net, "kept": {"conv1": [0, 1]}},
                         {"model": CHAINS, "kept": (None, [0, 1], {"nowhere": [0]}, {"conv1": []},
                                                    {"conv1": [99]}, {"conv1": 3}),
                          "image_shape": (28, (3, 28, 28))}),
        "latency": ({"models": {"net": net}, "rounds": 1},
                    {"models": (None, {}, net, [net], {"a": 3}), "batch": (*COUNTS, 0),
                     "threads": ("1", 0, -1, 1.5), "rounds": (*COUNTS, 0),
                     "image_shape": (None, 28, (3, 28, 28))}),
        "layer_latency": ({"models": {"net": net}, "rounds": 1},
                          {"models": (None, {}, net, {"a": 3}), "batch": (*COUNTS, 0),
                           "rounds": (*COUNTS, 0)}),
        "layer_table": ({"model": net}, {"model": NETWORKS, "image_shape": (None, 28, (1, 5))}),
        "learning_curves": ({"history": lab.train(lab.SimpleCNN((1, 1, 1)), few, 1, **quiet)},
                            {"history": (None, 3, [0.1], SPLIT)}),
        "learning_rates": ({"schedule": "cosine", "steps": 4},
                           {"schedule": (*WORDS, None), "steps": COUNTS,
                            "trained_steps": COUNTS[1:]}),
        "load_comparison": ({}, {"path": (*FILES, __file__)}),
        "load_mnist": ({}, {"root": (3, [], BELOW)}),
        "load_fashion_mnist": ({}, {"root": (3, " ", BELOW)}),
        "load_model": ({}, {"path": (*FILES, __file__)}),
        "load_pretrained": ({}, {"seed": (*SEEDS, 99), "network": (None, "net", lab.LeNet5, {})}),
        "magnitude_mask": ({"weight": torch.randn(3), "amount": 0.5},
                           {"weight": (None, "x", torch.tensor([NAN, 1])), "amount": AMOUNTS}),
        "mean_interval": ({"values": [1, 2, 3]},
                          {"values": (None, 3, [], [1], "abc", [1, NAN], [[1, 2]], ["a", "b"])}),
        "measure": ({"model": net, "split": SPLIT},
                    {"model": NETWORKS, "split": SPLITS, "reference": (3, "net"),
                     "batch": (*COUNTS, 0)}),
        "model_bytes": ({"model": net}, {"model": NETWORKS}),
        "network_chooser": ({"table": table()}, {"table": TABLES}),
        "network_diagram": ({"model": net}, {"model": NETWORKS, "image_shape": (28, (3, 28, 28))}),
        "paired_difference": ({"one": net, "other": net, "split": SPLIT},
                              {"one": NETWORKS, "other": NETWORKS, "split": SPLITS}),
        "paired_latency": ({"table": table()}, {"table": TABLES}),
        "pareto_front": ({"table": table(), "cost": "macs"},
                         {"table": TABLES, "cost": (None, "watts", 3), "worth": ("joy", 3)}),
        "predict": ({"model": net, "split": SPLIT},
                    {"model": NETWORKS, "split": SPLITS, "batch_size": (*COUNTS, 0)}),
        "prunable_layers": ({"model": net}, {"model": NETWORKS}),
        "prune_and_tune": ({"model": net, "amount": 0.5, "digits": few, "epochs": 0},
                           {**prune, "digits": DIGITS[1:], "prune": (3, "magnitude")}),
        "prune_filters": ({"model": net, "amount": 0.5},
                          {"model": CHAINS, "amount": AMOUNTS, "criterion": (*WORDS, "taylor"),
                           "scope": WORDS, "seed": SEEDS, "image_shape": (28, (3, 28, 28)),
                           "calibration": (3, RAW, NAN_IMAGES), "budget": (3, {}, {"watts": 1},
                                                               {"macs": -1}, {"macs": 1e6})}),
        "prune_iteratively": ({"model": net, "digits": few, "amounts": (0.5,), "epochs_each": 0},
                              {"model": NETWORKS, "digits": DIGITS, "amounts": (*SEVERAL, (1, 0.5)),
                               "epochs_each": COUNTS, "method": (3, "lottery"), "seed": SEEDS}),
        "prune_n_of_m": ({"model": net}, {"model": NETWORKS, "n": (*COUNTS, 5), "m": (*COUNTS, 0)}),
        "prune_obs": ({"model": net, "amount": 0.5, "calibration": SPLIT},
                      {**prune, "calibration": SPLITS, "scope": WORDS, "damping": (*RATES, None)}),
        "prune_wanda": ({"model": net, "amount": 0.5, "calibration": SPLIT},
                        {**prune, "calibration": SPLITS, "scope": WORDS}),
        "prune_and_repair": ({"model": net, "amount": 0.5, "digits": few},
                             {**prune, "digits": DIGITS[1:], "prune": (3, "magnitude"),
                              "images": (*COUNTS, 0), "steps": (*COUNTS, 0), "damping": RATES}),
        "repair": ({"pruned": net, "model": net, "calibration": SPLIT},
                   {"pruned": (*NETWORKS, lab.LeNet300()), "model": (*NETWORKS, lab.LeNet5()),
                    "calibration": SPLITS, "damping": (*RATES, None)}),
        "prune_magnitude": ({"model": net, "amount": 0.5},
                            {**prune, "scope": (*WORDS, {"nowhere": 0.5}, {"conv1": 90})}),
        "prune_random": ({"model": net, "amount": 0.5}, {**prune, "scope": WORDS, "seed": SEEDS}),
        "pruning_explorer": ({"model": net, "digits": few},
                             {"model": CHAINS, "digits": DIGITS[:-1], "part": WORDS,
                              "remove": WORDS, "goal": (*AMOUNTS[1:-2], True),
                              "beside": (3, {}, {"a": {}}, {"a": {0.5: 90}}, {"a": {NAN: 0.9}})}),
        "recovery_explorer": ({"model": net, "digits": few}, {"model": NETWORKS, "digits": DIGITS}),
        "reinitialised": ({"model": net, "seed": 0}, {"model": NETWORKS, "seed": SEEDS}),
        "report": ({"table": table()}, {"table": TABLES}),
        "rewind": ({"pruned": net, "earlier": net},
                   {"pruned": NETWORKS, "earlier": (*NETWORKS, lab.LeNet300())}),
        "rising_amounts": ({"amount": 0.9, "steps": 2},
                           {"amount": AMOUNTS, "steps": (*COUNTS, 0)}),
        "save_model": ({"model": net, "path": "x.pth"}, {"model": NETWORKS[:-1], "path": PATHS}),
        "score_bars": ({"scores": {"conv1": torch.rand(4)}, "amount": 0.5},
                       {"scores": (None, {}, [1], {"a": 3}, *({"a": t} for t in TENSORS)),
                        "amount": AMOUNTS}),
        "seed_dots": ({"table": table()}, {"table": TABLES, "dense": ("x", NAN, 99)}),
        "sensitivity": ({"model": net, "split": SPLIT, "amounts": (0.5,), **quiet},
                        {"model": NETWORKS, "split": SPLITS, "amounts": SEVERAL,
                         "prune": (3, "magnitude"), "layers": (3, [], ["nowhere"])}),
        "sensitivity_curves": ({"table": scan(), "dense": 0.9},
                               {"table": TABLES, "dense": ("x", NAN)}),
        "show": ({"figure": Figure(), "alt": "A picture."},
                 {"figure": (None, "x", 3), "alt": (None, "", " ", 3)}),
        "sparse_bytes": ({"model": net}, {"model": NETWORKS}),
        "sparsity": ({"model": net}, {"model": NETWORKS}),
        "step_curves": ({"runs": {"a": pd.DataFrame({"step": [1, 2], "loss": [1.0, 0.5]})},
                         "panels": {"loss": "nats"}},
                        {"runs": (None, {}, [1], {"a": 3}, {"a": pd.DataFrame()}),
                         "panels": (None, {}, {"joy": "J"}, "loss")}),
        "tensors_side_by_side": ({"tensors": {"a": torch.eye(2)}},
                                 {"tensors": (None, {}, torch.eye(2), {"a": 3}, {"a": RAW},
                                              *({"a": t} for t in TENSORS))}),
        "train": ({"model": lab.SimpleCNN((1, 1, 1)), "digits": few, "epochs": 0, **quiet},
                  {"model": NETWORKS, "digits": DIGITS, **train, **device,
                   "weight_decay": (-1, NAN, "x")}),
        "train_from_scratch": ({"model": net, "amount": 0.5, "digits": few, "epochs": 0},
                               {"model": CHAINS, "amount": AMOUNTS, "digits": DIGITS[1:],
                                "prune": (3, "filters"), "seed": SEEDS[1:]}),
        "train_sparse": ({"model": lab.SimpleCNN((1, 1, 1)), "digits": few, "final_amount": 0.5,
                          "epochs": 1, **quiet},
                         {"model": NETWORKS, "digits": DIGITS, "final_amount": AMOUNTS,
                          "start": ("x", -1, NAN, 9), "end": ("x", -1, NAN, 9), "scope": WORDS,
                          "schedule": WORDS, **train, **device}),
        "verdict": ({"values": [1, 2, 3], "at_least": 0.5},
                    {"values": (None, 3, [], [1], [1, NAN]), "at_least": (None, "x", NAN)}),
        "weight_histograms": ({"model": net}, {"model": NETWORKS}),
        "wilson_interval": ({"correct": 99, "total": 100},
                            {"correct": (None, "x", 0.99, -1, 101, NAN),
                             "total": (None, "x", 0, -1, 1.5)}),
    }  # fmt: skip


CALLS = calls()
CASES = [
    (name, argument, place)
    for name, (_, bad) in CALLS.items()
    for argument, values in bad.items()
    for place in range(len(values))
]
NO_ARGUMENTS = {"check_installation", "guesses", "Digits"}


def test_every_public_function_is_tried():
    public = {name for name, value in vars(lab).items() if callable(value) and name[0] != "_"}
    assert public - NO_ARGUMENTS == set(CALLS)


@pytest.mark.parametrize(("name", "argument", "place"), CASES)
def test_bad_input_gets_one_clear_sentence(name, argument, place, tmp_path, capsys):
    good, bad = CALLS[name]
    value = bad[argument][place]
    if isinstance(value, Bad):
        (tmp_path / "file").touch()
        value = {FOLDER: tmp_path, BELOW: tmp_path / "file" / "x", MISSING: tmp_path / "none"}[
            value
        ]
    with pytest.raises(CLEAR) as caught:
        getattr(lab, name)(**{**good, argument: value})
    sentence = str(caught.value)
    innermost = Path(traceback.extract_tb(caught.value.__traceback__)[-1].filename)
    assert innermost.is_relative_to(LAB), f"an error of others: {sentence}"
    assert len(sentence) > 20, sentence
    assert "\n" not in sentence, sentence
