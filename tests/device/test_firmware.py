import copy
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import labutils as lab
from labutils.device import BOARDS, quantize_int8, smallest_formats
from labutils.device.emulator import PROCESSORS, STACK_TOP, Emulator
from labutils.device.firmware import Firmware
from labutils.device.packing import FORMATS, pack, unpack

SPARSE = [format for format in FORMATS if format != "dense"]


@pytest.fixture(scope="module")
def calibration(digits):
    return digits.train[:500]


@pytest.fixture(scope="module")
def pruned():
    return lab.prune_magnitude(lab.load_pretrained(), 0.9, {"conv1": 0.0, "conv2": 0.9})


@given(
    st.integers(1, 5),
    st.integers(1, 700),
    st.floats(0, 1),
    st.sampled_from(FORMATS),
    st.integers(0, 99),
)
def test_packing_loses_nothing(rows, length, amount, format, seed):
    weight = torch.randint(-127, 128, (rows, length), generator=torch.Generator().manual_seed(seed))
    lots = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed))
    weight[lots < amount] = 0
    packed = pack(weight.to(torch.int8), format)
    assert packed.length % 4 == 0
    back = unpack(packed)
    assert torch.equal(back[:, :length], weight)
    assert not back[:, length:].any()
    if format == "gaps":
        assert max(packed.places, default=0) <= 255


def test_sizes_of_the_formats():
    weight = torch.zeros(2, 64, dtype=torch.int8)
    weight[0, [1, 40]], weight[1, 63] = 5, -5
    sizes = {format: pack(weight, format).size(1) for format in FORMATS}
    # Values, three starts of two bytes, and places.
    assert sizes == {"dense": 128, "csr": 3 + 6 + 6, "gaps": 3 + 6 + 3, "bitmask": 3 + 6 + 16}


@pytest.mark.parametrize("format", FORMATS)
def test_whole_numbers_are_exact_on_a_thousand_images(pruned, digits, calibration, format):
    network = quantize_int8(pruned, calibration)
    firmware = Firmware(network, dict.fromkeys(("conv2", "fc1", "fc2"), format))
    images = network.integers(digits.test.images[:1000])
    assert torch.equal(firmware.logits(images), network.sums(images))


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("widths", [(16, 32, 64), (5, 7, 11), (1, 1, 1)])
def test_any_widths_on_any_processor(digits, calibration, processor, widths):
    torch.manual_seed(0)
    model = lab.prune_magnitude(lab.SimpleCNN(widths), 0.5)
    for format in ("dense", "gaps"):
        network = quantize_int8(model, calibration)
        firmware = Firmware(network, {"conv2": format, "fc1": format}, processor)
        images = network.integers(digits.test.images[:3])
        assert torch.equal(firmware.logits(images), network.sums(images))


@pytest.mark.parametrize("format", FORMATS)
def test_real_numbers_are_close(pruned, digits, format):
    firmware = Firmware(pruned, {"conv2": format, "fc1": format, "fc2": format})
    images = digits.test.images[:20]
    expected = lab.predict(pruned, digits.test[:20])
    torch.testing.assert_close(firmware.logits(images), expected, rtol=1e-5, atol=1e-5)


def test_real_numbers_without_a_unit_for_them(pruned, digits):
    firmware = Firmware(pruned, {"fc1": "csr"}, "Cortex-M0+")
    expected = lab.predict(pruned, digits.test[:1])
    found = firmware.logits(digits.test.images[:1])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_extreme_sums_are_exact(model, calibration, digits):
    """Inputs and weights at their limits: nothing overflows that should not."""
    network = quantize_int8(model, calibration)
    firmware = Firmware(network)
    images = torch.stack([torch.full((1, 28, 28), v, dtype=torch.int8) for v in (-127, 0, 127)])
    assert torch.equal(firmware.logits(images), network.sums(images))


def test_what_it_costs(model, pruned, calibration):
    """No more than plain kernels took; slim saves instructions and flash, sparse fc1 flash."""
    whole = {"dense": model, "slim": lab.prune_filters(model, 0.5), "both": pruned}
    whole["pruned"] = lab.prune_magnitude(model, 0.9)
    whole = {name: quantize_int8(network, calibration) for name, network in whole.items()}
    image = torch.zeros(1, 28, 28, dtype=torch.int8)
    dense = Firmware(whole["dense"]).measure(image)
    assert dense.instructions <= 3_000_000
    assert sum(dense.by_layer.values()) == pytest.approx(dense.instructions, abs=50)
    assert dense.flash <= 112_004
    assert dense.ram <= 7_452
    assert 0 < dense.stack <= 300
    slim = Firmware(whole["slim"]).measure(image)
    assert (slim.instructions <= 1_158_763, slim.flash <= 29_952, slim.ram <= 4_588) == (True,) * 3
    for format, flash in (("csr", 38_504), ("gaps", 29_696)):  # as plain kernels for this network
        found = Firmware(whole["pruned"], {"fc1": format}).measure(image)
        assert found.instructions <= 3_460_060
        assert found.flash <= flash
    both = Firmware(whole["both"], {"conv2": "csr", "fc1": "csr"}).measure(image)
    assert both.instructions <= 1_230_426


def test_compiled_once(model, calibration, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    network = quantize_int8(lab.prune_filters(model, 0.8), calibration)
    Firmware(network)
    folder = tmp_path / "eai-pruning-lab" / "firmware"
    (elf,) = folder.glob("*.elf")
    before = elf.stat().st_mtime_ns
    Firmware(network)
    assert elf.stat().st_mtime_ns == before
    assert {path.name for path in folder.iterdir()} == {elf.name, "zig"}
    Firmware(network, {"fc1": "csr"})
    assert len(list(folder.glob("*.elf"))) == 2


def test_folder_that_cannot_be_written(model, calibration, tmp_path, monkeypatch):
    (tmp_path / "eai-pruning-lab").touch()  # a file where the folder should be
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PermissionError, match="XDG_CACHE_HOME to a folder of your own"):
        Firmware(quantize_int8(model, calibration))


def test_wrong_arguments(model, digits, calibration):
    with pytest.raises(TypeError, match=r"A LeNet5 cannot become firmware"):
        Firmware(lab.LeNet5())
    with pytest.raises(ValueError, match=r"formats names 'conv1': choose from conv2, fc1, fc2"):
        Firmware(model, {"conv1": "csr"})
    with pytest.raises(ValueError, match=r'format=\'coo\': choose "dense", "csr"'):
        Firmware(model, {"fc1": "coo"})
    with pytest.raises(ValueError, match=r"processor='AVR': choose Cortex-M0\+"):
        Firmware(model, processor="AVR")
    network = quantize_int8(lab.prune_filters(model, 0.8), calibration)
    firmware = Firmware(network)
    with pytest.raises(ValueError, match=r"of torch.float32: this firmware reads"):
        firmware.logits(digits.test.images[:1])
    with pytest.raises(ValueError, match=r"reads 28 x 28"):
        firmware.logits(torch.zeros(1, 1, 27, 28, dtype=torch.int8))


def test_too_large_for_a_board_says_by_how_much(model, calibration):
    with pytest.raises(ValueError, match="does not fit the Arduino Zero") as refused:
        Firmware(model, board="Zero")
    whole = Firmware(model, processor="Cortex-M0+").measure(torch.zeros(1, 28, 28))
    assert f"needs {whole.flash:,} bytes of flash where there are 262,144" in str(refused.value)
    assert f"{whole.flash - 262_144:,} too many (most for the weights of fc1, 401,664)" in str(
        refused.value
    )
    assert "RAM" not in str(refused.value)
    slim = quantize_int8(lab.prune_filters(model, 0.8), calibration)
    with pytest.raises(ValueError, match=r"bytes of RAM where there are 2,048, .* too many"):
        Firmware(slim, board="L011")
    Firmware(slim, board="L031")
    with pytest.raises(ValueError, match=r"board='Uno': choose L011"):
        Firmware(slim, board="Uno")


def test_larger_than_any_board_is_measured_or_refused(calibration):
    torch.manual_seed(0)
    large = quantize_int8(lab.SimpleCNN((16, 200, 128)), calibration)
    image = torch.zeros(1, 28, 28, dtype=torch.int8)
    assert Firmware(large).measure(image).flash > 1_250_000
    with pytest.raises(ValueError, match=r"The weights need 7\d,\d{3},\d{3} bytes of flash"):
        Firmware(lab.SimpleCNN((1, 500, 800)))


def test_weights_that_are_not_finite(model):
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken.fc2.bias[3] = float("inf")
    with pytest.raises(ValueError, match=r"fc2.bias holds values that are NaN or infinite"):
        Firmware(broken)


def test_boards_have_processors_that_are_known():
    assert {board.processor for board in BOARDS.values()} == set(PROCESSORS)
    for board in BOARDS.values():
        assert board.flash % 1024 == board.ram % 1024 == 0
        assert 16 <= board.clock <= 600


def test_weights_are_counted_byte_by_byte(model, calibration):
    """Of dense int8: a byte a weight (rows filled up to fours), 4 a bias, 5 a scale."""
    cost = Firmware(quantize_int8(model, calibration)).measure(
        torch.zeros(1, 28, 28, dtype=torch.int8)
    )
    assert cost.weights == (16 * 12 + 32 * 144 + 64 * 1568 + 10 * 64) + 4 * 122 + 5 * 112


def test_smallest_formats_are_smallest(pruned, calibration):
    network = quantize_int8(pruned, calibration)
    chosen, best = smallest_formats(network), {}
    for layer in ("conv2", "fc1", "fc2"):
        sizes = {kind: Firmware(network, {layer: kind}).constants()[layer] for kind in FORMATS}
        best[layer] = min(sizes, key=sizes.get)
    assert chosen == best


def test_nothing_is_left_behind(model, calibration):
    """An interrupted call: the next one is right again."""
    network = quantize_int8(lab.prune_filters(model, 0.8), calibration)
    firmware = Firmware(network)
    image = torch.randint(-127, 128, (1, 1, 28, 28), dtype=torch.int8)
    first = firmware.logits(image)
    broken = copy.copy(firmware.emulator)
    broken.symbols = {**broken.symbols, "infer": (STACK_TOP, 4)}
    with pytest.raises(Exception, match=r"Invalid|return"):
        Emulator.call(broken, "infer")
    assert torch.equal(firmware.logits(image), first)


def test_without_the_extra_it_says_what_to_install():
    code = (
        "import sys; sys.modules['unicorn'] = None\n"
        "from labutils.device import quantize_int8\n"
        "import labutils.device.firmware"
    )
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "unicorn is not installed" in process.stderr
    assert "pip install --editable '.[device]'" in process.stderr
