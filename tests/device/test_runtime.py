"""Networks as ONNX files."""

import onnx
import pytest
import torch

import labutils as lab
from labutils import device
from labutils.device import runtime


@pytest.fixture(scope="module")
def networks():
    model = lab.load_pretrained()
    half = lab.prune_filters(model, 0.5)
    return {"dense": model, "zeros": lab.prune_magnitude(model, 0.9), "slim": half.double()}


@pytest.fixture(scope="module")
def files(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx")
    return {
        name: device.export_onnx(network, folder / f"{name}.onnx")
        for name, network in {**networks, "LeNet5": lab.LeNet5()}.items()
    }


def test_same_logits_as_pytorch_for_any_number_of_images(files, networks, digits):
    for name, network in networks.items():
        answers = device.onnx_answers(files[name], threads=2)
        for count in (1, 3, 1000):
            found = answers(digits.test.images[:count])
            expected = lab.predict(network.float(), digits.test[:count])
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_zeros_save_nothing_but_zip_well(files):
    (dense, _), (zeros, zipped), (half, _), _ = map(device.file_bytes, files.values())
    assert zeros == dense  # to the byte
    assert zipped < dense / 4
    assert half < dense / 3


def test_file_says_nothing_of_the_machine_it_was_made_on(files):
    for path in files.values():
        content = path.read_bytes()
        assert b".py" not in content
        assert b"pkg.torch" not in content


def test_file_of_onnx_int8(files, digits, calibration, tmp_path):
    path = device.quantize_onnx(files["dense"], tmp_path / "int8.onnx", calibration)
    onnx.checker.check_model(onnx.load(path))
    assert device.file_bytes(path)[0] < device.file_bytes(files["dense"])[0] / 3
    answers = device.onnx_answers(path)(digits.test.images[:2_000]).argmax(1)
    assert (answers == digits.test.labels[:2_000]).float().mean() > 0.97


def test_latency_has_a_row_for_each(files, model):
    table = device.onnx_latency({"dense": model}, {"dense": files["dense"]}, rounds=3)
    assert list(table["engine"]) == ["PyTorch", "ONNX Runtime"] * 4
    assert list(table["batch"]) == [1, 1, 64, 64] * 2
    assert list(table["threads"]) == [1] * 4 + [2] * 4
    assert (table["median"] > 0).all()


def test_wrong_logits_are_not_written(tmp_path, model, monkeypatch):
    monkeypatch.setattr(runtime, "_exported", lambda *_: b"")
    monkeypatch.setattr(
        runtime, "_answering", lambda content, threads: lambda images: model(images).detach() + 1e-3
    )
    with pytest.raises(RuntimeError, match=r"up to 0.001 away from PyTorch's"):
        device.export_onnx(model, tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_without_the_extra_it_says_what_to_install(package, tmp_path, without):
    without(package)
    said = rf"{package} is not installed.* pip install --editable '\.\[device\]'"
    with pytest.raises(ModuleNotFoundError, match=said):
        device.export_onnx(lab.SimpleCNN(), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []
