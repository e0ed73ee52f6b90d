"""How much of a network can go without training? Five seeds for every answer.

    .venv/bin/python benchmarks/repair.py

Writes benchmarks/results/<network>_repair.csv as `recovery.py` writes its tables; half an hour.
Scores, steps, damping and the number of images were chosen on the validation images.
"""

import time
from collections.abc import Callable
from functools import partial

import torch
from recovery import Study, by_taylor, measure, named, to_scalpel, write_readme
from torch import nn

import labutils as lab
from labutils.base.digits import Digits, Split

Rule = Callable[..., nn.Module]
STEPS = 4
FAR = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99)
NEAR = (0.9, 0.95, 0.97)


def at_global_shares(model: nn.Module, amount: float, calibration: Split) -> nn.Module:
    """Prune by the scores of optimal brain surgeon as much of each layer as magnitude would."""
    layers = lab.prunable_layers(lab.prune_magnitude(model, amount)).items()
    shares = {name: float((layer.weight == 0).double().mean()) for name, layer in layers}
    return lab.prune_obs(model, shares, calibration)


def looking(model: nn.Module, amount: float, digits: Digits, *, rule: Rule) -> nn.Module:
    """Prune by a rule that looks at images, and repair nothing."""
    return rule(model, amount, calibration=digits.train[:2_000])


def seeing(model: nn.Module, amount: float, digits: Digits, *, images: str) -> nn.Module:
    """Prune by optimal brain surgeon, and repair, from other images than the usual ones."""
    if images.isdecimal():
        split = digits.train[: int(images)]
    elif images == "ones":
        ones = digits.train.images[digits.train.labels == 1][:2_000]
        split = Split(ones, torch.ones(len(ones), dtype=torch.int64))
    else:
        noise = torch.randn(2_000, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        split = Split(noise, torch.zeros(2_000, dtype=torch.int64))
    return lab.repair(lab.prune_obs(model, amount, split), model, split)


def obs_filters(model: nn.Module, amount: float, calibration: Split) -> nn.Module:
    """Remove the filters that the next layer can best make up for."""
    return lab.prune_filters(model, amount, "obs", calibration=calibration)


def two_of_four(model: nn.Module, _amount: float) -> nn.Module:
    """Leave two of every four neighbours."""
    return lab.prune_n_of_m(model, 2, 4)


magnitude = partial(lab.prune_magnitude, scope="lamp")
mended = lab.prune_and_repair  # by optimal brain surgeon, if not said otherwise
stepwise = partial(mended, steps=STEPS)
tuned = partial(lab.prune_and_tune, learning_rate=5e-3)
gpt = partial(lab.prune_obs, correct=True)
slim = partial(mended, prune=obs_filters)


def studies() -> dict[str, list[Study]]:
    """Return what is measured of each network."""
    sparse = [
        ("magnitude (global)", lab.prune_magnitude, FAR),
        ("magnitude (global), repaired", partial(mended, prune=lab.prune_magnitude), FAR),
        ("magnitude", magnitude, FAR),
        ("magnitude, repaired", partial(mended, prune=magnitude), FAR),
        ("Wanda", partial(looking, rule=lab.prune_wanda), NEAR),
        ("Wanda, repaired", partial(mended, prune=lab.prune_wanda), NEAR),
        ("OBS", partial(looking, rule=lab.prune_obs), NEAR),
        ("OBS, repaired", mended, FAR),
        ("OBS (global), repaired", partial(mended, prune=at_global_shares), NEAR),
        (f"OBS, repaired in {STEPS} steps", stepwise, FAR),
        ("SparseGPT", partial(looking, rule=gpt), NEAR),
        ("SparseGPT, repaired", partial(mended, prune=gpt), NEAR),
        ("2 of 4", two_of_four, (0.5,)),
        ("2 of 4, repaired", partial(mended, prune=two_of_four), (0.5,)),
    ]
    filters = [
        ("filters, L1", lab.prune_filters, (0.3, 0.5, 0.7)),
        ("filters, L1, repaired", partial(mended, prune=lab.prune_filters), (0.3, 0.5, 0.7)),
        ("filters, Taylor", by_taylor, (0.3, 0.5, 0.7)),
        ("filters, Taylor, repaired", partial(mended, prune=by_taylor), (0.3, 0.5, 0.7)),
        ("filters, OBS", partial(looking, rule=obs_filters), (0.3, 0.5, 0.7)),
        ("filters, OBS, repaired", slim, (0.3, 0.5, 0.7)),
    ]
    calibrations = [
        (f"OBS, repaired from {images}", partial(seeing, images=images), (0.95,))
        for images in ("1", "10", "100", "1000", "10000", "noise", "ones")
    ]
    rules = [
        ("magnitude", magnitude, (0.95, 0.98)),
        (f"OBS, repaired in {STEPS} steps", stepwise, (0.95, 0.98)),
        ("filters, Taylor", by_taylor, (0.5, 0.7)),
        ("filters, OBS, repaired", slim, (0.5, 0.7)),
    ]
    training = [
        (f"{name}, {length}", partial(tuned, prune=rule, epochs=epochs), amounts)
        for epochs, length in ((1, "1 epoch"), (3, "3 epochs"))
        for name, rule, amounts in rules
    ]
    others = {"LeNet300": (0.92, 0.95, 0.975, 0.982), "LeNet5": (0.92, 0.984, 0.991)}
    papers = {
        f"{kind}_repair": [
            ("magnitude", magnitude, amounts),
            ("magnitude, repaired", partial(mended, prune=magnitude), amounts),
            (f"OBS, repaired in {STEPS} steps", stepwise, amounts),
        ]
        for kind, amounts in others.items()
    }
    papers["LeNet5_repair"] += [
        ("filters to 9-18-65", to_scalpel, (0.75,)),
        ("filters to 9-18-65, repaired", partial(mended, prune=to_scalpel), (0.75,)),
    ]
    return {"SimpleCNN_repair": [*sparse, *filters, *calibrations, *training], **papers}


def print_seconds() -> None:
    """Print what a repair takes beside three epochs of fine-tuning, each in turn."""
    digits = lab.load_mnist()
    for model in (lab.load_pretrained(), lab.LeNet300(), lab.LeNet5()):
        pruned, taken = magnitude(model, 0.95), {}
        for _ in range(2):  # the first of each warms up
            start = time.perf_counter()
            lab.repair(pruned, model, digits.train[:2_000])
            taken["repair"] = time.perf_counter() - start
            start = time.perf_counter()
            lab.fine_tune(magnitude(model, 0.95), digits, epochs=3, progress=False)
            taken["three epochs"] = time.perf_counter() - start
        print(type(model).__name__, {name: f"{seconds:.1f} s" for name, seconds in taken.items()})


def main() -> None:
    """Measure the networks named, or all; then print seconds."""
    found = studies()
    for kind in named(found, __doc__):
        measure(kind, found[kind])
    write_readme()
    print_seconds()


if __name__ == "__main__":
    main()
