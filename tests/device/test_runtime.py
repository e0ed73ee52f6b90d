"""Networks as ONNX files."""

import subprocess
import sys

import onnx
import pytest
import torch

import labutils as lab
from labutils import device
from labutils.device import runtime


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def dense_file(folder):
    return device.export_onnx(lab.load_pretrained(), folder / "dense.onnx")


def test_same_logits_as_pytorch_for_any_number_of_images(dense_file, digits):
    model, answers = lab.load_pretrained(), device.onnx_answers(dense_file)
    for count in (1, 3, 1000):
        expected = lab.predict(model, digits.test[:count])
        torch.testing.assert_close(answers(digits.test.images[:count]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["masked", "slim", "LeNet5"])
def test_pruned_networks_and_others(folder, digits, kind, model):
    networks = {
        "masked": lambda: lab.prune_magnitude(model, 0.9),
        "slim": lambda: lab.prune_filters(model, 0.5),
        "LeNet5": lab.LeNet5,
    }
    network = networks[kind]()
    path = device.export_onnx(network, folder / f"{kind}.onnx")
    found = device.onnx_answers(path, threads=2)(digits.test.images[:100])
    torch.testing.assert_close(found, lab.predict(network, digits.test[:100]), atol=1e-4, rtol=0)


def test_zeros_save_nothing_but_zip_well(folder, dense_file, model):
    masked = device.export_onnx(lab.prune_magnitude(model, 0.9), folder / "zeros.onnx")
    slim = device.export_onnx(lab.prune_filters(model, 0.5), folder / "half.onnx")
    (dense, _), (zeros, zipped), (half, _) = map(device.file_bytes, (dense_file, masked, slim))
    assert zeros == dense  # to the byte
    assert zipped < dense / 4
    assert half < dense / 3


def test_file_of_onnx_int8(folder, dense_file, digits):
    path = device.quantize_onnx(dense_file, folder / "int8.onnx", digits.train[:500])
    onnx.checker.check_model(onnx.load(path))
    assert device.file_bytes(path)[0] < device.file_bytes(dense_file)[0] / 3
    answers = device.onnx_answers(path)(digits.test.images[:2_000]).argmax(1)
    assert (answers == digits.test.labels[:2_000]).float().mean() > 0.97


def test_latency_has_a_row_for_each(dense_file, model):
    table = device.onnx_latency({"dense": model}, {"dense": dense_file}, rounds=3)
    assert list(table["engine"]) == ["PyTorch", "ONNX Runtime"] * 4
    assert set(zip(table["batch"], table["threads"], strict=True)) == {
        (1, 1), (64, 1), (1, 2), (64, 2)
    }  # fmt: skip
    assert (table["median"] > 0).all()


def test_what_is_refused_writes_nothing(folder, model):
    path = folder / "refused.onnx"
    with pytest.raises(TypeError, match="model is a str: give a network"):
        device.export_onnx("SimpleCNN", path)
    broken = lab.prune_magnitude(model, 0.0)
    with torch.no_grad():
        broken.fc1.weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"fc1.weight holds values that are NaN"):
        device.export_onnx(broken, path)
    with pytest.raises(FileNotFoundError, match="is not there: make it first"):
        device.export_onnx(model, folder / "nowhere" / "net.onnx")
    with pytest.raises(FileNotFoundError, match="export_onnx writes such files"):
        device.onnx_answers(path)
    assert not path.exists()


def test_wrong_logits_are_not_written(folder, model, monkeypatch):
    monkeypatch.setattr(
        runtime, "_answering", lambda content, threads: lambda images: model(images).detach() + 1e-3
    )
    with pytest.raises(RuntimeError, match=r"up to 0.001 away from PyTorch's"):
        device.export_onnx(model, folder / "wrong.onnx")
    assert not (folder / "wrong.onnx").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(package, tmp_path):
    code = (
        f"import sys; sys.modules['{package}'] = None\n"
        "import labutils as lab\n"
        "from labutils.device import export_onnx\n"
        f"export_onnx(lab.SimpleCNN(), {str(tmp_path / 'net.onnx')!r})"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert f"{package} is not installed" in process.stderr
    assert "pip install --editable '.[device]'" in process.stderr
    assert list(tmp_path.iterdir()) == []
