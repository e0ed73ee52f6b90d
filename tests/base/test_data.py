import os
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError

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


def test_parts_and_types(digits):
    assert [len(part) for part in (digits.train, digits.validation, digits.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    for part in (digits.train, digits.validation, digits.test):
        assert part.images.shape == (len(part), 1, 28, 28)
        assert part.images.dtype == torch.float32
        assert part.labels.dtype == torch.int64
    everything = torch.cat([digits.train.images, digits.validation.images])
    assert abs(everything.mean()) < 1e-3
    assert abs(everything.std() - 1) < 1e-3


def test_split_is_stratified_and_complete(digits):
    train, validation = digits.train.labels.bincount(), digits.validation.labels.bincount()
    assert (validation - (train + validation) / 12).abs().max() <= 1
    published = validation_indices(torch.cat([digits.train.labels, digits.validation.labels]))
    assert len(published.unique()) == 5_000


def test_split_is_the_same_for_ever(digits):
    # Networks and figures of other machines were made with this choice of images.
    assert digits.validation.labels.sum() == 22_269
    first = digits.validation.images[[0, 2500, 4999]]
    assert ((first * 0.3081 + 0.1307) * 255).round().sum(dim=(1, 2, 3)).tolist() == [
        24635,
        18417,
        20428,
    ]
    assert len(digits.validation.labels[:100].unique()) == 10


def test_split_slices_and_refuses_the_ambiguous(digits):
    assert len(digits.test[:7]) == 7
    chosen = digits.test[torch.tensor([3, 1])]
    assert torch.equal(chosen.images[1], digits.test.images[1])
    with pytest.raises(TypeError, match=r"write split.images\[3\]"):
        digits.test[3]
    with pytest.raises(TypeError, match="not iterable"):
        iter(digits.test)
    with pytest.raises(ValueError, match="2 images but 3 labels"):
        lab.Split(torch.zeros(2, 1, 28, 28), torch.zeros(3, dtype=torch.int64))


def test_fresh_clone_unpacks_without_network(copy, no_network):
    assert len(lab.load_mnist(copy).train) == 55_000
    assert no_network == []
    assert len(lab.load_mnist(str(copy)).test) == 10_000  # and again, from what is unpacked


@pytest.mark.parametrize("name", sorted(UNPACKED_MD5))
def test_damaged_unpacked_file_is_made_anew(copy, no_network, name):
    lab.load_mnist(copy)
    unpacked = copy / "MNIST" / "raw" / name
    content = unpacked.read_bytes()
    unpacked.write_bytes(content[: len(content) // 2])  # as a full disk leaves it
    assert len(lab.load_mnist(copy).train) == 55_000
    assert unpacked.read_bytes() == content


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "absent"])
def test_damaged_published_file_offline(copy, no_network, name, damage):
    file = copy / "MNIST" / "raw" / name
    content = bytearray(file.read_bytes())
    if damage == "absent":
        file.unlink()
    else:
        content[len(content) // 2] ^= 1
        length = {"truncated": len(content) // 2, "flipped": len(content), "empty": 0}[damage]
        file.write_bytes(content[:length])
    expected = FileNotFoundError if damage == "absent" else ValueError
    with pytest.raises(expected) as error:
        lab.load_mnist(copy)
    message = str(error.value)
    assert str(file) in message
    assert "git checkout data" in message
    assert "network" in message
    assert message.count("\n") == 0
    if damage != "absent":
        assert f"{len(content[:length]):,} bytes" in message
        assert file.read_bytes() == content[:length]  # the reader may want to look at it
    assert no_network, "the real download was not even tried"


@pytest.mark.parametrize("code", [403, 503])
def test_server_that_refuses(tmp_path, monkeypatch, code):
    def answer(request, *args, **kwargs):
        raise HTTPError(request.full_url, code, "no", {}, None)

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    with pytest.raises(FileNotFoundError, match=r"missing and could not be downloaded"):
        lab.load_mnist(tmp_path)


def test_empty_folder_fills_itself_from_a_server(copy, tmp_path, monkeypatch, capfd):
    raw = copy / "MNIST" / "raw"
    handler = partial(SimpleHTTPRequestHandler, directory=raw)
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
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        shutil.copytree(copy, Path(folder) / "data")
        raw = Path(folder) / "data" / "MNIST" / "raw"
        for place in (raw, raw.parent):
            place.chmod(0o555)
        try:
            with (
                as_nobody(),
                pytest.raises(PermissionError, match="cannot be written") as error,
            ):
                lab.load_mnist(Path(folder) / "data")
            assert str(raw) in str(error.value)
            assert "root=" in str(error.value)
            lab.load_mnist(copy)
            for name in UNPACKED_MD5:  # unpacked once, it can be read by everybody
                raw.chmod(0o755)
                shutil.copy(copy / "MNIST" / "raw" / name, raw)
            raw.chmod(0o555)
            with as_nobody():
                assert len(lab.load_mnist(Path(folder) / "data").test) == 10_000
        finally:
            for place in (raw.parent, raw):
                place.chmod(0o755)


def test_two_kernels_at_once_on_a_fresh_clone(copy):
    code = f"import labutils as lab; print(len(lab.load_mnist({str(copy)!r}).train))"
    kernels = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [kernel.communicate()[0].strip() for kernel in kernels] == ["55000"] * 3
