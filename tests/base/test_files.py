import hashlib
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch
from conftest import PROJECT
from torch import nn
from torch.nn.utils import prune

import labutils as lab


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.pth"


def there_and_back(network, path):
    assert lab.save_model(network, path) == path
    return lab.load_model(path)


@pytest.mark.parametrize(
    "network",
    [lab.SimpleCNN(), lab.SimpleCNN((3, 5, 7)), lab.LeNet300((9, 8)), lab.LeNet5((2, 3, 4))],
    ids=lambda network: f"{type(network).__name__}{network.widths}",
)
def test_comes_back_as_it_was(network, path):
    images, state = torch.randn(4, 1, 28, 28), torch.get_rng_state()
    loaded = there_and_back(network, path)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(loaded) is type(network)
    assert loaded.widths == network.widths
    assert torch.equal(loaded(images), network(images))
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_carries_its_history(few_digits, path):
    model = lab.SimpleCNN((2, 2, 4))
    history = lab.train(model, few_digits, epochs=1, seed=3, progress=False)
    assert there_and_back(model, path).history == history
    assert history.seed == 3
    model.history = "something else"
    assert there_and_back(model, path).history is None


def test_what_is_shared_stays_shared(path):
    layer, norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
    network = nn.Sequential(layer, norm, nn.Linear(4, 4), nn.Sequential(layer, norm), nn.ReLU())
    network[2].weight = layer.weight
    loaded = there_and_back(network, path)
    assert loaded[3][0] is loaded[0]
    assert loaded[3][1] is loaded[1]
    assert loaded[2] is not loaded[0]
    assert loaded[2].weight is loaded[0].weight
    assert loaded[2].bias is not loaded[0].bias
    assert len(list(loaded.parameters())) == len(list(network.parameters())) == 5
    again = there_and_back(loaded, path)
    assert again[3][0] is again[0]
    own = lab.SimpleCNN((1, 1, 1))
    own.relu3 = own.relu1
    loaded = there_and_back(own, path)
    assert type(loaded) is lab.SimpleCNN
    assert loaded.relu3 is loaded.relu1 is not loaded.relu2


def test_what_is_not_trained_stays_so(path):
    network = lab.SimpleCNN((1, 1, 1))
    network.conv1.requires_grad_(False)
    frozen = {n for n, p in there_and_back(network, path).named_parameters() if not p.requires_grad}
    assert frozen == {"conv1.weight", "conv1.bias"}


def test_files_of_earlier_versions_are_read(path):
    lab.save_model(lab.SimpleCNN((1, 1, 1)), path)
    content = torch.load(path, weights_only=True)
    del content["frozen"]
    torch.save(content, path)
    assert all(p.requires_grad for p in lab.load_model(path).parameters())


def test_file_holds_the_weights_and_little_more(path):
    model = lab.SimpleCNN()
    big = torch.zeros(10_000_000)  # a weight that is a view into something large
    model.fc2.weight = nn.Parameter(big[:640].view(10, 64))
    lab.save_model(model, path)
    assert path.stat().st_size < 105_866 * 4 + 8_000
    assert os.listdir(path.parent) == [path.name]


def test_other_networks_are_refused(path):
    class Own(nn.Sequential):
        pass

    for network, named in (
        (Own(nn.Linear(2, 2)), "A Own"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(Own())), "0 is a Own, which"),
        (nn.Linear(2, 2), "A Linear"),
        (None, "A NoneType"),
    ):
        with pytest.raises(TypeError, match=rf"^{named}.*cannot be described.*state_dict"):
            lab.save_model(network, path)
    model = lab.SimpleCNN()
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"fc1\.weight_mask.*prune\.remove"):
        lab.save_model(model, path)
    with pytest.raises(ValueError, match="cannot be saved"):
        lab.save_model(lab.SimpleCNN((1, 1, 1)).to("meta"), path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("place", "saving", "loading"),
    [
        (None, TypeError, TypeError),
        ("", TypeError, TypeError),
        ("a\0b", TypeError, TypeError),
        ("folder", IsADirectoryError, IsADirectoryError),
        ("file/below", NotADirectoryError, NotADirectoryError),
        ("nowhere/network.pth", FileNotFoundError, FileNotFoundError),
        ("pipe", OSError, FileNotFoundError),
        ("to pipe", OSError, FileNotFoundError),
        ("circle", OSError, FileNotFoundError),
        ("x" * 250, OSError, FileNotFoundError),
    ],
)
def test_places_that_will_not_do(tmp_path, monkeypatch, place, saving, loading):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    (tmp_path / "file").touch()
    os.mkfifo("pipe")
    os.symlink("pipe", "to pipe")
    os.symlink("circle", "circle")
    before = sorted(os.listdir())
    with pytest.raises(saving, match=r"[^\n]{30,}"):
        lab.save_model(lab.SimpleCNN((1, 1, 1)), place)
    with pytest.raises(loading, match=r"[^\n]{30,}"):
        lab.load_model(place)
    assert sorted(os.listdir()) == before
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="not on this system")
def test_devices_stay(tmp_path):
    link = tmp_path / "full"
    link.symlink_to("/dev/full")  # its own folder can be written by root only
    with pytest.raises(OSError, match="is no ordinary file"):
        lab.save_model(lab.SimpleCNN((1, 1, 1)), link)
    assert link.is_char_device()


def test_what_a_link_points_to_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.pth", tmp_path / "folder" / "network.pth"
    link.symlink_to(target)
    for widths in ((1, 1, 1), (2, 1, 1)):  # the first makes the file
        assert there_and_back(lab.SimpleCNN(widths), link).widths == widths
        assert lab.load_model(target).widths == widths
        assert link.is_symlink()
    assert os.listdir(target.parent) == [target.name]


def test_full_disk(path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    lab.save_model(lab.SimpleCNN((1, 2, 3)), path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot be written \(No space left on device\): choose"):
        lab.save_model(lab.SimpleCNN(), path)
    assert os.listdir(path.parent) == [path.name]
    assert lab.load_model(path).widths == (1, 2, 3)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def write_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: torch.save({"a": Malicious(path)}, path), "Nothing in it was run"),
        (lambda path: path.write_bytes(pickle.dumps(Malicious(path))), "Nothing in it was run"),
        (lambda path: torch.save(lab.SimpleCNN().state_dict(), path), "not one of save_model"),
        (lambda path: torch.save([1, 2], path), "not one of save_model"),
        (write_archive, "could not be read"),
        (lambda path: path.write_text("<html>404</html>"), "could not be read"),
    ],
    ids=["program", "pickled program", "state_dict", "list", "archive", "page"],
)
def test_foreign_files(path, write, message):
    write(path)
    with pytest.raises(ValueError, match=message):
        lab.load_model(path)
    assert path.is_file()  # the program would have made a folder of it, or failed otherwise


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99, None])
def test_damaged_file(path, share):
    lab.save_model(lab.SimpleCNN(), path)
    content = bytearray(path.read_bytes())
    if share is None:
        content[len(content) // 2] ^= 0xFF
    else:
        del content[int(share * len(content)) :]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.pth could not be read"):
        lab.load_model(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 2, "format version 2; this labutils reads version 1"),
        ("architecture", "ResNet50", "'ResNet50', expected SimpleCNN"),
        ("architecture", "LeNet300", "LeNet300 got widths"),
        ("widths", [16, 32, 60], r"fc1\.weight should be \(60, 1568\), is \(64, 1568\)"),
        ("widths", [10**5, 32, 64], r"conv1\.weight should be"),
        ("widths", None, "contradicts itself"),
        ("history", {"no": 1}, "contradicts itself"),
        ("state", {}, "absent"),
        ("state", [1], "contradicts itself"),
        ("frozen", 7, "contradicts itself"),
        ("shared", {"relu9": "relu1"}, "contradicts itself"),
        ("shared", {"conv1": "relu1"}, r"conv1\.weight should be absent"),
        ("shared", {"conv1": ""}, "contradicts itself"),
    ],
)
def test_file_that_contradicts_itself(path, key, value, message):
    lab.save_model(lab.SimpleCNN(), path)
    content = torch.load(path, weights_only=True)
    content[key] = value
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        lab.load_model(path)


def test_options_that_are_numpys_numbers_come_back(path):
    assert there_and_back(nn.Sequential(nn.Linear(np.int64(3), 2)), path)[0].in_features == 3


def test_interrupted_save_leaves_the_old_file(path, monkeypatch):
    def interrupted(descriptor):
        raise KeyboardInterrupt

    lab.save_model(lab.SimpleCNN((1, 2, 3)), path)
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.save_model(lab.SimpleCNN(), path)
    assert os.listdir(path.parent) == [path.name]
    assert lab.load_model(path).widths == (1, 2, 3)


def test_killed_while_writing(tmp_path):
    """Kill a process that writes over and over: at every moment the file is whole."""
    code = (  # without PyTorch, so that it starts fast
        "import hashlib, os, runpy, sys; from pathlib import Path\n"
        "write_whole = runpy.run_path(sys.argv[1])['write_whole']\n"
        "while True:\n"
        "    content = os.urandom(2_000_000)\n"
        "    content += hashlib.sha256(content).digest()\n"
        "    write_whole(Path(sys.argv[2]), lambda file: file.write(content)); print(flush=True)"
    )
    writing = PROJECT / "labutils" / "base" / "writing.py"
    for times in range(1, 6):
        command = [sys.executable, "-c", code, str(writing), str(tmp_path / "file")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            for _ in range(times):
                process.stdout.readline()
            process.kill()
        content = (tmp_path / "file").read_bytes()
        assert hashlib.sha256(content[:-32]).digest() == content[-32:]
