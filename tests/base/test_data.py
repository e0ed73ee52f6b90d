import os
import shutil
import tempfile
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError

import numpy as np
import pytest
import torch
from conftest import PROJECT
from torchvision.datasets import MNIST

import labutils as lab
from labutils.base.digits import UNPACKED_MD5, validation_indices

RAW = PROJECT / "data" / "MNIST" / "raw"
FILES = sorted(path.name for path in RAW.glob("*.gz"))


@pytest.fixture
def copy(tmp_path) -> Path:
    """A data folder as in a fresh clone: the four published files, nothing unpacked."""
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in FILES:
        shutil.copy(RAW / name, raw)
    return tmp_path / "data"


@pytest.fixture
def no_network(monkeypatch):
    """Every attempt to open an address is refused, as without a network."""
    opened = []

    def refuse(request, *args, **kwargs):
        opened.append(request.full_url)
        raise URLError(ConnectionRefusedError(111, "Connection refused"))

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return opened


def test_sizes_types_and_shares(digits):
    splits = (digits.train, digits.validation, digits.test)
    assert [len(split) for split in splits] == [55_000, 5_000, 10_000]
    for split in splits:
        assert split.images.shape == (len(split), 1, 28, 28)
        assert (split.images.dtype, split.labels.dtype) == (torch.float32, torch.int64)
    everything = torch.cat([digits.train.images, digits.validation.images])
    assert abs(everything.mean()) < 1e-3
    assert abs(everything.std() - 1) < 1e-3
    train, validation = digits.train.labels.bincount(), digits.validation.labels.bincount()
    assert (validation - (train + validation) / 12).abs().max() <= 1
    published = validation_indices(torch.cat([digits.train.labels, digits.validation.labels]))
    assert len(published.unique()) == 5_000


def test_split_is_the_same_for_ever(digits):
    # Networks and figures of other machines were made with this choice of images.
    assert digits.validation.labels.sum() == 22_269
    first = digits.validation.images[[0, 2500, 4999]]
    sums = ((first * 0.3081 + 0.1307) * 255).round().sum(dim=(1, 2, 3))
    assert sums.tolist() == [24635, 18417, 20428]
    assert len(digits.validation.labels[:100].unique()) == 10


@pytest.mark.parametrize("chosen", [[3, 1], torch.tensor([3, 1]), np.array([3, 1]), slice(3, 0, 1)])
def test_split_of_a_split(digits, chosen):
    few = digits.test[chosen]
    assert torch.equal(few.images, digits.test.images[chosen])
    assert torch.equal(few.labels, digits.test.labels[chosen])


def test_splits_that_cannot_be(digits):
    for chosen in (3, np.int64(3), "test", None, 1.5):
        with pytest.raises(TypeError, match=r"for some images write split\[:100\]"):
            digits.test[chosen]
    with pytest.raises(TypeError, match="not iterable"):
        iter(digits.test)
    with pytest.raises(ValueError, match="2 images but 3 labels"):
        lab.Split(digits.test.images[:2], digits.test.labels[:3])
    with pytest.raises(TypeError, match="labels is a Tensor: a split needs two tensors"):
        lab.Split(digits.test.images, torch.tensor(1))


@pytest.mark.slow
def test_fresh_clone_unpacks_once_without_network(copy, no_network):
    """Three kernels at once; later, a file that a full disk cut short is made anew."""
    with ThreadPoolExecutor(3) as kernels:
        assert [len(d.train) for d in kernels.map(lab.load_mnist, [copy] * 3)] == [55_000] * 3
    for damaged in ([next(iter(UNPACKED_MD5))], UNPACKED_MD5):
        files = [copy / "MNIST" / "raw" / name for name in damaged]
        contents = [file.read_bytes() for file in files]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content[: len(content) // 2])
        assert len(lab.load_mnist(str(copy)).test) == 10_000
        assert [file.read_bytes() for file in files] == contents
    assert no_network == []


@pytest.mark.parametrize(
    ("name", "damage"),
    list(zip(FILES, ("truncated", "flipped", "empty", "absent"), strict=True)),
)
def test_damaged_published_file_offline(copy, no_network, name, damage):
    file = copy / "MNIST" / "raw" / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    length = {"truncated": len(content) // 2, "flipped": len(content)}.get(damage, 0)
    file.write_bytes(content[:length])
    if damage == "absent":
        file.unlink()
    expected, size = (ValueError, rf".*{length:,} bytes")
    if damage == "absent":
        expected, size = (FileNotFoundError, "")
    with pytest.raises(expected, match=rf"{name}{size}.*git checkout data.*network\.$"):
        lab.load_mnist(copy)
    assert damage == "absent" or file.read_bytes() == content[:length]  # one may want to look
    assert no_network, "the real download was not even tried"


@pytest.mark.parametrize("code", [403, 503])
def test_server_that_refuses(tmp_path, monkeypatch, code):
    def answer(request, *args, **kwargs):
        raise HTTPError(request.full_url, code, "no", {}, None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    with pytest.raises(FileNotFoundError, match=r"missing and could not be downloaded"):
        lab.load_mnist(tmp_path)


def test_empty_folder_fills_itself_from_a_server(tmp_path, monkeypatch, capfd):
    handler = partial(SimpleHTTPRequestHandler, directory=RAW)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        assert len(lab.load_mnist(tmp_path / "empty").test) == 10_000
        server.shutdown()
    assert "100%" in capfd.readouterr().err  # the progress bar


@contextmanager
def as_nobody():
    """Root may write anywhere, so a test of permissions runs as nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_that_cannot_be_written(copy):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        data = Path(folder) / "data"
        Path(folder).chmod(0o755)
        shutil.copytree(copy, data)
        places = (data / "MNIST", data / "MNIST" / "raw")

        def allow(mode):
            for place in places if mode & 0o200 else places[::-1]:
                place.chmod(mode)

        try:
            allow(0o555)
            told = rf"{places[1]}, which cannot be written.*root="
            with as_nobody(), pytest.raises(PermissionError, match=told):
                lab.load_mnist(data)
            allow(0o755)
            lab.load_mnist(data)
            allow(0o555)
            with as_nobody():  # unpacked once, it can be read by everybody
                assert len(lab.load_mnist(data).test) == 10_000
        finally:
            allow(0o755)


def test_fashion_is_read_like_the_digits_and_offline_it_says_so(copy, no_network, digits):
    """Its files have the names and sizes of MNIST's, which stand in for them here."""
    lab.load_mnist(copy)
    shutil.copytree(copy / "MNIST" / "raw", copy / "FashionMNIST" / "raw")
    for file in (copy / "FashionMNIST" / "raw").glob("*.gz"):
        file.unlink()
    fashion = lab.load_fashion_mnist(copy)
    assert torch.equal(fashion.test.labels, digits.test.labels)
    bytes_ = [digits.test.images * 0.3081 + 0.1307, fashion.test.images * 0.3530 + 0.2860]
    assert torch.allclose(*bytes_, atol=1e-5)
    assert no_network == []
    cut = copy / "FashionMNIST" / "raw" / "t10k-labels-idx1-ubyte"
    cut.write_bytes(cut.read_bytes()[:-1])
    with pytest.raises(FileNotFoundError, match=r"could not be downloaded: .*pass root=.*Fashion"):
        lab.load_fashion_mnist(copy)
    assert no_network, "the real download was not even tried"
