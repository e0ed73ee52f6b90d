"""Keep a network in a file: written whole or not at all, read without running code in it."""

import io
import os
import pickle
import zipfile
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from labutils.base import given
from labutils.base.history import History
from labutils.base.home import lab_home
from labutils.base.networks import ResidualCNN, SeparableCNN, SimpleCNN
from labutils.base.structure import build, describe, describe_own
from labutils.base.writing import write_whole

FORMAT, VERSION = "eai-pruning-lab network", 1
PRETRAINED = {
    SimpleCNN: "simple_cnn",
    ResidualCNN: "residual_cnn",
    SeparableCNN: "separable_cnn",
}
# What Python and PyTorch raise for structures and layers that make no sense.
IMPOSSIBLE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)


def save_model(model: nn.Module, path: str | os.PathLike) -> Path:
    """Write a network to a file: its architecture, its weights, and how it was trained.

    It may be one of this package's networks, of any widths, or an nn.Sequential of PyTorch's
    own layers. A network of another class comes back where its class is at hand, see
    `load_model`. Layers and weights that it shares, and weights that are not to be trained, come
    back as such.

    The file appears under its name only once it is complete; whatever interrupts the
    writing, a file that was there before stays whole.

    Raises
    ------
    TypeError
        It is no network.
    ValueError
        Its layers are not what its widths say, as while torch.nn.utils.prune holds them.
    OSError
        The folder is not there, or cannot be written; a device or a pipe is in the way.
    """
    path = given.path(path)
    try:
        structure = describe(given.module(model))
    except TypeError:
        structure = describe_own(model)
    history = getattr(model, "history", None)
    copies: dict[int, Tensor] = {}  # of what is shared one, and none of the memory around a view
    try:
        tensors = model.state_dict(keep_vars=True).items()
        content = {
            "format": FORMAT,
            "version": VERSION,
            **structure,
            "state": {n: copies.setdefault(id(t), t.detach().cpu().clone()) for n, t in tensors},
            "frozen": [n for n, t in tensors if not t.requires_grad],
            "history": asdict(history) if isinstance(history, History) else None,
        }
        _build(content, model)
    except IMPOSSIBLE as error:
        raise ValueError(
            f"The network cannot be saved: {error} (If torch.nn.utils.prune holds a layer, "
            'prune.remove(layer, "weight") makes the pruning permanent first.)'
        ) from None
    written = io.BytesIO()  # PyTorch would hide what is wrong with a disk
    torch.save(content, written)
    write_whole(path, lambda file: file.write(written.getbuffer()))
    return path


def load_model(path: str | os.PathLike, into: nn.Module | None = None) -> nn.Module:
    """Read a network that `save_model` wrote, on the CPU and in evaluation mode.

    Parameters
    ----------
    into : for a network of a class of the reader's, one of that class, at full size, as
        ``load_model(path, into=MyNet())``; left as it was. Fewer channels are taken from the file.

    Only tensors and plain values are read (``weights_only=True``): a file with a program
    inside is refused, not run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        The file is truncated, damaged, or not one of `save_model`.
    """
    path = given.path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path.absolute()}: lesson 01 writes models/mnist_cnn.pth, and "
            "load_pretrained() needs no file of yours."
        )
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load itself checks no sums
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"the sum of {damaged} is wrong")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, RuntimeError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} could not be read as a network ({path.stat().st_size:,} bytes): it is "
            "damaged, cut short, or holds more than tensors and plain values. Nothing in it "
            "was run. Write it again with save_model."
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(
            f"{path} is a PyTorch file, but not one of save_model: for a bare state_dict, "
            "build the network and call its load_state_dict."
        )
    if content.get("version") != VERSION:
        raise ValueError(
            f"{path} has format version {content.get('version')!r}; this labutils reads "
            f"version {VERSION}: update the project, or write the file again."
        )
    try:
        model = _build(content, into)
        history = content.get("history")
        model.history = History(**history) if history is not None else None
    except IMPOSSIBLE as error:
        raise ValueError(f"{path} contradicts itself: {error}") from error
    return model.eval()


def load_pretrained(seed: int = 0, network: type[nn.Module] = SimpleCNN) -> nn.Module:
    """Load one of the networks that ship in ``models/pretrained``, one for each seed.

    Parameters
    ----------
    network : its class: SimpleCNN, ResidualCNN or SeparableCNN

    Raises
    ------
    ValueError
        There is no network of that seed; the message lists those there are.
    FileNotFoundError
        The folder is missing, as when files of the project or the installation were lost.
    """
    seed, folder = given.whole(seed, "seed", 0), lab_home("models/pretrained")
    if not isinstance(network, type) or network not in PRETRAINED:
        classes = ", ".join(known.__name__ for known in PRETRAINED)
        raise ValueError(f"network={network!r:.60}: there are pretrained networks of {classes}.")
    path = folder / f"{PRETRAINED[network]}_seed{seed}.pth"
    if not path.is_file():
        names = sorted(file.stem for file in folder.glob(f"{PRETRAINED[network]}_seed*.pth"))
        if not names:
            raise FileNotFoundError(
                f"There are no pretrained networks in {folder}: they come with the lab; "
                "install it again, or bring them back with `git checkout models`."
            )
        seeds = ", ".join(name.rpartition("seed")[2] for name in names)
        raise ValueError(f"There is no pretrained network of seed {seed!r}: choose {seeds}.")
    return load_model(path)


def _build(content: dict, into: nn.Module | None = None) -> nn.Module:
    """Build the network a file describes, its weights being the file's own tensors."""
    model, state = build(content, into), content["state"]
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    wrong = [
        f"{name} should be {expected.get(name, 'absent')}, is {found.get(name, 'absent')}"
        for name in sorted(expected | found)
        if expected.get(name) != found.get(name)
    ]
    if wrong:
        raise ValueError(
            f"{content['architecture']} has other tensors than these: {'; '.join(wrong)}."
        )
    model.load_state_dict(state, assign=True)
    first: dict[int, nn.Parameter] = {}  # of those that are one in the file
    for name, weight in list(model.named_parameters(remove_duplicate=False)):
        layer, _, own = name.rpartition(".")
        setattr(model.get_submodule(layer), own, first.setdefault(id(state[name]), weight))
        weight.requires_grad_(name not in content.get("frozen", ()))
    return model
