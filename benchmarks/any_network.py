"""Which of torchvision's networks can lose filters, and is what is left right? And Torch-Pruning?

    python benchmarks/any_network.py [network ...]

One network of each family, random weights and statistics, double precision. Right is: after a third
of the units of every group went, the answer is that of the whole network in which nobody reads
them, to 1e-9. Torch-Pruning takes a third of the channels by magnitude and is compared in the same
way. Each attempt is a process of its own with a time limit. The table is written to
benchmarks/results/any_network.csv.
"""

import copy
import json
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pandas as pd
import torch
import torchvision
from torch import nn

CONVOLUTIONAL = (
    *("alexnet", "vgg11_bn", "resnet18", "resnet50", "resnext50_32x4d"),
    *("wide_resnet50_2", "densenet121", "squeezenet1_1", "googlenet", "inception_v3"),
    *("mobilenet_v2", "mobilenet_v3_small", "mnasnet0_5", "shufflenet_v2_x0_5"),
    *("efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf", "convnext_tiny"),
)
ATTENTION = ("vit_b_16", "swin_t", "swin_v2_t", "maxvit_t")
LIMIT = 100  # seconds for an attempt
RESULTS = Path(__file__).parent / "results" / "any_network.csv"


def make(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Return a network with random weights and statistics, and two images for it."""
    torch.manual_seed(0)
    quick = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    model = torchvision.models.get_model(name, **quick).double().eval()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, 0, 0.1)
            nn.init.uniform_(layer.running_var, 0.8, 1.2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
        elif isinstance(layer, nn.Linear) and not layer.weight.any():  # or all answers are 0
            nn.init.normal_(layer.weight, 0, 0.02)
    for parameter_name, parameter in model.named_parameters():
        if parameter_name.endswith("layer_scale"):  # 1e-6 at first: its branches would not matter
            nn.init.ones_(parameter)
    side = {"inception_v3": 128, "swin_v2_t": 256}.get(name, 224 if name in ATTENTION else 96)
    return model, torch.randn(2, 3, side, side, dtype=torch.float64)


def apart(one: nn.Module, other: nn.Module, images: torch.Tensor) -> float:
    """Return how far two networks' answers are apart, in largest answers."""
    with torch.no_grad():
        first, second = one(images), other(images)
    return float((first - second).abs().max() / second.abs().max())


def ours(name: str) -> dict:
    """Prune a network with labutils."""
    from labutils.prune.dependencies import read_dependencies, remove_units

    model, images = make(name)
    started = time.perf_counter()
    found = read_dependencies(model, images.shape[1:])
    gone = [unit for group in found.groups.values() for unit in group.units[1::3]]
    slim = remove_units(model, found, gone)
    seconds, whole = time.perf_counter() - started, copy.deepcopy(model)
    for weight, (reads, _) in found.sides.items():
        lost = torch.isin(found.units[weight][reads], torch.tensor(gone)).nonzero().flatten()
        whole.get_parameter(weight).data.index_fill_(reads, lost, 0)
    count = [sum(p.numel() for p in net.parameters()) for net in (slim, model)]
    return {
        "groups": len(found.groups),
        "parameters left": round(count[0] / count[1], 3),
        "seconds": round(seconds, 2),
        "apart": apart(slim, whole, images),
        "moved": apart(whole, model, images),
    }


def theirs(name: str) -> dict:
    """Prune a network with Torch-Pruning."""
    import torch_pruning

    readers = (torch_pruning.prune_conv_in_channels, torch_pruning.prune_linear_in_channels)
    model, images = make(name)
    slim, whole = copy.deepcopy(model), copy.deepcopy(model)
    names = {layer: path for path, layer in slim.named_modules()}
    last = [layer for layer in names if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    pruner = torch_pruning.pruner.MagnitudePruner(
        slim,
        images[:1],
        importance=torch_pruning.importance.MagnitudeImportance(p=1),
        pruning_ratio=1 / 3,
        ignored_layers=[last],
    )
    left: dict[str, list[int]] = {}  # of each layer's inputs, by the numbers they had
    for group in pruner.step(interactive=True):
        for dep, channels in group:
            if dep.handler in readers:
                silence(
                    whole.get_submodule(names[dep.target.module]),
                    channels,
                    left,
                    names[dep.target.module],
                )
        group.prune()
    count = [sum(p.numel() for p in net.parameters()) for net in (slim, model)]
    return {"parameters left": count[0] / count[1], "apart": apart(slim, whole, images)}


def silence(layer: nn.Module, channels: list[int], left: dict[str, list[int]], name: str) -> None:
    """Let a layer not read some of the inputs that it has left."""
    groups = getattr(layer, "groups", 1)
    width, rows = layer.weight.shape[1], layer.weight.shape[0] // groups
    now = left.setdefault(name, [*range(width * groups)])
    for channel in {now[channel] for channel in channels}:
        group = channel // width
        layer.weight.data[group * rows : (group + 1) * rows, channel % width] = 0
        now.remove(channel)


def attempt(tool: str, name: str) -> dict:
    """Try one network in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, "--try", tool, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return {"verdict": f"no answer in {LIMIT} s"}
    if done.returncode:
        return {"verdict": done.stderr.strip().splitlines()[-1][:200]}
    found = json.loads(done.stdout.splitlines()[-1])
    right = found["apart"] < 1e-9
    return {**found, "verdict": "right" if right else f"answers differ by {found['apart']:.1g}"}


def main() -> None:
    """Try all networks with both tools, print and write the table."""
    if sys.argv[1:2] == ["--try"]:
        warnings.simplefilter("ignore")
        print(json.dumps({"labutils": ours, "Torch-Pruning": theirs}[sys.argv[2]](sys.argv[3])))
        return
    rows = []
    for name in sys.argv[1:] or (*CONVOLUTIONAL, *ATTENTION):
        one, other = attempt("labutils", name), attempt("Torch-Pruning", name)
        kind = "attention" if name in ATTENTION else "convolutional"
        rows.append({"network": name, "kind": kind, **one, "Torch-Pruning": other["verdict"]})
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    for kind, some in table.groupby("kind"):
        right = [(some[column] == "right").sum() for column in ("verdict", "Torch-Pruning")]
        print(f"{kind}: {right[0]} of {len(some)} right, Torch-Pruning {right[1]}")
    if not sys.argv[1:]:
        table.to_csv(RESULTS, index=False)


if __name__ == "__main__":
    main()
