import copy
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
    [lab.SimpleCNN((3, 5, 7)), lab.LeNet300((9, 8)), lab.LeNet5((2, 3, 4))],
    ids=lambda network: type(network).__name__,
)
def test_comes_back_as_it_was(network, path):
    images, state = torch.randn(4, 1, 28, 28), torch.get_rng_state()
    loaded = there_and_back(network, path)
    assert torch.equal(torch.get_rng_state(), state)
    assert (type(loaded), loaded.widths) == (type(network), network.widths)
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
    loaded = there_and_back(there_and_back(network, path), path)
    assert (loaded[3][0], loaded[3][1]) == (loaded[0], loaded[1])
    assert loaded[2] is not loaded[0]
    assert loaded[2].weight is loaded[0].weight
    assert loaded[2].bias is not loaded[0].bias
    assert len(list(loaded.parameters())) == len(list(network.parameters())) == 5
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


class Own(nn.Module):
    """A network of the reader's: a branch, a parameter and a layer of its own, one used twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.twice = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.scale = nn.Parameter(torch.randn(6, 1, 1))
        self.last = nn.Linear(6, 3)

    def forward(self, images):
        values = self.first(images).relu()
        values = self.twice(self.twice(values)) * self.scale + values
        return self.last(values.mean((2, 3)))


def test_own_classes_come_back_where_the_class_is(path):
    torch.manual_seed(0)
    own, images = Own().eval(), torch.randn(3, 1, 9, 9)
    for model in (own, nn.Sequential(own, nn.LogSoftmax(1)).eval()):
        slim = lab.prune_filters(model, 0.5)
        slim.history = lab.train  # no history: not kept
        lab.save_model(slim, path)
        fresh = Own() if model is own else nn.Sequential(Own(), nn.LogSoftmax(1))
        whole = copy.deepcopy(fresh.state_dict())
        loaded = lab.load_model(path, into=fresh)
        assert torch.equal(loaded(images), slim(images))
        assert str(loaded) == str(slim)
        assert not loaded.training
        assert all(torch.equal(whole[name], tensor) for name, tensor in fresh.state_dict().items())
        kind = type(model).__name__
        with pytest.raises(ValueError, match=rf"holds a {kind}, .*load_model\(path, into={kind}"):
            lab.load_model(path)
        with pytest.raises(
            ValueError, match=rf"{kind} of that class, not a SimpleCNN|not a SimpleC"
        ):
            lab.load_model(path, into=lab.SimpleCNN())
    fresh[0].last = nn.Linear(6, 4)
    fresh[0].more = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"contradicts itself.*0\.more\.bias should be .* absent"):
        lab.load_model(path, into=fresh)


def test_what_is_no_plain_network_is_refused(path):
    with pytest.raises(TypeError, match="model is None: give a network"):
        lab.save_model(None, path)
    held = Own()
    prune.l1_unstructured(held.last, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"last\.weight is computed.*prune\.remove"):
        lab.save_model(held, path)
    model = lab.SimpleCNN()
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"fc1\.weight_mask.*prune\.remove"):
        lab.save_model(model, path)
    with pytest.raises(ValueError, match="cannot be saved"):
        lab.save_model(lab.SimpleCNN((1, 1, 1)).to("meta"), path)
    assert not path.exists()


@pytest.mark.parametrize(
    "place", ["nowhere/network.pth", "pipe", "to pipe", "circle", "to device", "x" * 250]
)
def test_places_that_will_not_do(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    for link, target in (("to pipe", "pipe"), ("circle", "circle"), ("to device", "/dev/null")):
        os.symlink(target, link)
    before = sorted(os.listdir())
    with pytest.raises(OSError, match=r"^[^\n]{30,}$"):
        lab.save_model(lab.SimpleCNN((1, 1, 1)), place)
    with pytest.raises(FileNotFoundError, match=r"^[^\n]{30,}$"):
        lab.load_model(place)
    assert sorted(os.listdir()) == before
    assert (tmp_path / "pipe").is_fifo()
    assert (tmp_path / "to device").is_char_device()


def test_what_a_link_points_to_is_written(tmp_path):
    (tmp_path / "folder").mkdir()
    link, target = tmp_path / "link.pth", tmp_path / "folder" / "network.pth"
    link.symlink_to(target)
    for widths in ((1, 1, 1), (2, 1, 1)):  # the first makes the file
        assert there_and_back(lab.SimpleCNN(widths), link).widths == widths
        assert lab.load_model(target).widths == widths
        assert link.is_symlink()
    assert os.listdir(target.parent) == [target.name]


@pytest.mark.parametrize(
    ("raised", "seen", "message"),
    [
        (OSError(28, "No space left on device"), OSError, r"cannot be written \(No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_full_disk_or_interruption_leaves_the_old_file(path, monkeypatch, raised, seen, message):
    def fail(descriptor):
        raise raised

    lab.save_model(lab.SimpleCNN((1, 2, 3)), path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(seen, match=message):
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
        ("history", {"no": 1}, "contradicts itself"),
        ("state", {}, "absent"),
        ("frozen", 7, "contradicts itself"),
        ("shared", {"relu9": "relu1"}, "contradicts itself"),
        ("shared", {"conv1": "relu1"}, r"conv1\.weight should be absent"),
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


def test_killed_while_writing(tmp_path):
    """Kill a process that writes over and over: at every moment the file is whole."""
    code = (
        "import hashlib, os, runpy, sys; from pathlib import Path\n"  # no PyTorch: starts fast
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
