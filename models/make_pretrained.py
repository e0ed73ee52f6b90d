"""Train the networks in models/pretrained: three classes, seeds 0 to 4.

    make pretrained

A network whose weights come out as they were is left untouched. The README beside the
networks is written from what was measured; the test set is read once, for that table.
"""

import argparse
import platform
from pathlib import Path

import torch

import labutils as lab
from labutils.base.files import PRETRAINED

FOLDER = Path(__file__).parent / "pretrained"

EPOCHS = {lab.SimpleCNN: 5, lab.ResidualCNN: 8, lab.SeparableCNN: 8}

README = """# Pretrained networks

One network for each class and seed, trained on the 55,000 training images at full width:
`torch.manual_seed(seed)`, `SimpleCNN()`, `train(model, digits, epochs, seed=seed)`. Load one with
`labutils.load_pretrained(seed)` or `labutils.load_pretrained(seed, labutils.ResidualCNN)`.
Choices were made on the validation images; the test images were read once, for these tables
(accuracy with its 95 % interval).
{tables}
Made by `make pretrained` with PyTorch {torch}, {threads} threads, {machine}. Another
machine or PyTorch gives other weights of about the same accuracy.
"""

TABLE = """
## {network}

{parameters:,} parameters, {epochs} epochs.

| seed | validation (5,000 images) | test (10,000 images) | file |
|---|---|---|---|
{rows}
| mean | {validation:.2%} | {test:.2%} | |
"""


def weights_equal(model: torch.nn.Module, path: Path) -> bool:
    """Whether the file holds this network's weights already."""
    if not path.is_file():
        return False
    stored, fresh = lab.load_model(path).state_dict(), model.state_dict()
    return all(torch.equal(stored[name], fresh[name]) for name in fresh)


def table(network: type, epochs: int, seeds: list[int], digits: lab.Digits, folder: Path) -> str:
    """Train and save the networks of a class; return the table of what was measured."""
    rows, validations, tests = [], [], []
    for seed in seeds:
        torch.manual_seed(seed)
        model = network()
        lab.train(model, digits, epochs=epochs, seed=seed)
        path = folder / f"{PRETRAINED[network]}_seed{seed}.pth"
        if not weights_equal(model, path):
            lab.save_model(model, path)
        validation, test = (lab.evaluate(model, s) for s in (digits.validation, digits.test))
        (low, high), size = test.interval, path.stat().st_size
        rows.append(
            f"| {seed} | {validation.accuracy:.2%} | {test.accuracy:.2%} "
            f"({low:.2%} to {high:.2%}) | `{path.name}`, {size / 1e3:,.0f} kB |"
        )
        validations.append(validation.accuracy)
        tests.append(test.accuracy)
        print(rows[-1])
    return TABLE.format(
        network=network.__name__,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        epochs=epochs,
        rows="\n".join(rows),
        validation=sum(validations) / len(validations),
        test=sum(tests) / len(tests),
    )


def main() -> None:
    """Train, save and evaluate the networks, then write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="of all, instead of those they ship with")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()

    digits = lab.load_mnist()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    tables = [
        table(
            network,
            epochs if arguments.epochs is None else arguments.epochs,
            arguments.seeds,
            digits,
            arguments.folder,
        )
        for network, epochs in EPOCHS.items()
    ]
    text = README.format(
        tables="".join(tables),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
        machine=f"{platform.system()} {platform.machine()}",
    )
    (arguments.folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
