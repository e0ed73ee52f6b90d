"""The digits: MNIST, verified, split once and for all, held in memory; Fashion-MNIST likewise."""

import hashlib
import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from labutils.base.home import lab_home

# Mean and standard deviation of the 60,000 training images, pixels in [0, 1].
PIXEL_MEAN, PIXEL_STD = 0.1307, 0.3081
FASHION_MEAN, FASHION_STD = 0.2860, 0.3530

# MD5 of the four files once unpacked. torchvision verifies the published .gz files,
# but reads the unpacked ones unseen: a copy cut short by a full disk would pass. Of Fashion-MNIST,
# which has files of the same names and sizes, the sizes are compared.
UNPACKED_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes
    ----------
    images : float32 tensor N x 1 x 28 x 28 (or another shape of your own), normalised to mean 0
        and deviation 1
    labels : int64 tensor N, the digit on each image, or another class from 0

    A slice or a tensor of indices gives a smaller split: ``split[:100]``.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not isinstance(value, Tensor) or value.dim() == 0:
                raise TypeError(f"{name} is a {type(value).__name__}: a split needs two tensors.")
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"{len(self.images)} images but {len(self.labels)} labels: a split needs "
                "one label for each image."
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: slice | range | list | np.ndarray | Tensor) -> "Split":
        if not isinstance(chosen, (slice, range, list, np.ndarray, Tensor)):
            raise TypeError(
                f"split[{chosen!r}] is no split: for some images write split[:100], for one "
                f"write split.images[{chosen!r}]."
            )
        return Split(self.images[chosen], self.labels[chosen])

    __iter__ = None  # `for x in split` would be ambiguous: images, labels or pairs?


@dataclass(frozen=True)
class Digits:
    """A data set in three parts that share no image: MNIST, or one of your own.

    Attributes
    ----------
    train : images to fit weights on, 55,000 of MNIST
    validation : images to make choices on, 5,000 of MNIST
    test : images that are read once, at the end, 10,000 of MNIST
    """

    train: Split
    validation: Split
    test: Split | None  # for who trains and chooses only


def load_mnist(root: str | os.PathLike | None = None) -> Digits:
    """Load MNIST (LeCun, Cortes and Burges) as tensors in memory, about 220 MB.

    Parameters
    ----------
    root
        Folder that holds (or is to hold) ``MNIST/raw``; by default ``data/`` of the
        project. The published files there are verified and unpacked at first use; where
        they are missing, torchvision downloads them.

    Raises
    ------
    FileNotFoundError
        Files are missing and cannot be downloaded.
    ValueError
        Files are damaged and cannot be replaced.
    PermissionError
        They need unpacking, and the folder cannot be written.
    TypeError, NotADirectoryError
        `root` is no path of a folder.
    """
    return _load("MNIST", root, PIXEL_MEAN, PIXEL_STD)


def load_fashion_mnist(root: str | os.PathLike | None = None) -> Digits:
    """Load Fashion-MNIST (Xiao et al. 2017): ten kinds of clothes, shaped and split like MNIST.

    It is not part of the project: torchvision downloads 31 MB at first use, and verifies them.

    Parameters
    ----------
    root : folder that holds (or is to hold) ``FashionMNIST/raw``; by default ``data/``

    Raises
    ------
    FileNotFoundError, ValueError, PermissionError, TypeError, NotADirectoryError
        As for `load_mnist`.
    """
    return _load("FashionMNIST", root, FASHION_MEAN, FASHION_STD)


def _load(name: str, root: str | os.PathLike | None, mean: float, deviation: float) -> Digits:
    """Load one of torchvision's data sets that have MNIST's files."""
    if root is not None and not (isinstance(root, (str, os.PathLike)) and str(root).strip()):
        raise TypeError(f"root={root!r}: give the path of the folder that holds {name}/.")
    root = Path(root) if root is not None else lab_home() / "data"
    if not next(place for place in (root, *root.absolute().parents) if place.exists()).is_dir():
        raise NotADirectoryError(f"{root} is no folder: give the one that holds {name}/.")
    _unpack(root, name)
    images, labels, *test = (_read(root / name / "raw" / file) for file in UNPACKED_MD5)
    everything = Split(_normalise(images, mean, deviation), labels.long())
    validation = validation_indices(everything.labels)
    kept = torch.ones(len(labels), dtype=torch.bool)
    kept[validation] = False
    return Digits(
        train=everything[kept],
        validation=everything[validation],
        test=Split(_normalise(test[0], mean, deviation), test[1].long()),
    )


def validation_indices(labels: Tensor, every: int = 12) -> Tensor:
    """Pick every twelfth image of each digit, so that the shares of the digits stay.

    The choice depends on nothing but the labels: the same on every machine, for ever. The
    images stay in their published order, so that the first hundred hold all digits.

    >>> validation_indices(torch.tensor([1, 0, 1, 0, 1, 0]), every=3)
    tensor([2, 3])
    """
    return labels.argsort(stable=True)[every // 2 :: every].sort().values


def _read(file: Path) -> Tensor:
    """Read unpacked bytes behind a head that says their shape (LeCun's IDX format)."""
    content = bytearray(file.read_bytes())
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    return torch.frombuffer(content, dtype=torch.uint8, offset=4 + 4 * len(shape)).view(shape)


def _normalise(pixels: Tensor, mean: float, deviation: float) -> Tensor:
    """Turn N x 28 x 28 bytes into N x 1 x 28 x 28 floats of mean 0 and deviation 1."""
    images = pixels.unsqueeze(1).to(torch.float32)
    return images.div_(255).sub_(mean).div_(deviation)


def _unpack(root: Path, name: str) -> None:
    """Have torchvision verify and unpack (or download) the files, one kernel at a time."""
    raw = root / name / "raw"
    whole = _is_whole if name == "MNIST" else _is_as_large
    if all(whole(raw / file, md5) for file, md5 in UNPACKED_MD5.items()):
        return
    from torchvision import datasets  # takes a second to import, and is needed once

    before = socket.getdefaulttimeout()
    try:
        raw.mkdir(parents=True, exist_ok=True)
        with FileLock(root / name / "unpacking.lock", timeout=600):  # seconds
            for file, md5 in UNPACKED_MD5.items():
                if not whole(raw / file, md5):
                    (raw / file).unlink(missing_ok=True)  # torchvision makes it anew
            socket.setdefaulttimeout(30)  # torchvision would wait for a silent server for ever
            getattr(datasets, name)(root, download=True)
    except PermissionError as error:
        raise PermissionError(
            f"{name} must be unpacked in {raw}, which cannot be written: make the folder "
            f"writable, or copy it and pass root=<the folder that holds {name}/>."
        ) from error
    except (RuntimeError, OSError) as error:
        raise _explain(raw, getattr(datasets, name).resources, error) from error
    finally:
        socket.setdefaulttimeout(before)


def _is_whole(path: Path, md5: str) -> bool:
    """Whether the file is there and has the expected content."""
    content = path.read_bytes() if path.is_file() else b""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == md5


def _is_as_large(path: Path, _md5: str) -> bool:
    """Whether the file is there and as large as MNIST's of that name."""
    count = 60_000 if path.name.startswith("train") else 10_000
    size = 16 + count * 28 * 28 if "images" in path.name else 8 + count
    return path.is_file() and path.stat().st_size == size


def _explain(raw: Path, resources: list[tuple[str, str]], error: Exception) -> Exception:
    """Say in one sentence which file is wrong and what to do."""
    name = raw.parent.name
    remedy = "restore it with `git checkout data` in the project, or connect to the network."
    if name != "MNIST":
        remedy = f"connect to the network, or pass root=<the folder that holds {name}/>."
    for file, md5 in ((raw / file, md5) for file, md5 in resources):
        if not file.exists():
            return FileNotFoundError(f"{file} is missing and could not be downloaded: {remedy}")
        if not _is_whole(file, md5):
            return ValueError(
                f"{file} is damaged ({file.stat().st_size:,} bytes, MD5 is not the published "
                f"{md5}) and could not be downloaded again: {remedy}"
            )
    return OSError(f"{name} could not be unpacked in {raw}: {error}")
