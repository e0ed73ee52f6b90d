import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import labutils as lab


@pytest.fixture
def path(tmp_path):
    return tmp_path / "network.pth"


@pytest.mark.parametrize(
    "network",
    [lab.SimpleCNN(), lab.SimpleCNN((3, 5, 7)), lab.LeNet300((9, 8)), lab.LeNet5((2, 3, 4))],
    ids=lambda network: f"{type(network).__name__}{network.widths}",
)
def test_comes_back_as_it_was(network, path):
    images = torch.randn(4, 1, 28, 28)
    assert lab.save_model(network, path) == path
    state = torch.get_rng_state()
    loaded = lab.load_model(path)
    assert torch.equal(torch.get_rng_state(), state)
    assert type(loaded) is type(network)
    assert loaded.widths == network.widths
    assert torch.equal(loaded(images), network(images))
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_carries_its_history(few_digits, path):
    model = lab.SimpleCNN((2, 2, 4))
    history = lab.train(model, few_digits, epochs=1, seed=3, progress=False)
    lab.save_model(model, path)
    assert lab.load_model(path).history == history
    assert lab.load_model(path).history.seed == 3


def test_file_holds_the_weights_and_little_more(path):
    model = lab.SimpleCNN()
    big = torch.zeros(10_000_000)  # a weight that is a view into something large
    model.fc2.weight = nn.Parameter(big[:640].view(10, 64))
    lab.save_model(model, path)
    assert path.stat().st_size < 105_866 * 4 + 8_000
    assert not [name for name in os.listdir(path.parent) if name != path.name]


def test_other_networks_are_refused(path):
    class Own(nn.Sequential):
        pass

    for network, named in (
        (Own(nn.Linear(2, 2)), "A Own"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sequential(Own())), "^0 is a Own"),
        (nn.Linear(2, 2), "A Linear"),
    ):
        with pytest.raises(TypeError, match=rf"{named}.*cannot be described.*state_dict"):
            lab.save_model(network, path)
    model = lab.SimpleCNN()
    prune.l1_unstructured(model.fc1, "weight", amount=0.5)
    with pytest.raises(ValueError, match=r"fc1\.weight_mask.*prune\.remove"):
        lab.save_model(model, path)
    assert not path.exists()


def test_folders_that_will_not_do(tmp_path):
    model = lab.SimpleCNN((1, 1, 1))
    with pytest.raises(FileNotFoundError, match=r"nowhere is not there"):
        lab.save_model(model, tmp_path / "nowhere" / "network.pth")
    with pytest.raises(FileNotFoundError, match=r"no file .*absent.pth"):
        lab.load_model(tmp_path / "absent.pth")
    (tmp_path / "folder.pth").mkdir()
    with pytest.raises(OSError, match=r"folder\.pth"):
        lab.save_model(model, tmp_path / "folder.pth")
    assert os.listdir(tmp_path) == ["folder.pth"]


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99])
def test_truncated_file(path, share):
    lab.save_model(lab.SimpleCNN(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"network\.pth could not be read"):
        lab.load_model(path)


def test_damaged_weights(path):
    lab.save_model(lab.SimpleCNN(), path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"network\.pth could not be read"):
        lab.load_model(path)


class Malicious:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_program_in_the_file_is_not_run(path, tmp_path, writer):
    content = {"format": Malicious(tmp_path / "marker")}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="Nothing in it was run"):
        lab.load_model(path)
    assert not (tmp_path / "marker").exists()


def test_foreign_files(path):
    torch.save(lab.SimpleCNN().state_dict(), path)
    with pytest.raises(ValueError, match="not one of save_model"):
        lab.load_model(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="not one of save_model"):
        lab.load_model(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    with pytest.raises(ValueError, match="could not be read"):
        lab.load_model(path)
    path.write_text("<html>404</html>")
    with pytest.raises(ValueError, match="could not be read"):
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
    ],
)
def test_file_that_contradicts_itself(path, key, value, message):
    lab.save_model(lab.SimpleCNN(), path)
    content = torch.load(path, weights_only=True)
    content[key] = value
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        lab.load_model(path)


def test_interrupted_save_leaves_the_old_file(path, monkeypatch):
    old = lab.SimpleCNN((1, 2, 3))
    lab.save_model(old, path)

    def interrupted(content, file):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lab.save_model(lab.SimpleCNN(), path)
    assert os.listdir(path.parent) == [path.name]
    assert lab.load_model(path).widths == (1, 2, 3)


def test_killed_while_saving(path):
    """Kill a process that saves over and over: at every moment the file is whole."""
    code = (
        "import sys, labutils as lab\n"
        "while True: lab.save_model(lab.LeNet5((20, 50, 2000)), sys.argv[1]); print(flush=True)"
    )
    for pause in (0.003, 0.011, 0.027):
        command = [sys.executable, "-c", code, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
        assert lab.load_model(path).widths == (20, 50, 2000)


def test_pretrained_networks_are_good(digits):
    accuracies = [
        lab.evaluate(lab.load_pretrained(seed), digits.test).accuracy for seed in range(5)
    ]
    assert sum(accuracies) / 5 >= 0.9915
    assert len(set(accuracies)) > 1


def test_pretrained_seed_that_is_not_there(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"seed 99: choose 0, 1, 2, 3, 4"):
        lab.load_pretrained(99)
    monkeypatch.setenv("EAI_LAB_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"ship with the project.*EAI_LAB_HOME"):
        lab.load_pretrained(0)
